"""From judged windows to an ask: an asker's streak of crossings."""

from __future__ import annotations

import msgspec


class Streak(msgspec.Struct, frozen=True):
    """The crossings an asker has seen in a row.

    `unjudged` counts the windows since the streak began that could not be judged; `window_end_us` is the end of the
    last window taken in, in UTC microseconds.
    """

    crossings: int = 0
    unjudged: int = 0
    window_end_us: int | None = None

    def cleared(self) -> Streak:
        """The streak after an ask, its own or that of another asker of the same model."""
        return Streak(window_end_us=self.window_end_us)


def advance(streak: Streak, *, window_end_us: int, crossed: bool | None, consecutive: int) -> tuple[Streak, bool]:
    """Take in the next window; True when the asker asks now.

    `crossed` is None for a window that was not judged: it neither adds to the streak nor breaks it, it is counted.
    An ask clears the streak, so the crossings that led to it cannot ask again. A window at or before the last one
    taken in changes nothing, so a replay asks no second time.

    >>> streak, asks = advance(Streak(), window_end_us=7, crossed=True, consecutive=2)
    >>> streak, asks = advance(streak, window_end_us=14, crossed=None, consecutive=2)
    >>> streak.crossings, streak.unjudged, asks
    (1, 1, False)
    >>> advance(streak, window_end_us=21, crossed=True, consecutive=2)
    (Streak(crossings=0, unjudged=0, window_end_us=21), True)
    """
    if streak.window_end_us is not None and window_end_us <= streak.window_end_us:
        return streak, False
    if crossed is None:
        waiting = streak.unjudged + 1 if streak.crossings else 0
        return Streak(streak.crossings, waiting, window_end_us), False
    crossings = streak.crossings + 1 if crossed else 0
    if crossed and crossings >= consecutive:
        return Streak(window_end_us=window_end_us), True
    return Streak(crossings, streak.unjudged if crossed else 0, window_end_us), False
