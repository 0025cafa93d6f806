"""The half-open interval of time `[start, end)` that a run is about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from headrace.base.durations import micros, parse_duration
from headrace.base.instants import EPOCH, from_us, iso, to_us
from headrace.errors import ProjectError


@dataclass(frozen=True, order=True, init=False, repr=False, slots=True)
class Window:
    """`[start, end)` in UTC: the start belongs to the window, the end does not, so that neighbours share no row.

    The end is an instant or a length. Dates and text without an offset are UTC; a naive `datetime` is refused.
    Windows sort by start, then end. Raises `ProjectError` when the end is not after the start.

    >>> Window("2013-01-01", "60d")
    Window('2013-01-01T00:00Z', '2013-03-02T00:00Z')
    """

    start: datetime
    end: datetime

    def __init__(self, start: datetime | date | str, end: datetime | date | str | timedelta) -> None:
        start_us = to_us(start)
        end_us = _end_us(start_us, end)
        if end_us <= start_us:
            raise ProjectError(
                f"a window ends after it starts; this one goes from {iso(start_us)} to {iso(end_us)}",
                cure='give the earlier instant first, or a length: Window("2013-01-01", "60d")',
            )
        object.__setattr__(self, "start", from_us(start_us))
        object.__setattr__(self, "end", from_us(end_us))

    @classmethod
    def of(cls, start_us: int, end_us: int) -> Window:
        """The window between two instants in UTC microseconds."""
        return cls(from_us(start_us), from_us(end_us))

    @classmethod
    def ending(cls, end: datetime | date | str, length: timedelta | str) -> Window:
        """The window of that length up to `end`.

        >>> Window.ending("2013-03-02", "60d").start.isoformat()
        '2013-01-01T00:00:00+00:00'
        """
        end_us = to_us(end)
        return cls.of(end_us - micros(length), end_us)

    @classmethod
    def until(cls, end: datetime | date | str) -> Window:
        """All time up to `end`, counted from 1970-01-01: what `window="all"` means."""
        return cls(EPOCH, end)

    @property
    def start_us(self) -> int:
        return to_us(self.start)

    @property
    def end_us(self) -> int:
        return to_us(self.end)

    @property
    def duration(self) -> timedelta:
        return self.end - self.start

    def contains(self, instant: datetime | date | str) -> bool:
        """Whether the instant lies in `[start, end)`."""
        return self.start_us <= to_us(instant) < self.end_us

    def __repr__(self) -> str:
        return f"Window({iso(self.start_us)!r}, {iso(self.end_us)!r})"


def _end_us(start_us: int, end: datetime | date | str | timedelta) -> int:
    if isinstance(end, timedelta):
        return start_us + micros(end)
    if not isinstance(end, str):
        return to_us(end)
    try:
        return to_us(end) if "-" in end else start_us + micros(parse_duration(end))
    except ProjectError:
        raise ProjectError(
            f"a window ends at an instant or after a length, not at {end!r}",
            cure='write an instant, "2013-03-02" or "2013-03-02T05:00Z", or a length, "60d" or "1h30m"',
        ) from None
