"""Groups of events: "twenty diverted flights within 24 hours" as a pure state that fires or lets events expire."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import NamedTuple

import msgspec

from headrace.base.durations import format_duration, micros
from headrace.data.events import OffsetRange
from headrace.data.facts import is_ahead
from headrace.errors import ProjectError


class Event(NamedTuple):
    """One matching event; sorts by event time (UTC microseconds), then partition and offset."""

    time_us: int
    partition: int
    offset: int


class Fired(msgspec.Struct, frozen=True):
    """The events of one group, sorted. Each starts exactly one run."""

    events: tuple[Event, ...]

    @property
    def key(self) -> str:
        """`partition:offset` of the last event: the same whenever the same events fire."""
        last = self.events[-1]
        return f"{last.partition}:{last.offset}"

    def ranges(self, topic: str) -> tuple[OffsetRange, ...]:
        """The offsets of the events, neighbours joined, by partition."""
        return tuple(_joined(topic, sorted((event.partition, event.offset) for event in self.events)))


class EventGroup(msgspec.Struct, frozen=True):
    """The events held for a trigger of `count` events within `within_us` of event time.

    Exactly `within_us` apart is still within; without it nothing expires. Every event added is, in the end, in exactly
    one fired group or counted once as expired. Where `count` was lowered below what is held, the next call of `add`
    fires the oldest ones in groups of the new count. `newest_us` is the newest event time seen, but for events that
    were ahead of the clock when they were appended. Serialisable by msgspec; begin with `EventGroup.of`.
    """

    count: int
    within_us: int | None
    held: tuple[Event, ...] = ()
    newest_us: int | None = None

    @classmethod
    def of(cls, count: int = 1, within: timedelta | str | None = None) -> EventGroup:
        """An empty group. Raises `ProjectError` for a count below 1 or a length of zero."""
        if count < 1:
            raise ProjectError(f"a trigger counts at least 1 event, got count={count}", cure="leave count out for each")
        within_us = None if within is None else micros(within)
        if within_us == 0:
            raise ProjectError(
                "a trigger waits for events within a length of time, got zero", cure='write within="24h"'
            )
        return cls(count, within_us)

    def add(self, events: Sequence[tuple[int, int, int, int]]) -> tuple[EventGroup, tuple[Fired, ...], int]:
        """Take events `(event time, partition, offset, time of its append)`, times in UTC microseconds, as they were read.

        Returns the new state, the groups that became full, and how many events expired: those further than `within`
        behind the newest event time seen, held ones and late arrivals alike, and those that were ahead of the clock when
        they were appended. How the events are cut into calls, and when they are read, does not matter.
        """
        held, newest_us = list(self.held), self.newest_us
        fired: list[Fired] = []
        expired = self._expire(held, newest_us)  # `count` or `within` may be others than those it was held under
        fired += self._full(held)
        for time_us, partition, offset, appended_us in events:
            if not is_ahead(time_us, appended_us):
                newest_us = time_us if newest_us is None else max(newest_us, time_us)
            elif self._expires:
                expired += 1
                continue
            insort(held, Event(time_us, partition, offset))
            expired += self._expire(held, newest_us)
            fired += self._full(held)
        return EventGroup(self.count, self.within_us, tuple(held), newest_us), tuple(fired), expired

    @property
    def is_full(self) -> bool:
        """Whether it holds a group without another event: `count` was lowered since they came."""
        return len(self.held) >= self.count

    @property
    def _expires(self) -> bool:
        return self.within_us is not None and self.count > 1  # a single event is in time, however late it comes

    def _full(self, held: list[Event]) -> list[Fired]:
        fired: list[Fired] = []
        while len(held) >= self.count:
            fired.append(Fired(tuple(held[: self.count])))
            del held[: self.count]
        return fired

    def __str__(self) -> str:
        within = "" if self.within_us is None else f" within {format_duration(timedelta(microseconds=self.within_us))}"
        return f"{len(self.held)} of {self.count} events{within}"

    def _expire(self, held: list[Event], newest_us: int | None) -> int:
        if self.within_us is None or not self._expires:
            return 0
        n = len(held)
        if newest_us is None:  # all that is held was ahead of the clock
            held.clear()
            return n
        while held and held[-1].time_us > newest_us:  # so was this, and it was held without `within`
            held.pop()
        oldest_us = newest_us - self.within_us
        old = next((i for i, event in enumerate(held) if event.time_us >= oldest_us), len(held))
        del held[:old]
        return n - len(held)


def _joined(topic: str, places: Iterable[tuple[int, int]]) -> Iterable[OffsetRange]:
    run: tuple[int, int, int] | None = None
    for partition, offset in places:
        if run is not None and run[0] == partition and run[2] == offset:
            run = (partition, run[1], offset + 1)
            continue
        if run is not None:
            yield OffsetRange(topic, *run)
        run = (partition, offset, offset + 1)
    if run is not None:
        yield OffsetRange(topic, *run)
