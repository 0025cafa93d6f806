"""`headrace run`: a pipeline here and now, in this process. The other way, by the engine, is `headrace trigger`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from cyclopts import Parameter

from headrace.base.facts import Fact
from headrace.cli import params
from headrace.cli.here import free_of_mistakes, no_project, settings_of, sound, tell_store
from headrace.cli.names import known, known_pipeline
from headrace.cli.output import Unread, notice, show_json, show_line
from headrace.cli.parser import PLAIN, Common, make_app
from headrace.cli.progress import Bars, PlainLines
from headrace.cli.telling import Telling
from headrace.data.window import Window
from headrace.errors import RunFailedError, SettingsError
from headrace.runs.asking import check_events
from headrace.settings import Settings

if TYPE_CHECKING:
    from headrace.graph.loaded import Loaded

app = make_app("run", "Run a pipeline here and now, in this process. (`headrace trigger` asks the engine instead.)")


_LONG = 160  # characters of a result


@app.default
def run(
    pipeline: str,
    /,
    *words: str,
    window: Annotated[tuple[str, str] | None, Parameter(negative=())] = None,
    common: Common = PLAIN,
    **flags: str,
) -> int:
    """Run a pipeline here and now, in this process. (`headrace trigger` asks the engine instead.)

    It leaves a record like every run. The exit code is 1 where it does not succeed. With --json its facts come as
    JSON lines, the last of them {"run": …, "state": …}.

    Parameters
    ----------
    pipeline
        A pipeline of the project, or FILE.py:PIPELINE (FILE.py alone where there is only one in it).
    words
        Its parameters: rounds=50. Or as options: --rounds 50. Which it has, and their defaults: headrace pipelines
        show NAME.
    window
        The time that the run is about: START END or START LENGTH, in UTC, for example 2013-01-01 60d.
    flags
        Parameters of the pipeline as options.
    """
    from headrace.app.here import run_loaded

    texts = params.given(words, flags)
    settings = settings_of(common)
    if settings.env is not None:
        os.environ["HEADRACE_ENV"] = settings.env  # what the tasks read by themselves must be the same
    loaded, name = _found(settings, pipeline)
    tell_store(settings)
    definition = loaded.project.pipelines[name]
    check_events(definition)
    arguments: dict[str, Any] = params.typed(definition, texts)
    chosen, takes = params.window(definition, window), params.window_parameter(definition)
    if chosen is not None and takes is not None:
        arguments[takes] = Window.of(*chosen)
    view = _JsonLines() if common.json else Bars(definition.graph) if _has_terminal() else PlainLines(definition.graph)
    telling = Telling(notice)
    with redirect_stdout(Unread(sys.stdout)), view:
        ended = run_loaded(settings, loaded, name, arguments, on_facts=lambda facts: telling.tell(view.take, facts))
    if common.json:
        show_json({"run": ended.id, "pipeline": name, "state": ended.state})
    else:
        show_line(f"run {ended.id} of {name} {ended.state}", ended.state)
        if ended.state == "succeeded" and definition.graph.result is not None:
            show_line(f"result  {in_one_line(ended.result())}")
    if ended.state != "succeeded":
        raise RunFailedError(
            f"run {ended.id} of {name} {ended.state}",
            cure=f"headrace why {ended.id}   headrace logs {ended.id}",
            code="HR6001",
        )
    return 0


def _found(settings: Settings, text: str) -> tuple[Loaded, str]:
    """The loaded code and the pipeline's name in it."""
    file, colon, name = text.partition(":")
    if not file.endswith(".py"):
        if not settings.is_project:
            raise no_project(settings)
        loaded = sound(settings)
        return loaded, known_pipeline(text, loaded.project)
    from headrace.graph.project import load_file

    loaded = free_of_mistakes(load_file(Path(file)))
    names = list(loaded.project.pipelines)
    if not colon:
        if len(names) != 1:
            raise SettingsError(
                f"{file} has {len(names)} pipelines: {', '.join(names) or 'none'}",
                cure=f"headrace run {file}:{names[0] if names else 'NAME'}",
                code="HR1351",
            )
        return loaded, names[0]
    others = f"headrace run {file}:{names[0]}" if names else f"{file} has no pipeline"
    return loaded, known("pipeline", name, names, cure=others)


def in_one_line(value: object) -> str:
    """A result as far as one line holds it; of a frame its shape and columns.

    >>> in_one_line([1, 2]), in_one_line("a\\nb")
    ('[1, 2]', "'a\\\\nb'")
    """
    columns: Any = getattr(value, "columns", None)
    shape: Any = getattr(value, "shape", None)
    if isinstance(shape, tuple) and isinstance(columns, list):
        text = f"{type(value).__name__} {' x '.join(map(str, cast('tuple[Any, ...]', shape)))}: {', '.join(columns)}"
    else:
        text = " ".join(repr(value).split())
    return text if len(text) <= _LONG else f"{text[:_LONG]} …"


def _has_terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


class _JsonLines(PlainLines):
    """The facts themselves: {"kind": …, "fact": [...]}."""

    def __init__(self) -> None:
        """Nothing is counted."""

    def take(self, facts: Sequence[Fact]) -> None:
        for fact in facts:
            show_json({"kind": fact.kind, "fact": fact})
