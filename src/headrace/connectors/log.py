"""The embedded log: topics as blobs in the store, one lz4 Arrow IPC stream per partition and append.

A blob's bytes are the xxh3 of what follows (8 bytes, big-endian) and an Arrow IPC stream: the topic's columns, or for
raw JSON the one column `payload`. Hidden columns say where a row lies: `_partition`, `_offset`, `_time`, `_appended`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Protocol, cast

import msgspec
import numpy as np
import polars as pl
import xxhash

from headrace.base.facts import Fact
from headrace.connectors import payloads
from headrace.connectors.fitting import INSTANT, TAKEN_NAMES, UNTYPED, fit
from headrace.connectors.shapes import Shapes
from headrace.data.events import OffsetRange
from headrace.data.facts import TopicAppended, TopicShaped
from headrace.data.schema import polars as polars_schema
from headrace.data.window import Window
from headrace.definitions.project import SourceDef, TableDef, TopicDef
from headrace.errors import SchemaError, StoreError
from headrace.ports import Append, Store
from headrace.streams.join import join_asof, sort_history, span_us

HIDDEN = PARTITION, OFFSET, TIME, APPENDED = TAKEN_NAMES
PAYLOAD = "payload"
_DIGEST_BYTES = 8
_OPEN_BLOBS = 8
BLOB_ROWS = 65_536
"""The most rows of one blob: a reader always holds a whole one."""
_hash = xxhash.xxh3_64_intdigest

Pins = Mapping[int, int]
"""Partition → the offset at which a read ends. A partition without a pin has no rows for this reader."""


class Blob(Protocol):
    """A row of the store that stands for the rows at offsets [first, first + rows) of a partition."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def first(self) -> int: ...
    @property
    def rows(self) -> int: ...
    @property
    def encoding(self) -> str: ...
    @property
    def at_us(self) -> int: ...


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
    def bodies(self, db: Any, blobs: Sequence[Any], /) -> list[bytes]: ...
    def columns(self, db: Any, topic: str, /) -> dict[str, str] | None: ...


class Misfit(NamedTuple):
    """A raw record that does not decode: where it lies, why, and its text."""

    partition: int
    offset: int
    error: str
    payload: str


class Chunk(NamedTuple):
    """Rows of one partition at offsets [first, end), hidden columns included, and the raw records that are no rows."""

    first: int
    end: int
    rows: pl.DataFrame
    misfits: tuple[Misfit, ...]


# -- writing ----------------------------------------------------------------------------------------------------------


def prepare(
    topic: TopicDef, rows: pl.DataFrame | list[dict[str, Any]], at_us: int
) -> list[tuple[TopicAppended, bytes]]:
    """The facts and bytes that append these rows, by partition; the store gives out the offsets.

    Rows keep their order within a partition. Without a key an append goes to one partition, another one each time.
    Raises `SchemaError` that names the first row and column that do not fit; nothing is appended then.
    """
    frame = fit(topic, rows)
    if frame.is_empty():
        return []
    keys = None if topic.key is None else frame[topic.key]
    return [
        _packed(topic, number, part, "arrow", _column(part, topic.event_time), _column(part, topic.known), at_us)
        for number, part in _parted(topic, frame, keys, at_us)
    ]


def prepare_json(topic: TopicDef, lines: list[bytes], at_us: int) -> list[tuple[TopicAppended, bytes]]:
    """The same for raw JSON records, kept as they came.

    Only key and times are looked at now; a record that does not fit the schema is found by who reads it.
    """
    if not lines:
        return []
    keys, times = payloads.instants(topic, lines)
    frame = pl.DataFrame({PAYLOAD: lines}, schema={PAYLOAD: pl.Binary}).hstack(times)
    texts = None
    if topic.key is not None:
        # A record without a key still has a place: that of its bytes.
        texts = keys.cast(pl.Binary).fill_null(frame[PAYLOAD]) if keys.null_count() else keys
    parts = _parted(topic, frame, texts, at_us)
    return [
        _packed(topic, number, part.get_column(PAYLOAD).to_frame(), "json", part["time"], part["known"], at_us)
        for number, part in parts
    ]


def appends(
    log: str,
    prepared: Iterable[tuple[TopicAppended, bytes]],
    shape: TopicShaped | None = None,
    *,
    expected_seq: int | None = None,
) -> Append:
    """The `Append` that commits what `prepare` made, and the columns where they are new; by default to a log with
    many writers."""
    pairs = list(prepared)
    facts = (*(fact for fact, _ in pairs), *(() if shape is None else (shape,)))
    return Append(log, expected_seq, facts, {at: body for at, (_, body) in enumerate(pairs)})


def append(
    store: Store, log: str, topic: TopicDef, rows: pl.DataFrame | list[dict[str, Any]], at_us: int
) -> tuple[OffsetRange, ...]:
    """Append now, durably, as a client among others. Returns where the rows lie."""
    while True:
        seen = None if topic.schema is not None else store.topic_columns(topic.name)
        shaped = Shapes(lambda _, known=seen: known).shape(topic, rows, at_us)
        prepared = prepare(shaped.topic, shaped.rows, at_us)
        if not prepared:
            return ()
        try:
            return ranges(store.commit([appends(log, prepared, shaped.fact)]).facts[log])
        except StoreError:
            if shaped.fact is None or store.topic_columns(topic.name) == seen:
                raise
            # Another writer gave the topic its columns meanwhile: these rows have to fit them.


def ranges(facts: Iterable[Fact]) -> tuple[OffsetRange, ...]:
    """Where the rows of stored `TopicAppended` facts lie; neighbours are one range."""
    found: list[OffsetRange] = []
    for fact in facts:
        if not isinstance(fact, TopicAppended):
            continue
        first, end = fact.first, fact.first + fact.rows
        if found and (found[-1].topic, found[-1].partition, found[-1].end) == (fact.topic, fact.partition, first):
            first = found.pop().first
        found.append(OffsetRange(fact.topic, fact.partition, first, end))
    return tuple(found)


def partitions(keys: pl.Series, n: int) -> pl.Series:
    """The partition of each key: xxh3 of its text as UTF-8, modulo `n`.

    >>> partitions(pl.Series(["EWR", "JFK", "LGA"]), 4).to_list()
    [2, 3, 2]
    """
    texts = keys if keys.dtype == pl.Binary else keys.cast(pl.String).cast(pl.Binary)
    return pl.Series([_hash(text) % n for text in texts.to_list()], dtype=pl.Int32)


def history_topic(table: TableDef) -> TopicDef:
    """The topic in which a table with `known` keeps its history."""
    return TopicDef(name=table.name, schema=table.schema, key=table.key, event_time=table.known, known=table.known)


def _parted(topic: TopicDef, frame: pl.DataFrame, keys: pl.Series | None, at_us: int) -> list[tuple[int, pl.DataFrame]]:
    """The rows by partition, in pieces that a reader can hold in memory."""
    return [
        (number, piece)
        for number, part in _by_partition(topic, frame, keys, at_us)
        for piece in ([part] if len(part) <= BLOB_ROWS else part.iter_slices(BLOB_ROWS))
    ]


def _by_partition(
    topic: TopicDef, frame: pl.DataFrame, keys: pl.Series | None, at_us: int
) -> list[tuple[int, pl.DataFrame]]:
    if topic.partitions == 1:
        return [(0, frame)]
    if keys is None:
        return [(_hash(b"%d" % at_us) % topic.partitions, frame)]
    numbers = partitions(keys, topic.partitions).to_numpy()
    # One gather and slices of it: a query per partition takes six times as long for a few rows.
    order = np.argsort(numbers.astype(np.min_scalar_type(topic.partitions)), kind="stable")
    rows = frame[order]
    ends = np.cumsum(np.bincount(numbers, minlength=topic.partitions)).tolist()
    spans = enumerate(pairwise((0, *ends)))
    return [(number, rows.slice(start, end - start)) for number, (start, end) in spans if end > start]


def _packed(
    topic: TopicDef,
    partition: int,
    frame: pl.DataFrame,
    encoding: str,
    time: pl.Series | None,
    known: pl.Series | None,
    at_us: int,
) -> tuple[TopicAppended, bytes]:
    body = pack(frame)
    min_time_us, max_time_us = (at_us, at_us) if topic.event_time is None else _bounds(time)
    min_known_us, max_known_us = (at_us, at_us) if topic.known is None else _bounds(known)
    fact = TopicAppended(
        topic=topic.name,
        partition=partition,
        rows=len(frame),
        at_us=at_us,
        encoding=encoding,
        min_time_us=min_time_us,
        max_time_us=max_time_us,
        min_known_us=min_known_us,
        max_known_us=max_known_us,
        size_bytes=len(body),
    )
    return fact, body


def _column(frame: pl.DataFrame, name: str | None) -> pl.Series | None:
    return None if name is None else frame[name]


def _bounds(times: pl.Series | None) -> tuple[int | None, int | None]:
    """Least and greatest instant; None where there is none at all."""
    if times is None or times.null_count() == len(times):
        return None, None
    us = times.cast(pl.Int64)
    return cast("int", us.min()), cast("int", us.max())


def pack(frame: pl.DataFrame) -> bytes:
    """The bytes of a blob."""
    buffer = io.BytesIO(b"\0" * _DIGEST_BYTES)
    buffer.seek(_DIGEST_BYTES)
    frame.write_ipc_stream(buffer, compression="lz4")
    with buffer.getbuffer() as body:
        body[:_DIGEST_BYTES] = _hash(body[_DIGEST_BYTES:]).to_bytes(_DIGEST_BYTES, "big")
    return buffer.getvalue()


def unpack(body: bytes, where: str) -> pl.DataFrame:
    """The frame of a blob. Raises `StoreError` (HR4040) where its checksum does not match."""
    with memoryview(body) as whole:
        content = whole[_DIGEST_BYTES:]
        if _hash(content) != int.from_bytes(whole[:_DIGEST_BYTES], "big"):
            raise StoreError(
                f"the checksum of {len(body)} bytes of rows does not match what was appended",
                where=where,
                cure="the database file is damaged: restore it from a copy",
                code="HR4040",
            )
        return pl.read_ipc_stream(io.BytesIO(content))


# -- reading ----------------------------------------------------------------------------------------------------------


class Log:
    """The topics of one store, for readers. `reads` asks its `database` for blobs.

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
        self._open: dict[int, pl.DataFrame] = {}

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
        """The rows at exactly these offsets, in (event time, key) order. Raises `StoreError` for missing ones."""
        parts: list[pl.DataFrame] = [self._empty(topic)]
        for part in wanted:
            for chunk in self.chunks(topic, part.partition, part.first, part.end):
                parts.append(chunk.rows)
        return _ordered(topic, _concat(parts), hidden)

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

    def chunks(
        self, topic: TopicDef, partition: int, first: int, end: int | None = None, *, rows: int | None = None
    ) -> list[Chunk]:
        """The rows at offsets [first, end), blob by blob; with `rows` about so many, at least one blob.

        Raises `StoreError` (HR4041) where offsets before `end` are missing.
        """
        found: list[Chunk] = []
        at = first
        while (end is None or at < end) and (rows is None or at - first < rows):
            limit = 64 if rows is None else max(1, min(64, rows // 64 + 8))
            blobs = self._reads.blobs(self._db, topic.name, partition, at, end, limit=limit)
            blobs = _enough(blobs, at, None if rows is None else first + rows)
            if not blobs:
                break
            for blob, frame in zip(blobs, self._frames(topic, blobs, end), strict=True):
                found.append(rows_of(topic, blob, frame, at, end))
                at = found[-1].end
        if end is not None and rows is None and at < end:
            raise StoreError(
                f"expected rows up to offset {end}, found them up to {at}",
                where=f"topic {topic.name}/{partition}",
                cure="the reader names offsets that were never appended, or the store is another one",
                code="HR4041",
            )
        return found

    def _frames(self, topic: TopicDef, blobs: Sequence[Any], end: int | None) -> list[pl.DataFrame]:
        """The frames of the blobs. One that reaches over `end` is kept, since the next batch goes on in it."""
        missing = [blob for blob in blobs if blob.body_id not in self._open]
        bodies = self._reads.bodies(self._db, missing)
        fresh = {blob.body_id: unpack(body, _where(topic, blob)) for blob, body in zip(missing, bodies, strict=True)}
        frames = [fresh[blob.body_id] if blob.body_id in fresh else self._open[blob.body_id] for blob in blobs]
        for blob, frame in zip(blobs, frames, strict=True):
            self._open.pop(blob.body_id, None)
            if end is not None and end < blob.first + blob.rows:
                self._open[blob.body_id] = frame
        while len(self._open) > _OPEN_BLOBS:
            del self._open[next(iter(self._open))]
        return frames

    def first_appended(self, topic: TopicDef, partition: int, since_us: int, head: int) -> int:
        """The offset of the first row that was appended at or after that time; `head` where there is none."""
        found = self._first_blob(topic, partition, head, lambda blob: blob.at_us >= since_us)
        return head if found is None else found.first

    def first_at(self, topic: TopicDef, partition: int, time_us: int, head: int) -> int:
        """The offset of the first row with event time at or after `time_us`; `head` where there is none."""

        def may_hold(blob: Any) -> bool:
            return blob.max_time_us is not None and blob.max_time_us >= time_us

        found = self._first_blob(topic, partition, head, may_hold)
        if found is None:
            return head
        (chunk,) = self.chunks(topic, partition, found.first, found.first + found.rows)
        late = chunk.rows.filter(pl.col(TIME) >= pl.lit(time_us).cast(INSTANT))
        return head if late.is_empty() else int(late[OFFSET][0])

    def _first_blob(self, topic: TopicDef, partition: int, head: int, is_it: Callable[[Any], bool]) -> Any | None:
        at = 0
        while at < head:
            page = self._reads.blobs(self._db, topic.name, partition, at, head)
            found = next((blob for blob in page if is_it(blob)), None)
            if found is not None or not page:
                return found
            at = page[-1].first + page[-1].rows
        return None

    def _empty(self, topic: TopicDef) -> pl.DataFrame:
        """No rows, with the columns that the topic was declared with or has taken."""
        if topic.schema is None and (words := self._reads.columns(self._db, topic.name)):
            typed = {name: word for name, word in words.items() if word != UNTYPED}
            topic = msgspec.structs.replace(topic, schema=typed)
        return empty(topic)

    def _rows(self, topic: TopicDef, blobs: Sequence[Any], pins: Pins | None) -> pl.DataFrame:
        parts = [self._empty(topic)]
        for start in range(0, len(blobs), 64):
            some = blobs[start : start + 64]
            for blob, body in zip(some, self._reads.bodies(self._db, some), strict=True):
                end = None if pins is None else pins.get(blob.partition, 0)
                parts.append(decode(topic, blob, body, blob.first, end).rows)
        return _concat(parts)


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
        oldest, newest = _bounds(rows[join.as_of]) if join.as_of in rows.columns else (None, None)
        span = span_us(join)
        start_us = None if span is None or oldest is None else oldest - span
        end_us = None if newest is None else newest + 1
        history = log.read_known(topics[join.topic], start_us, end_us, pins=chosen.get(join.topic))
        ordered = sort_history(history, join, (PARTITION, OFFSET))
        rows = join_asof(rows, ordered.drop(HIDDEN), join)
    return rows


def decode(topic: TopicDef, blob: Blob, body: bytes, first: int | None = None, end: int | None = None) -> Chunk:
    """The rows of a blob at offsets from `first` to before `end`. Raises `StoreError` where its checksum is wrong."""
    return rows_of(topic, blob, unpack(body, _where(topic, blob)), first, end)


def rows_of(
    topic: TopicDef, blob: Blob, frame: pl.DataFrame, first: int | None = None, end: int | None = None
) -> Chunk:
    """The same of a blob that is unpacked already."""
    start = blob.first if first is None else max(first, blob.first)
    stop = blob.first + blob.rows if end is None else min(end, blob.first + blob.rows)
    if start > blob.first or stop < blob.first + blob.rows:
        frame = frame.slice(start - blob.first, max(0, stop - start))
    if blob.encoding == "json":
        return _decode_json(topic, blob, frame, start, max(start, stop))
    offsets = pl.Series(np.arange(start, start + len(frame), dtype=np.int64))
    return Chunk(start, max(start, stop), _placed(topic, _aligned(topic, frame, blob), blob, offsets), ())


def empty(topic: TopicDef) -> pl.DataFrame:
    """No rows, with the topic's columns and the hidden ones."""
    return pl.DataFrame(schema={**polars_schema(topic.schema or {}), **_HIDDEN_TYPES})


def _decode_json(topic: TopicDef, blob: Blob, frame: pl.DataFrame, start: int, stop: int) -> Chunk:
    lines: list[bytes] = frame[PAYLOAD].to_list()
    rows, kept, bad = payloads.decode(topic, lines)
    offsets = pl.Series(kept, dtype=pl.Int64) + start
    misfits = tuple(
        Misfit(blob.partition, start + row, error, lines[row].decode("utf-8", "replace")) for row, error in bad
    )
    return Chunk(start, stop, _placed(topic, rows, blob, offsets), misfits)


def _placed(topic: TopicDef, frame: pl.DataFrame, blob: Blob, offsets: pl.Series) -> pl.DataFrame:
    n = len(frame)
    appended = pl.Series(APPENDED, [blob.at_us], dtype=INSTANT).new_from_index(0, n)
    time = appended if topic.event_time is None else frame[topic.event_time]
    number = pl.Series(PARTITION, [blob.partition], dtype=pl.Int32).new_from_index(0, n)
    return frame.hstack([number, offsets.alias(OFFSET), time.alias(TIME), appended])


def _aligned(topic: TopicDef, frame: pl.DataFrame, blob: Blob) -> pl.DataFrame:
    """Rows that were appended under an older schema: new columns are null, dropped ones are gone."""
    if topic.schema is None:
        return frame
    wanted = polars_schema(topic.schema)
    if frame.schema == wanted:
        return frame
    columns: list[pl.Series] = []
    for name, dtype in wanted.items():
        if name not in frame.columns:
            columns.append(pl.Series(name, [None], dtype=dtype).new_from_index(0, len(frame)))
            continue
        try:
            columns.append(frame[name].cast(dtype))
        except pl.exceptions.PolarsError as error:
            raise SchemaError(
                f"column {name!r} was appended as {frame.schema[name]} and is declared as {dtype}: {error}",
                where=_where(topic, blob),
                cure="declare the type that the rows have, or a topic of another name",
                code="HR1212",
            ) from error
    return pl.DataFrame(columns)


def _where(topic: TopicDef, blob: Blob) -> str:
    return f"topic {topic.name}/{blob.partition} at {blob.first}"


def _concat(parts: list[pl.DataFrame]) -> pl.DataFrame:
    filled = [part for part in parts if len(part)] or parts[:1]
    if all(part.schema == filled[0].schema for part in filled):
        return pl.concat(filled, rechunk=len(filled) > 1)
    return pl.concat(filled, how="diagonal_relaxed", rechunk=True)  # a topic without schema may gain columns


def _ordered(topic: TopicDef, rows: pl.DataFrame, hidden: bool) -> pl.DataFrame:
    by = [TIME] if topic.key is None else [TIME, topic.key]
    ordered = rows.sort(*by, PARTITION, OFFSET) if len(rows) else rows
    return ordered if hidden else ordered.drop(HIDDEN)


def _enough(blobs: Sequence[Any], first: int, end: int | None) -> Sequence[Any]:
    """As many blobs as it takes to reach `end`."""
    if end is None:
        return blobs
    return [blob for blob in blobs if blob.first < end or blob.first <= first]


_HIDDEN_TYPES = {PARTITION: pl.Int32(), OFFSET: pl.Int64(), TIME: INSTANT, APPENDED: INSTANT}
