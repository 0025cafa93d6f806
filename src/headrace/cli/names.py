"""From what was typed to what was meant: names with a near match, runs by id, by pipeline or as `last`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from headrace.base.near import near
from headrace.base.shown import SHOWN_MOST, shown
from headrace.cli.here import Here
from headrace.errors import NotFoundError

if TYPE_CHECKING:
    from headrace.definitions.project import Project
    from headrace.store.sql.reads.runs import RunRow

LAST = "last"
_SAME_SECOND = 200


def known(kind: str, name: str, names: Iterable[str], *, cure: str | None = None, here: Here | None = None) -> str:
    """The name itself. Raises NotFoundError, with the near match, where it is none of `names`.

    The cure is the kind's own listing unless another one is given. With `here` the error tells what was saved and is
    not deployed yet from what is nowhere.
    """
    names = sorted(names)
    if name in names:
        return name
    if here is not None and here.is_undeployed(kind, name):
        if here.project.name != here.settings.name:
            raise NotFoundError(
                f"there is no {kind} {shown(name)}: the engine on this store serves the project {here.project.name}",
                where=str(here.settings.home),
                cure=f"{here.settings.name} needs a store of its own: HEADRACE_HOME says which one it takes",
                code="HR2010",
            )
        raise NotFoundError(
            f"there is no {kind} {shown(name)} yet: the code has it, and the engine has not deployed that code",
            cure="try it again in a few seconds; `headrace dev` says when it has loaded the code, or why it cannot",
            code="HR2010",
        )
    raise NotFoundError(
        f"there is no {kind} {shown(name)}{near(name, names)}", cure=cure or f"headrace {kind}s ls", code="HR2010"
    )


def known_pipeline(name: str, project: Project, here: Here | None = None) -> str:
    """The pipeline's name. Raises NotFoundError that also says where pipelines are looked for."""
    modules = ", ".join(project.modules)
    typed = name if len(name) <= SHOWN_MOST else "PIPELINE"
    cure = f"headrace pipelines ls; they are those of {modules}. Of another file: headrace run FILE.py:{typed}"
    return known("pipeline", name, project.pipelines, cure=cure if modules else None, here=here)


def run_named(here: Here, text: str) -> RunRow:
    """The run of that id, the newest run of the pipeline of that name, or the newest of all: `last`."""
    from headrace.store.sql.reads import runs

    found = runs.run(here.db, text)
    if found is None:
        # Ids sort to the second only; within one the time of creation decides.
        newest = runs.runs(here.db, pipeline=None if text == LAST else text, limit=_SAME_SECOND)
        found = max(newest, key=lambda row: row.created_us, default=None)
    if found is None:
        ids = [row.run for row in runs.runs(here.db, limit=200)]
        pipelines = list(runs.latest(here.db))
        raise NotFoundError(
            f"there is no run {shown(text)}{near(text, [*ids, *pipelines])}",
            cure="headrace runs ls; a run's id, its pipeline's name, or the word last",
            code="HR2011",
        )
    return found
