"""`headrace backfill`: one run for each past window of a pipeline."""

from __future__ import annotations

import secrets
from itertools import islice
from typing import Annotated, Any

from cyclopts import Parameter

from headrace.base.ids import make_id
from headrace.cli import params
from headrace.cli.client import Asked, answer, ask
from headrace.cli.here import Here, now_us, open_here
from headrace.cli.names import known
from headrace.cli.output import show_json, show_line, show_table
from headrace.cli.parser import PLAIN, Common, Wait, make_app
from headrace.cli.words import count, span
from headrace.data.window import Window
from headrace.definitions.project import PipelineDef, Schedule
from headrace.errors import RefusedError, SettingsError

app = make_app("backfill", "Ask the engine for a run of each past window.")

_MOST = 100_000


@app.default
def backfill(
    pipeline: str,
    /,
    *words: str,
    window: Annotated[tuple[str, str], Parameter(negative=())],
    every: str | None = None,
    id: Annotated[str | None, Parameter(name="--id")] = None,  # noqa: A002
    dry_run: bool = False,
    no_wait: bool = False,
    timeout: Wait = 60.0,
    common: Common = PLAIN,
    **flags: str,
) -> int:
    """Ask the engine for a run of each past window, oldest first.

    The windows are those that the pipeline's schedule gives over the stretch.

    Parameters
    ----------
    pipeline
        The pipeline.
    words
        Its parameters: rounds=50. Or as options: --rounds 50.
    window
        The stretch of time: START END or START LENGTH, in UTC, for example 2013-01-01 60d.
    every
        The length of the windows of a pipeline that has no schedule, for example 1d.
    id
        The backfill's id: a second call with the same id makes no second run of a window.
    dry_run
        Only show the windows.
    no_wait
        Return as soon as the requests are stored.
    flags
        Parameters of the pipeline as options.
    """
    texts = params.given(words, flags)
    chosen = id or make_id(now_us(), secrets.randbits(25))
    with open_here(common, writes=not dry_run) as here:
        definition = here.project.pipelines[known("pipeline", pipeline, here.project.pipelines, here=here)]
        values = params.typed(definition, texts)
        params.window(definition, window)  # a pipeline that takes none would do the same work again and again
        windows = windows_of(definition, Window(*window), every)
        if dry_run:
            _show_windows(chosen, windows, common)
            return 0
        waits_s = None if no_wait else timeout
        asked = [_ask(here, pipeline, values, chosen, one, waits_s) for one in windows]
        results = [{"window": one, **_outcome(here, one_asked, no_wait, timeout)} for one, one_asked in asked]
    if common.json:
        show_json({"backfill": chosen, "pipeline": pipeline, "runs": results})
    else:
        show_line(f"backfill {chosen} of {pipeline}: {count(len(results), 'window')}")
        show_table(
            ("RUN", "WINDOW", "PROBLEM"),
            [(x["run"] or f"request {x['request']}", span(x["window"]), x["problem"]) for x in results],
            empty="no window",
        )
    return RefusedError.exit_code if any(x["problem"] for x in results) else 0


def windows_of(definition: PipelineDef, stretch: Window, every: str | None) -> list[tuple[int, int]]:
    """The windows that lie wholly in the stretch. Raises SettingsError where nothing says how long they are."""
    from headrace.triggers.backfill import backfill_windows
    from headrace.triggers.schedule import parse_schedule, window_of
    from headrace.triggers.schedule import slots as slots_of

    schedule = next((trigger for trigger in definition.triggers if isinstance(trigger, Schedule)), None)
    if every is not None:
        slots = parse_schedule(f"every {every}")
    elif schedule is not None:
        slots = parse_schedule(schedule.expression, schedule.timezone)
    else:
        raise SettingsError(
            f"{definition.name} has no schedule that says how long its windows are", cure="--every 1d", code="HR1352"
        )
    if next(islice(slots_of(slots, stretch.start_us, stretch.end_us), _MOST, None), None) is not None:
        raise SettingsError(
            f"more than {_MOST:,} windows lie in that stretch",
            where="--window",
            cure="a shorter stretch, or a longer --every",
            code="HR1352",
        )
    found = [window_of(slots, one.end_us, definition.window or "slot") for one in backfill_windows(slots, stretch)]
    if not found:
        raise SettingsError(
            "no window lies wholly in that stretch", where="--window", cure="a longer stretch", code="HR1352"
        )
    return [(one.start_us, one.end_us) for one in found]


def _ask(
    here: Here,
    pipeline: str,
    values: dict[str, Any],
    backfill: str,
    window: tuple[int, int],
    waits_s: float | None,
) -> tuple[tuple[int, int], Asked]:
    key = f"backfill:{pipeline}:{backfill}:{window[0]}-{window[1]}"
    body = {
        "pipeline": pipeline,
        "params": values,
        "window": window,
        "why": f"backfill {backfill}",
        "at_us": None,
        "cause": "backfill",
        "key": key,
    }
    return window, ask(here, "trigger", body, key=key, waits_s=waits_s)


def _outcome(here: Here, asked: Asked, no_wait: bool, timeout_s: float) -> dict[str, Any]:
    if no_wait or (here.engine is None and here.store.answer(asked.id) is None):
        return {"request": asked.id, "run": None, "problem": None}
    try:
        return {"request": asked.id, "run": answer(here, asked, timeout_s=timeout_s).get("run"), "problem": None}
    except RefusedError as error:  # one window's refusal is an outcome; the others go on
        return {"request": asked.id, "run": None, "problem": error.message}


def _show_windows(backfill: str, windows: list[tuple[int, int]], common: Common) -> None:
    if common.json:
        return show_json({"backfill": backfill, "windows": windows})
    show_table(("WINDOW",), [(span(one),) for one in windows], empty="no window")
    return show_line(f"{count(len(windows), 'run')} would be asked for")
