"""`headrace trigger`: ask the engine for a run. The other way, in this process, is `headrace run`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from headrace.base.instants import to_us
from headrace.cli import params
from headrace.cli.client import ask_and_wait
from headrace.cli.here import open_here
from headrace.cli.names import known_pipeline
from headrace.cli.output import show_json, show_line
from headrace.cli.parser import PLAIN, Common, Wait, make_app
from headrace.runs.asking import check_events

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
        Its parameters: rounds=50. Or as options: --rounds 50.
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
        definition = here.project.pipelines[known_pipeline(pipeline, here.project)]
        check_events(definition)
        values = params.typed(definition, texts)
        chosen = params.window(definition, window)
        body = {"pipeline": pipeline, "params": values, "window": chosen, "why": why, "at_us": at_us}
        asked, answer = ask_and_wait(here, "trigger", body, no_wait=no_wait, timeout_s=timeout)
    run = None if answer is None else answer.get("run")
    if common.json:
        return show_json({"request": asked.id, "pipeline": pipeline, "run": run})
    if run is None:
        return show_line(f"request {asked.id} for {pipeline} is stored")
    show_line(f"run {run} of {pipeline}")
    return show_line(f"next: headrace runs show {run}")
