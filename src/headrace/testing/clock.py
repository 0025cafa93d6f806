"""A clock that stands still until a test moves it."""

from __future__ import annotations

from datetime import datetime, timedelta

from headrace.base.durations import micros
from headrace.base.instants import to_us


class FakeClock:
    """Implements `ports.Clock`. Wall time begins at `now` (an aware datetime or ISO text), monotonic time at 0.

    >>> clock = FakeClock("2026-01-01")
    >>> clock.advance("90s")
    >>> clock.monotonic_us()
    90000000
    """

    def __init__(self, now: datetime | str = "2026-01-01") -> None:
        self._now_us = to_us(now)
        self._monotonic_us = 0

    def now_us(self) -> int:
        return self._now_us

    def monotonic_us(self) -> int:
        return self._monotonic_us

    def advance(self, by: timedelta | str) -> None:
        """Let time pass on both clocks. Raises ProjectError for text that is no length of time."""
        self._now_us += micros(by)
        self._monotonic_us += micros(by)

    def set_wall(self, now: datetime | str) -> None:
        """Put the wall clock elsewhere, as an administrator or a time server does; monotonic time goes on unmoved."""
        self._now_us = to_us(now)
