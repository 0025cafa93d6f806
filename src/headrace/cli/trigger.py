"""`headrace trigger`: ask the engine for a run. The other way, in this process, is `headrace run`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from headrace.base.instants import to_us
from headrace.cli import params
from headrace.cli.client import ask_and_wait
from headrace.cli.here import Here, open_here
from headrace.cli.names import known_pipeline
from headrace.cli.output import show_json, show_line
from headrace.cli.parser import PLAIN, Common, Wait, make_app
from headrace.cli.words import span
from headrace.runs.asking import check_events
from headrace.runs.creation import bounded_by

if TYPE_CHECKING:
    from headrace.definitions.project import PipelineDef

app = make_app("trigger", "Ask the engine for a run. (`headrace run` runs it in this process instead.)")


@app.default
def trigger(
    pipeline: str,
    /,
    *words: str,
    window: Annotated[tuple[str, str] | None, Parameter(negative=())] = None,
    at: str | None = None,
    why: str = "",
    no_wait: bool = False,
    timeout: Wait = 10.0,
    common: Common = PLAIN,
    **flags: str,
) -> None:
    """Ask the engine for a run. (`headrace run` runs it in this process instead.)

    Parameters
    ----------
    pipeline
        The pipeline.
    words
        Its parameters: rounds=50. Or as options: --rounds 50. Which it has, and their defaults: headrace pipelines
        show NAME.
    window
        The time that the run is about: START END or START LENGTH, in UTC, for example 2013-01-01 60d.
    at
        The instant that the run is about, where the pipeline makes its window of it.
    why
        A reason, kept with the run.
    no_wait
        Return as soon as the request is stored.
    flags
        Parameters of the pipeline as options.
    """
    at_us = None if at is None else to_us(at)
    texts = params.given(words, flags)
    with open_here(common, writes=True) as here:
        definition = here.project.pipelines[known_pipeline(pipeline, here.project, here)]
        check_events(definition)
        values = params.typed(definition, texts)
        chosen = params.window(definition, window)
        body = {"pipeline": pipeline, "params": values, "window": chosen, "why": why, "at_us": at_us}
        asked, answer = ask_and_wait(here, "trigger", body, no_wait=no_wait, timeout_s=timeout)
        run = None if answer is None else answer.get("run")
        until = None if chosen is not None or at_us is not None or run is None else _until(here, definition, run)
    if common.json:
        return show_json({"request": asked.id, "pipeline": pipeline, "run": run})
    if run is None:
        return show_line(f"request {asked.id} for {pipeline} is stored")
    show_line(f"run {run} of {pipeline}")
    if until is not None:
        show_line(until)
    return show_line(f"next: headrace runs show {run}")


def _until(here: Here, definition: PipelineDef, run: str) -> str | None:
    """Where the run's window ends and which topic has come no further; None where it does not end there."""
    from headrace.store.sql.reads import runs
    from headrace.store.sql.reads.watermarks import watermarks

    row = runs.run(here.db, run)
    complete = watermarks(here.db, here.project)
    reads = [complete[topic] for topic in definition.reads if topic in complete]
    model = here.project.models.get(definition.registers or "")
    mature_us = 0 if model is None else model.mature_us
    if row is None or row.window is None or row.window[1] != min(reads, default=0) - mature_us:
        return None
    return f"window {span(row.window)}: {bounded_by(definition, complete, mature_us)}"
