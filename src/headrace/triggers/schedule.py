"""A schedule as text, its slots, which of them are due after a pause, and the window of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice

from headrace.base.durations import micros, parse_duration
from headrace.base.instants import from_us
from headrace.data.window import Window
from headrace.errors import ProjectError
from headrace.triggers.cron import Cron
from headrace.triggers.interval import Interval
from headrace.triggers.wall_time import zone_of

Schedule = Cron | Interval


@dataclass(frozen=True)
class Skipped:
    """The slots from `first_us` to `last_us`, both of them skipped. Bounds, not a count: there may be millions."""

    first_us: int
    last_us: int


@dataclass(frozen=True)
class Due:
    """Slots to run, oldest first, and those to record as skipped. `more` says that a limit cut the list."""

    slots: tuple[int, ...] = ()
    skipped: Skipped | None = None
    more: bool = False


def parse_schedule(text: str, tz: str = "UTC") -> Schedule:
    """Read `"every 10m"`, a preset such as `"@daily"`, or a cron expression, which is meant in the zone `tz`.

    Intervals are counted in UTC whatever the zone. Raises `ProjectError`.

    >>> parse_schedule("@daily", "Europe/Brussels")
    Cron(expr='0 0 * * *', tz='Europe/Brussels')
    """
    words = text.split(maxsplit=1)
    if words and words[0].lower() == "every":
        zone_of(tz)
        return Interval(parse_duration(words[1].strip() if len(words) > 1 else ""))
    if len(words) == 1 and _is_duration(words[0]):
        raise ProjectError(f"{text!r} is a length of time, not a schedule", cure=f'write "every {words[0]}"')
    return Cron(text, tz)


def slots(schedule: Schedule, after_us: int, until_us: int) -> Iterator[int]:
    """The slots in `(after, until]`, in order."""
    slot = schedule.next_after(after_us)
    while slot <= until_us:
        yield slot
        slot = schedule.next_after(slot)


def previous(schedule: Schedule, us: int) -> int:
    """The last slot strictly before that instant."""
    return schedule.previous_before(us)


def due_slots(schedule: Schedule, last_us: int, now_us: int, catchup: bool, *, limit: int | None = None) -> Due:
    """What is due at `now` when everything up to `last` has been dealt with; nothing when the clock went back.

    With catch-up every slot in `(last, now]`, the oldest `limit` of them at a time. Without, only the newest, and the
    others as one range to record as skipped; it is found from the end, so ten missed years cost as little as a minute.
    """
    if catchup:
        found = slots(schedule, last_us, now_us)
        due = tuple(found if limit is None else islice(found, limit))
        return Due(due, more=next(found, None) is not None)
    newest = schedule.previous_before(now_us + 1)
    if newest <= last_us:
        return Due()
    first = schedule.next_after(last_us)
    return Due((newest,), Skipped(first, schedule.previous_before(newest)) if first < newest else None)


def window_of(schedule: Schedule, slot_us: int, length: str | timedelta = "slot") -> Window:
    """The window that the run of a slot is about. It always ends at the slot: its data are complete by then.

    `"slot"`: `[previous slot, slot)`, the interval that has just closed. `"all"`: everything since 1970.
    A duration: `[slot - length, slot)`.

    >>> from headrace.base.instants import to_us
    >>> window_of(parse_schedule("@daily"), to_us("2013-03-02"))
    Window('2013-03-01T00:00Z', '2013-03-02T00:00Z')
    """
    if length == "slot":
        return Window.of(schedule.previous_before(slot_us), slot_us)
    if length == "all":
        return Window.until(from_us(slot_us))
    return Window.of(slot_us - micros(length), slot_us)


def _is_duration(text: str) -> bool:
    try:
        parse_duration(text)
    except ProjectError:
        return False
    return True
