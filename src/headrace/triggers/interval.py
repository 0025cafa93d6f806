"""Schedules of equal steps: `every 10m`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from headrace.base.durations import format_duration, micros
from headrace.errors import ProjectError


@dataclass(frozen=True)
class Interval:
    """One slot per `every`, counted from 1970-01-01 UTC, so that a restart or redeploy moves no slot.

    Days are 24 hours and begin at midnight UTC; for local midnight use cron. Raises `ProjectError` below one second.

    >>> from headrace.base.instants import iso, to_us
    >>> iso(Interval(timedelta(minutes=10)).next_after(to_us("2013-03-01T05:03Z")))
    '2013-03-01T05:10Z'
    """

    every: timedelta

    def __post_init__(self) -> None:
        if self.every < timedelta(seconds=1):
            raise ProjectError(
                f"an interval lasts at least 1s; got {self.every!r}",
                cure="each slot is a durable run; for work on every event use a stream or an event trigger",
            )

    @property
    def every_us(self) -> int:
        return micros(self.every)

    def next_after(self, us: int) -> int:
        """The first slot strictly after that instant."""
        return (us // self.every_us + 1) * self.every_us

    def previous_before(self, us: int) -> int:
        """The last slot strictly before that instant."""
        return (us - 1) // self.every_us * self.every_us

    def __str__(self) -> str:
        return f"every {format_duration(self.every)}"
