"""The window of a run that is about an instant, or about all that its data has come to."""

from __future__ import annotations

from collections.abc import Mapping

from headrace.base.durations import micros
from headrace.definitions.project import PipelineDef, Schedule
from headrace.errors import RefusedError
from headrace.triggers.schedule import parse_schedule, previous, window_of


def reached(definition: PipelineDef, watermarks: Mapping[str, int], now_us: int) -> int:
    """The event time that the data of a pipeline has reached; the time now where it reads no topic of known progress.

    What a run is about that somebody asks for without saying which window, in the engine and in process.
    """
    return min((watermarks[topic] for topic in definition.reads if topic in watermarks), default=now_us)


def run_window(definition: PipelineDef, about_us: int) -> tuple[int, int] | None:
    """`[start, end)` in UTC microseconds for a run about `about_us`, or None where the pipeline takes no window.

    With `window="60d"` or `"all"` it ends at that instant; else it is the last closed interval of the schedule.
    Raises RefusedError where the pipeline needs a window and nothing says which.
    """
    if definition.window == "all":
        return (0, about_us)
    if definition.window is not None:
        return (about_us - micros(definition.window), about_us)
    if all(p.kind != "window" for p in definition.params):
        return None
    schedule = next((t for t in definition.triggers if isinstance(t, Schedule)), None)
    if schedule is None:
        raise RefusedError(
            f"{definition.name} needs a window, and neither window= nor a schedule says which",
            cure='say which:  --window 2026-01-01 1d,  or give the pipeline a window="60d" of its own',
            code="HR3022",
        )
    slots = parse_schedule(schedule.expression, schedule.timezone)
    window = window_of(slots, previous(slots, about_us + 1))
    return (window.start_us, window.end_us)
