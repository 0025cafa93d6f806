"""The embedded log as its readers see it: the rows of topics by offsets, by event time and by known time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec
import polars as pl

from headrace.connectors import payloads
from headrace.connectors.blob import (
    APPENDED,
    HIDDEN,
    OFFSET,
    PARTITION,
    TIME,
    Piece,
    Rows,
    bounds,
    concat,
    cut,
    decode,
    empty,
)
from headrace.connectors.blob import piece as piece_of
from headrace.connectors.fitting import INSTANT, UNTYPED
from headrace.data.events import OffsetRange
from headrace.data.window import Window
from headrace.definitions.project import SourceDef, TopicDef
from headrace.errors import DamagedError
from headrace.streams.join import join_asof, sort_history, span_us

_OPEN_BLOBS = 8
_TOGETHER = 256  # blobs of one query

Pins = Mapping[int, int]
"""Partition → the offset at which a read ends. A partition without a pin has no rows for this reader."""


class Reads(Protocol):
    """What the log asks of the store's database. The module `headrace.store.sql.reads.topics` is one."""

    def heads(self, db: Any, topic: str, /) -> dict[int, int]: ...
    def blobs(
        self, db: Any, topic: str, partition: int, first: int, end: int | None = None, *, limit: int = 1000
    ) -> Sequence[Any]: ...
    def blobs_between(
        self,
        db: Any,
        topic: str,
        start_us: int | None,
        end_us: int | None,
        *,
        by: str = "time",
        ends: Pins | None = None,
    ) -> Sequence[Any]: ...
    def filled(
        self, db: Any, topic: str, partition: int, first: int, end: int, *, limit: int
    ) -> Sequence[tuple[Any, bytes]]: ...
    def bodies(self, db: Any, blobs: Sequence[Any], /) -> list[bytes]: ...
    def columns(self, db: Any, topic: str, /) -> dict[str, str] | None: ...


class Log:
    """The topics of one store, for readers. `reads` asks its `database` for blobs.

    >>> from headrace.connectors.appends import append
    >>> from headrace.store.sql.reads import topics
    >>> from headrace.store.sql.store import SqlStore
    >>> store, flights = SqlStore(":memory:"), TopicDef("flights", schema={"id": "str"}, key="id", partitions=1)
    >>> append(store, "clients", flights, [{"id": "UA-1"}], at_us=0)
    (OffsetRange(topic='flights', partition=0, first=0, end=1),)
    >>> Log(store.database, topics).read(flights)["id"].to_list()
    ['UA-1']
    """

    def __init__(self, database: Any, reads: Reads) -> None:
        self._db = database
        self._reads = reads
        self._open: dict[tuple[str, int], Piece] = {}

    def heads(self, topic: str) -> dict[int, int]:
        """Partition → the offset that its next row gets: the pins of a reader who reads all there is now."""
        return self._reads.heads(self._db, topic)

    def read(
        self, topic: TopicDef, window: Window | None = None, *, pins: Pins | None = None, hidden: bool = False
    ) -> pl.DataFrame:
        """The rows with event time in the window, up to the pins, in (event time, key) order.

        Raw records that do not fit the schema are left out: they are dead letters of the streams that read them.
        """
        start_us, end_us = (None, None) if window is None else (window.start_us, window.end_us)
        blobs = self._reads.blobs_between(self._db, topic.name, start_us, end_us, ends=pins)
        rows = self._rows(topic, blobs, pins)
        if window is not None:
            rows = rows.filter(pl.col(TIME).is_between(window.start, window.end, closed="left"))
        return _ordered(topic, rows, hidden)

    def read_ranges(self, topic: TopicDef, wanted: Iterable[OffsetRange], *, hidden: bool = False) -> pl.DataFrame:
        """The rows at exactly these offsets, in (event time, key) order. Raises `DamagedError` for missing ones."""
        rows = self.rows_at(topic, [(part.partition, part.first, part.end) for part in wanted])
        return _ordered(topic, concat([self._empty(topic), rows.frame]), hidden)

    def read_known(
        self, topic: TopicDef, start_us: int | None, end_us: int | None, *, pins: Pins | None = None
    ) -> pl.DataFrame:
        """Rows that became known in [start, end) (None: open), up to the pins, hidden columns included, as appended."""
        blobs = self._reads.blobs_between(self._db, topic.name, start_us, end_us, by="known", ends=pins)
        rows = self._rows(topic, blobs, pins)
        known = pl.col(topic.known) if topic.known is not None else pl.col(APPENDED)
        if start_us is not None:
            rows = rows.filter(known >= pl.lit(start_us).cast(INSTANT))
        if end_us is not None:
            rows = rows.filter(known < pl.lit(end_us).cast(INSTANT))
        return rows

    def rows(self, topic: TopicDef, partition: int, first: int, end: int) -> Rows:
        """The rows at offsets [first, end), decoded together. Raises `DamagedError` (HR4041) where some are missing."""
        return self.rows_at(topic, [(partition, first, end)])

    def rows_at(self, topic: TopicDef, places: Iterable[tuple[int, int, int]], *, hidden: bool = True) -> Rows:
        """The rows at these (partition, first, end), in that order, decoded together. Raises as `rows`."""
        pieces = [piece for place in places for piece in self._cut(topic, *place)]
        return decode(topic, pieces, hidden=hidden) if pieces else Rows(self._empty(topic, hidden=hidden))

    def _cut(self, topic: TopicDef, partition: int, first: int, end: int) -> list[Piece]:
        pieces: list[Piece] = []
        at = first
        while at < end:
            for whole in self._pieces(topic, partition, at, end):
                if whole.first > at:
                    raise _missing(topic, partition, at, end)
                pieces.append(cut(whole, at, end))
                at = min(end, whole.first + len(whole.frame))
        return pieces

    def _pieces(self, topic: TopicDef, partition: int, at: int, end: int) -> list[Piece]:
        """The blobs from offset `at` on. One that reaches over `end` is kept, since the next batch goes on in it."""
        kept = self._open.pop((topic.name, partition), None)
        if kept is not None and kept.first <= at < kept.first + len(kept.frame):
            found = [kept]
        else:
            filled = self._reads.filled(self._db, topic.name, partition, at, end, limit=_TOGETHER)
            found = [piece_of(topic, blob, body) for blob, body in filled]
        if not found:
            raise _missing(topic, partition, at, end)
        if found[-1].first + len(found[-1].frame) > end:
            self._open[topic.name, partition] = found[-1]
        while len(self._open) > _OPEN_BLOBS:
            del self._open[next(iter(self._open))]
        return found

    def first_appended(self, topic: TopicDef, partition: int, since_us: int, head: int) -> int:
        """The offset of the first row that was appended at or after that time; `head` where there is none."""
        found = self._first_blob(topic, partition, head, lambda blob: blob.at_us >= since_us)
        return head if found is None else found.first

    def first_at(self, topic: TopicDef, partition: int, time_us: int, head: int) -> int:
        """The offset of the first record with event time at or after `time_us`; `head` where there is none.

        A raw record that is no row counts by the time that it names.
        """

        def may_hold(blob: Any) -> bool:
            return blob.max_time_us is not None and blob.max_time_us >= time_us

        at = 0
        while (found := self._first_blob(topic, partition, head, may_hold, at)) is not None:
            at = found.first + found.rows
            first = self._first_late(topic, partition, found.first, at, time_us)
            if first is not None:
                return first
        return head

    def _first_late(self, topic: TopicDef, partition: int, first: int, end: int, time_us: int) -> int | None:
        rows = self.rows(topic, partition, first, end)
        offsets: list[int] = rows.frame.filter(pl.col(TIME) >= pl.lit(time_us).cast(INSTANT))[OFFSET].to_list()[:1]
        if rows.misfits:
            times = payloads.heads(topic, [bad.payload.encode() for bad in rows.misfits]).time
            is_late = [True] * len(rows.misfits) if times is None else (times.to_physical() >= time_us).to_list()
            offsets += [bad.offset for bad, late in zip(rows.misfits, is_late, strict=True) if late]
        return min(offsets, default=None)

    def _first_blob(
        self, topic: TopicDef, partition: int, head: int, is_it: Callable[[Any], bool], at: int = 0
    ) -> Any | None:
        while at < head:
            page = self._reads.blobs(self._db, topic.name, partition, at, head)
            found = next((blob for blob in page if is_it(blob)), None)
            if found is not None or not page:
                return found
            at = page[-1].first + page[-1].rows
        return None

    def _empty(self, topic: TopicDef, *, hidden: bool = True) -> pl.DataFrame:
        """No rows, with the columns that the topic was declared with or has taken."""
        if topic.schema is None and (words := self._reads.columns(self._db, topic.name)):
            typed = {name: word for name, word in words.items() if word != UNTYPED}
            topic = msgspec.structs.replace(topic, schema=typed)
        return empty(topic, hidden=hidden)

    def _rows(self, topic: TopicDef, blobs: Sequence[Any], pins: Pins | None) -> pl.DataFrame:
        parts = [self._empty(topic)]
        for start in range(0, len(blobs), _TOGETHER):
            some = blobs[start : start + _TOGETHER]
            pieces: list[Piece] = []
            for blob, body in zip(some, self._reads.bodies(self._db, some), strict=True):
                whole = piece_of(topic, blob, body)
                pieces.append(whole if pins is None else cut(whole, blob.first, pins.get(blob.partition, 0)))
            parts.append(decode(topic, pieces).frame)
        return concat(parts)


def read_source(
    log: Log,
    source: SourceDef,
    topics: Mapping[str, TopicDef],
    window: Window | None = None,
    *,
    pins: Mapping[str, Pins] | None = None,
) -> pl.DataFrame:
    """The source's rows in the window with their as-of joins, as the live join gives them.

    `topics` holds the source's topic and every joined one (`history_topic` of a table), `pins` the same names; a topic
    without pins is read to its end.
    """
    chosen = pins or {}
    rows = log.read(topics[source.topic], window, pins=chosen.get(source.topic))
    for join in source.joins:
        oldest, newest = bounds(rows[join.as_of]) if join.as_of in rows.columns else (None, None)
        span = span_us(join)
        start_us = None if span is None or oldest is None else oldest - span
        end_us = None if newest is None else newest + 1
        history = log.read_known(topics[join.topic], start_us, end_us, pins=chosen.get(join.topic))
        ordered = sort_history(history, join, (PARTITION, OFFSET))
        rows = join_asof(rows, ordered.drop(HIDDEN), join)
    return rows


def _missing(topic: TopicDef, partition: int, at: int, end: int) -> DamagedError:
    return DamagedError(
        f"expected rows up to offset {end}, found them up to {at}",
        where=f"topic {topic.name}/{partition}",
        cure="the reader names offsets that were never appended, or the store is another one",
        code="HR4041",
    )


def _ordered(topic: TopicDef, rows: pl.DataFrame, hidden: bool) -> pl.DataFrame:
    by = [TIME] if topic.key is None else [TIME, topic.key]
    ordered = rows.sort(*by, PARTITION, OFFSET) if len(rows) else rows
    return ordered if hidden else ordered.drop(HIDDEN)
