"""Backfills: the windows that a schedule would have given over a stretch of the past."""

from __future__ import annotations

from itertools import pairwise

from headrace.data.window import Window
from headrace.triggers.schedule import Schedule, slots


def backfill_windows(schedule: Schedule, window: Window) -> tuple[Window, ...]:
    """The windows `[previous slot, slot)` that lie wholly in `window`, oldest first; each ends at its slot.

    A pipeline with a window of another length takes the slots from here and their windows from `window_of`.

    >>> from headrace.triggers.schedule import parse_schedule
    >>> [str(w.start.date()) for w in backfill_windows(parse_schedule("@daily"), Window("2013-01-01", "3d"))]
    ['2013-01-01', '2013-01-02', '2013-01-03']
    """
    edges = slots(schedule, window.start_us - 1, window.end_us)
    return tuple(Window.of(start_us, end_us) for start_us, end_us in pairwise(edges))
