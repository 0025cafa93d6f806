"""The events that started a run: exact offsets of a topic, so that every attempt reads the same ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.data.access import access
from headrace.data.recording import act_now
from headrace.errors import ProjectError

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, order=True, slots=True)
class OffsetRange:
    """The offsets `[first, end)` of one partition. Raises `ProjectError` when it holds none."""

    topic: str
    partition: int
    first: int
    end: int

    def __post_init__(self) -> None:
        if self.partition < 0 or not 0 <= self.first < self.end:
            raise ProjectError(
                f"a range holds the offsets [first, end) with 0 <= first < end; got [{self.first}, {self.end})",
                where=f"{self.topic}/{self.partition}",
            )

    @property
    def count(self) -> int:
        return self.end - self.first


@dataclass(frozen=True, slots=True)
class Events:
    """The events of one topic that a run is about. Raises `ProjectError` when a range belongs to another topic."""

    topic: str
    ranges: tuple[OffsetRange, ...]

    def __post_init__(self) -> None:
        for part in self.ranges:
            if part.topic != self.topic:
                raise ProjectError(f"events of one topic, but a range belongs to {part.topic!r}", where=self.topic)

    @property
    def count(self) -> int:
        return sum(part.count for part in self.ranges)

    def read(self) -> pl.DataFrame:
        """The events themselves, in (event time, key) order: every attempt of the run reads the same ones."""
        act_now("events.read()", "call it inside a task, and pass the events on to it")
        return access().read_events(self)
