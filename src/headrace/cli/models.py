"""`headrace models`: versions, who serves and why, and moving the champion by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from headrace.cli.client import ask_and_wait
from headrace.cli.here import open_here
from headrace.cli.names import known
from headrace.cli.output import show_fields, show_json, show_line, show_table
from headrace.cli.parser import PLAIN, Common, Limit, Wait, make_app
from headrace.cli.words import local
from headrace.definitions.project import CHAMPION
from headrace.runs.reasons import evidence_in_words

if TYPE_CHECKING:
    from headrace.store.sql.reads.models import AliasRow, VersionRow

app = make_app("models", "Models: their versions, which one serves and why, and moving it by hand.")

_ONLY_IN_JSON = ("_se", "log_loss", "accuracy", ":false_alarms")


@app.command
def ls(*, common: Common = PLAIN) -> None:
    """All models with their champion."""
    from headrace.store.sql.reads import models

    with open_here(common) as here:
        rows = {row.model: row for row in models.models(here.db)}
        names = sorted({*here.project.models, *rows})
        states = {name: models.controller(here.db, name) for name in names}
    documents: list[dict[str, Any]] = []
    for name in names:
        row, controller = rows.get(name), states[name]
        documents.append(
            {
                "model": name,
                "versions": 0 if row is None else row.last_version,
                "aliases": {} if row is None else row.aliases,
                "why": None if controller is None else controller.why,
            }
        )
    if common.json:
        return show_json(documents)
    return show_table(
        ("MODEL", "#VERSIONS", "#CHAMPION", "CONTROLLER"),
        [(x["model"], x["versions"], x["aliases"].get(CHAMPION, "none"), x["why"] or "idle") for x in documents],
        empty='no models: hr.Model("delay", …)',
    )


@app.command
def show(name: str, /, *, limit: Limit = 20, common: Common = PLAIN) -> None:
    """One model: its versions with their verdicts, and who asked for trainings.

    Parameters
    ----------
    name
        The model.
    limit
        How many versions and asks, newest first.
    """
    from headrace.store.sql.reads import models

    with open_here(common) as here:
        known("model", name, {*here.project.models, *(row.model for row in models.models(here.db))}, here=here)
        versions = models.versions(here.db, name, limit=limit)
        history = models.alias_history(here.db, name, limit=1000)
        asks = models.asks(here.db, name, limit=limit)
        controller = models.controller(here.db, name)
    if common.json:
        return show_json(
            {
                "model": name,
                "versions": versions,
                "aliases": history[:limit],
                "asks": asks,
                "controller": None if controller is None else {"why": controller.why, "at_us": controller.at_us},
            }
        )
    show_fields([("model", name), ("controller", controller.why if controller else "idle: nobody has asked")])
    print()
    show_table(
        ("#VERSION", "STATE", "RUN", "#TEST ROWS", "METRICS", "WHY"),
        [
            (v.version, _state(v, history), v.run, f"{v.rows_test:,}", _metrics(v.evidence), _why(v, history))
            for v in versions
        ],
        empty="it has no version",
    )
    print()
    return show_table(
        ("ASKED", "BY", "STARTED", "WHY"),
        [(local(a.at_us), a.by, "yes" if a.is_accepted else "no", evidence_in_words(a.why)) for a in asks],
        empty="nobody has asked for a training",
    )


@app.command
def promote(
    name: str,
    version: int,
    /,
    *,
    alias: str = CHAMPION,
    no_wait: bool = False,
    timeout: Wait = 10.0,
    common: Common = PLAIN,
) -> None:
    """Let a version serve, whatever the gate said.

    Parameters
    ----------
    name
        The model.
    version
        The number of the version.
    alias
        The alias that moves.
    no_wait
        Return as soon as the request is stored.
    """
    _move(name, alias, version, no_wait, timeout, common)


@app.command
def rollback(
    name: str,
    /,
    *,
    alias: str = CHAMPION,
    no_wait: bool = False,
    timeout: Wait = 10.0,
    common: Common = PLAIN,
) -> None:
    """Let the version serve that served before.

    Parameters
    ----------
    name
        The model.
    alias
        The alias that moves.
    no_wait
        Return as soon as the request is stored.
    """
    _move(name, alias, None, no_wait, timeout, common)


def _move(name: str, alias: str, version: int | None, no_wait: bool, timeout: float, common: Common) -> None:
    from headrace.store.sql.reads import models

    with open_here(common, writes=True) as here:
        known("model", name, {*here.project.models, *(row.model for row in models.models(here.db))}, here=here)
        body = {"model": name, "alias": alias, "version": version}
        asked, answer = ask_and_wait(here, "alias", body, no_wait=no_wait, timeout_s=timeout)
        now = None if answer is None else models.alias(here.db, name, alias)
    if common.json:
        return show_json({"request": asked.id, "model": name, "alias": alias, "version": now, "answer": answer})
    if now is None:
        return show_line(f"request {asked.id} is stored: {alias} of {name} will move")
    return show_line(f"version {now} is the {alias} of {name}")


def _state(version: VersionRow, moves: Sequence[AliasRow]) -> str:
    """The state of a version; of a retired one also who took its place. `moves` are newest first."""
    if version.state != "retired":
        return version.state
    after = next((move.version for move in moves if move.alias == CHAMPION and move.previous == version.version), None)
    return version.state if after is None else f"retired by {after}"


def _why(version: VersionRow, moves: Sequence[AliasRow]) -> str:
    """Why it was promoted or rejected: the row of a retired version holds why its successor was promoted."""
    own = next((move.why for move in moves if move.alias == CHAMPION and move.version == version.version), None)
    return (version.why if own is None else own) or ""


def _metrics(evidence: Any) -> str:
    """The metrics that the limits and the gate are about; --json has all."""
    metrics = evidence.get("metrics") if isinstance(evidence, dict) else None
    if not isinstance(metrics, dict):
        return ""
    shown = {name: value for name, value in metrics.items() if not name.endswith(_ONLY_IN_JSON)}
    return " ".join(f"{name}={value:.4g}" for name, value in shown.items() if isinstance(value, (int, float)))
