"""What happens to tables and topics."""

from __future__ import annotations

import msgspec

from headrace.base.facts import Fact


class Part(msgspec.Struct, frozen=True, array_like=True):
    """One Parquet file of a table version, written by `run`; `window` where the table is written by window."""

    path: str
    rows: int
    size_bytes: int
    digest: str
    window: tuple[int, int] | None = None
    run: str = ""


class TablePublished(Fact, frozen=True):
    """A new version of a table: the complete list of its parts, and who made it from what."""

    table: str
    version_number: int
    parts: tuple[Part, ...]
    rows: int
    run: str
    node: str
    item: int
    attempt: int
    at_us: int
    columns: dict[str, str] | None = None
    path: str = ""  # of the attempt, within nested maps
    replaced: tuple[str, ...] = ()  # other runs whose rows the version before held and this one does not


AHEAD_US = 3_600_000_000


def is_ahead(time_us: int, at_us: int) -> bool:
    """Whether an event time lies so far ahead of the clock that it tells of a broken one: more than an hour.

    Such a row is kept and read, and it says nothing of how far its topic is complete: one row of the year 2999 would close
    all windows before. The hour is that of Kafka (`log.message.timestamp.after.max.ms`, since 4.0), which refuses it.

    >>> is_ahead(2 * AHEAD_US, AHEAD_US), is_ahead(2 * AHEAD_US + 1, AHEAD_US)
    (False, True)
    """
    return time_us > at_us + AHEAD_US


class TopicAppended(Fact, frozen=True):
    """Rows of one partition were appended at [first, first + rows).

    Whoever appends leaves `first` at -1: the store assigns it in the appending transaction, so commit order is offset
    order. Bounds are of event time and known time, UTC microseconds. Where rows lie ahead of the clock (`is_ahead`),
    `settled_us` is the newest event time of the others.
    """

    topic: str
    partition: int
    rows: int
    at_us: int
    first: int = -1
    encoding: str = "arrow"  # "arrow": typed columns; "json": one column `payload` of raw bytes
    min_time_us: int | None = None
    max_time_us: int | None = None
    min_known_us: int | None = None
    max_known_us: int | None = None
    size_bytes: int = 0
    partitions: int = 0  # that the topic has, as declared where the rows come from; 0 where nobody says
    settled_us: int | None = None

    @property
    def reaches_us(self) -> int | None:
        """The event time to which its rows bring their partition; None where they have none, or all lie ahead."""
        is_beyond = self.max_time_us is not None and is_ahead(self.max_time_us, self.at_us)
        return self.settled_us if is_beyond else self.max_time_us


class TopicShaped(Fact, frozen=True):
    """A topic without `schema=` has these columns from here on: column → type word, in order.

    Committed with the first rows. The word "null" stands for a column that held nulls only; it gets its type with its
    first value, and that is all that a later shape may change.
    """

    topic: str
    schema: dict[str, str]
    at_us: int

    def fits(self, known: dict[str, str] | None) -> bool:
        """Whether a topic with the columns `known` may have these: the same, and a type only where there was none.

        >>> TopicShaped("t", {"a": "int"}, 0).fits({"a": "null"}), TopicShaped("t", {"a": "int"}, 0).fits({"a": "str"})
        (True, False)
        """
        if known is None:
            return True
        return list(known) == list(self.schema) and all(w in ("null", self.schema[c]) for c, w in known.items())


class TopicCompleted(Fact, frozen=True):
    """Whoever appends declares: every row of `topic` with event time before `through_us` is in the log."""

    topic: str
    through_us: int
    at_us: int


class PlaybackAdvanced(Fact, frozen=True):
    """The player of a recorded history has appended step `step`, all event times before `through_us`."""

    step: int
    through_us: int
    at_us: int
