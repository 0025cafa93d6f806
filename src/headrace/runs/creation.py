"""A run that begins, and the window of one that is about an instant, or about all that its data has come to."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from headrace.base.durations import format_duration, micros
from headrace.base.instants import iso
from headrace.definitions.project import PipelineDef, Schedule
from headrace.errors import RefusedError
from headrace.runs.facts import RunCreated
from headrace.triggers.schedule import parse_schedule, previous, window_of

if TYPE_CHECKING:
    from headrace.runs.office import Office


def created(
    office: Office,
    pipeline: str,
    key: str,
    cause: str,
    window: tuple[int, int] | None,
    *,
    params: dict[str, Any] | None = None,
    events: tuple[tuple[str, int, int, int], ...] = (),
    why: str = "",
    waits: tuple[str, ...] = (),
) -> RunCreated:
    """A run of the deployed code, with the next id. What the arguments say is said at the fact."""
    return RunCreated(
        office.new_id(),
        pipeline,
        office.code,
        key,
        cause,
        office.now_us,
        params or {},
        window,
        events=events,
        why=why,
        waits=waits,
        max_lost=office.max_lost,
    )


def reached(definition: PipelineDef, watermarks: Mapping[str, int], now_us: int) -> int:
    """The event time that the data of a pipeline has reached; the time now where it reads no topic of known progress.

    What a run is about that somebody asks for without saying which window, in the engine and in process.
    """
    return min((watermarks[topic] for topic in definition.reads if topic in watermarks), default=now_us)


def bounded_by(definition: PipelineDef, watermarks: Mapping[str, int], mature_us: int) -> str:
    """In words what `reached` rests on, for a training that leaves out rows whose labels may still come.

    >>> from headrace.definitions.nodes import Graph
    >>> learn = PipelineDef("learn", "m:learn", Graph(()), reads=("outcomes", "rides"))
    >>> bounded_by(learn, {"outcomes": 86_400_000_000, "rides": 90_000_000_000}, 3_600_000_000)
    'the topic outcomes is complete through 1970-01-02T00:00Z, less 1h for labels to mature'
    >>> bounded_by(learn, {}, 0)
    'no topic that it reads has rows: until now'
    """
    marks = [(watermarks[topic], topic) for topic in definition.reads if topic in watermarks]
    less = f", less {format_duration(timedelta(microseconds=mature_us))} for labels to mature" if mature_us else ""
    if not marks:
        return f"no topic that it reads has rows: until now{less}"
    us, topic = min(marks)
    return f"the topic {topic} is complete through {iso(us)}{less}"


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
