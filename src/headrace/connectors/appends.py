"""What an append is made of: rows or raw records as facts and blobs by partition, and their commit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import xxhash
from numpy.typing import NDArray

from headrace.base.facts import Fact
from headrace.connectors import payloads
from headrace.connectors.blob import PAYLOAD, SMALL_ROWS, bounds, pack
from headrace.connectors.fitting import fit
from headrace.connectors.shapes import Shapes
from headrace.data.events import OffsetRange
from headrace.data.facts import AHEAD_US, TopicAppended, TopicShaped, is_ahead
from headrace.definitions.project import TableDef, TopicDef
from headrace.errors import ConflictError
from headrace.ports import Append, Store

BLOB_ROWS = 65_536
"""The most rows of one blob: a reader always holds a whole one."""
SHAPED_TIMES = 8
"""How often an append may come second to others that give the topic its columns."""
_hash = xxhash.xxh3_64_intdigest

Numbers = NDArray[np.unsignedinteger[Any]]
Order = NDArray[np.intp]


def prepare(
    topic: TopicDef, rows: pl.DataFrame | list[dict[str, Any]], at_us: int
) -> list[tuple[TopicAppended, bytes]]:
    """The facts and bytes that append these rows, by partition; the store gives out the offsets.

    Rows keep their order within a partition. Without a key an append goes to one partition, another one each time.
    Raises `SchemaError` that names the first row and column that do not fit; nothing is appended then.
    """
    return prepare_fitted(topic, fit(topic, rows), [len(rows)], at_us)[0]


def prepare_fitted(
    topic: TopicDef, frame: pl.DataFrame, sizes: Sequence[int], at_us: int
) -> list[list[tuple[TopicAppended, bytes]]]:
    """The same for rows that fit already, as `Shapes.shape` gives them, and are several appends, each of so many."""
    numbers = None
    if topic.key is not None and topic.partitions > 1 and len(frame):
        numbers = _numbers(frame[topic.key], topic.partitions)
    found: list[list[tuple[TopicAppended, bytes]]] = []
    start = 0
    for size in sizes:
        part = frame if size == len(frame) else frame.slice(start, size)
        own = None if numbers is None else numbers[start : start + size]
        order, spans = _spans(topic, size, own, at_us)
        if order is not None:
            part = part[order]
        pieces = [
            (number, part.slice(first, end - first) if end - first < size else part) for number, first, end in spans
        ]
        found.append(
            [
                _packed(
                    topic, number, piece, "arrow", _column(piece, topic.event_time), _column(piece, topic.known), at_us
                )
                for number, piece in pieces
            ]
        )
        start += size
    return found


def prepare_json(topic: TopicDef, lines: list[bytes], at_us: int) -> list[tuple[TopicAppended, bytes]]:
    """The same for raw JSON records, kept as they came.

    Only key and times are looked at now; a record that does not fit the schema is found by who reads it.
    """
    if not lines:
        return []
    keys, time, known = payloads.heads(topic, lines)
    numbers = None
    if keys is not None and topic.partitions > 1:
        if keys.null_count():  # a record without a key still has a place: that of its bytes
            keys = keys.cast(pl.Binary).fill_null(pl.Series(lines, dtype=pl.Binary))
        numbers = _numbers(keys, topic.partitions)
    order, spans = _spans(topic, len(lines), numbers, at_us)
    if order is not None:
        time, known = (None if times is None else times.gather(order) for times in (time, known))
    payload = _payload(lines, order)
    return [
        _packed(
            topic, number, payload.slice(first, end - first), "json",
            _part(time, first, end), _part(known, first, end), at_us,
        )
        for number, first, end in spans
    ]  # fmt: skip


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
    """Append now, durably, as a client among others. Returns where the rows lie.

    Raises `StoreError`. Only after a `ConflictError` is it certain that nothing was appended.
    """
    for _ in range(SHAPED_TIMES - 1):
        try:
            return _append(store, log, topic, rows, at_us)
        except ConflictError:
            # Nothing was written: another writer gave the topic its columns meanwhile, and these rows have to fit them.
            continue
    return _append(store, log, topic, rows, at_us)


def _append(
    store: Store, log: str, topic: TopicDef, rows: pl.DataFrame | list[dict[str, Any]], at_us: int
) -> tuple[OffsetRange, ...]:
    shaped = Shapes(store.topic_columns).shape(topic, rows, at_us)
    (prepared,) = prepare_fitted(shaped.topic, shaped.rows, [len(rows)], at_us)
    if not prepared:
        return ()
    return ranges(store.commit([appends(log, prepared, shaped.fact)]).facts[log])


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
    return pl.Series(_numbers(keys, n))


def history_topic(table: TableDef) -> TopicDef:
    """The topic in which a table with `known` keeps its history."""
    return TopicDef(name=table.name, schema=table.schema, key=table.key, event_time=table.known, known=table.known)


def _spans(
    topic: TopicDef, rows: int, numbers: Numbers | None, at_us: int
) -> tuple[Order | None, list[tuple[int, int, int]]]:
    """How so many rows lie in partitions: their order (None: as they are), and (partition, first, end) in that order.

    `numbers` is the partition of each row, None where all go to one. A span is no more than a reader can hold in memory.
    """
    order = None
    if numbers is None:
        spans = [(0 if topic.partitions == 1 else _hash(b"%d" % at_us) % topic.partitions, 0, rows)]
    elif (numbers == numbers[:1]).all():
        spans = [(int(number), 0, rows) for number in numbers[:1]]
    else:
        order = np.argsort(numbers, kind="stable")
        ends = np.cumsum(np.bincount(numbers)).tolist()
        spans = [(number, first, end) for number, (first, end) in enumerate(pairwise((0, *ends)))]
    return order, [
        (number, at, min(at + BLOB_ROWS, end)) for number, first, end in spans for at in range(first, end, BLOB_ROWS)
    ]


def _settled(time: pl.Series | None, newest_us: int | None, at_us: int) -> int | None:
    """The newest event time that does not lie ahead of the clock, where another one does."""
    if time is None or newest_us is None or not is_ahead(newest_us, at_us):
        return None
    us = time.cast(pl.Int64)
    return bounds(us.filter(us <= at_us + AHEAD_US))[1]


def _payload(lines: list[bytes], order: Order | None) -> pl.DataFrame:
    if order is not None and len(lines) <= SMALL_ROWS:
        lines, order = [lines[at] for at in order.tolist()], None
    payload = pl.Series(PAYLOAD, lines, dtype=pl.Binary).to_frame()
    return payload if order is None else payload[order]


def _numbers(keys: pl.Series, n: int) -> Numbers:
    texts = keys if keys.dtype == pl.Binary else keys.cast(pl.String).cast(pl.Binary)
    hashes = np.fromiter(map(_hash, texts.to_list()), np.uint64, len(texts))
    return (hashes % np.uint64(n)).astype(np.min_scalar_type(n))


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
    min_time_us, max_time_us = (at_us, at_us) if topic.event_time is None else bounds(time)
    min_known_us, max_known_us = (at_us, at_us) if topic.known is None else bounds(known)
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
        partitions=topic.partitions,
        settled_us=_settled(time, max_time_us, at_us),
    )
    return fact, body


def _column(frame: pl.DataFrame, name: str | None) -> pl.Series | None:
    return None if name is None else frame[name]


def _part(column: pl.Series | None, first: int, end: int) -> pl.Series | None:
    return None if column is None else column.slice(first, end - first)
