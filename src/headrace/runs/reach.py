"""How far a topic has come in event time, what that rests on, and the sentence about somebody who waits for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from headrace.base.instants import iso, to_the_second


@dataclass(frozen=True, slots=True)
class Reach:
    """The watermark `through_us` in UTC microseconds, None where nothing is known.

    It is that of `stream`, which writes the topic; else the least of `newest_us`, the newest event time of each
    partition that has rows; else it was declared. `is_ahead`: nothing is known, since all rows lay more than an hour
    ahead of the clock when they were appended.
    """

    through_us: int | None = None
    stream: str | None = None
    newest_us: Mapping[int, int] = field(default_factory=dict[int, int])
    is_ahead: bool = False

    def is_behind(self, us: int) -> bool:
        return (self.through_us or 0) < us


NOTHING_KNOWN = Reach()


def waits_for(topic: str, end_us: int, reach: Reach) -> str:
    """
    >>> waits_for("departures", 86_400_000_000, Reach(85_260_000_000))
    'waits for departures: complete through 1970-01-01T23:41Z, needed 1970-01-02T00:00Z'
    >>> waits_for("departures", 86_400_000_000, Reach(85_260_000_000, newest_us={0: 85_260_000_000, 1: 90_000_000_000}))
    'waits for departures: partition 0 has rows only up to 1970-01-01T23:41Z, needed 1970-01-02T00:00Z'
    >>> waits_for("departures", 86_400_000_000, Reach(is_ahead=True)).partition(", ")[0]
    'waits for departures: all its rows lie more than an hour ahead of the clock (a broken clock or a wrong unit?)'
    """
    return f"waits for {topic}: {_so_far(end_us, reach)}, needed {iso(end_us)}"


def to_come(end_us: int, reach: Reach) -> str:
    """What it goes on with.

    >>> to_come(86_400_000_000, Reach(5, newest_us={0: 5, 1: 6}))
    'rows from 1970-01-02T00:00Z on in each of these partitions'
    """
    if reach.stream is None and reach.is_ahead:
        return "rows up to then with the right time: those that lie ahead do not count"
    if reach.stream is not None or not reach.newest_us:
        return "rows up to then"
    behind = sum(newest_us < end_us for newest_us in reach.newest_us.values())
    return f"rows from {iso(end_us)} on in {'this partition' if behind == 1 else 'each of these partitions'}"


def _so_far(end_us: int, reach: Reach) -> str:
    if reach.stream is not None:
        if reach.through_us is None:
            return f"stream {reach.stream} has not come to an event time in every shard"
        return f"stream {reach.stream} has come through {to_the_second(reach.through_us)}"
    behind = {part: newest_us for part, newest_us in reach.newest_us.items() if newest_us < end_us}
    if behind:
        parts = f"partition{'' if len(behind) == 1 else 's'} {', '.join(map(str, behind))}"
        has = "has" if len(behind) == 1 else "have"
        return f"{parts} {has} rows only up to {to_the_second(min(behind.values()))}"
    if reach.through_us is not None:
        return f"complete through {iso(reach.through_us)}"
    if reach.is_ahead:
        return "all its rows lie more than an hour ahead of the clock (a broken clock or a wrong unit?)"
    return "it has no rows"
