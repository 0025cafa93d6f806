"""The format of the log's blobs: rows to bytes, and any number of blobs back to one frame.

A blob's bytes are the xxh3 of what follows (8 bytes, big-endian) and an Arrow IPC stream: the topic's columns, or for
raw JSON the one column `payload`. Hidden columns say where a row lies: `_partition`, `_offset`, `_time`, `_appended`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple, Protocol, cast

import numpy as np
import polars as pl
import xxhash

from headrace.connectors import payloads
from headrace.connectors.fitting import INSTANT, TAKEN_NAMES, first_lost, value_at
from headrace.connectors.fitting import cast as fitted
from headrace.data.schema import polars as polars_schema
from headrace.definitions.project import TopicDef
from headrace.errors import DamagedError, SchemaError

HIDDEN = PARTITION, OFFSET, TIME, APPENDED = TAKEN_NAMES
PAYLOAD = "payload"
PLAIN_BYTES = 4096
"""Frames below this size are not compressed: it costs more time than it saves room."""
SMALL_ROWS = 2_048
"""Up to here rows are put together faster by hand than by Polars, which hands them to its threads and waits."""
_DIGEST_BYTES = 8
_SLICE = 4_096
_hash = xxhash.xxh3_64_intdigest


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


class Misfit(NamedTuple):
    """A raw record that does not decode: where it lies, why, and its text."""

    partition: int
    offset: int
    error: str
    payload: str


class Piece(NamedTuple):
    """What a reader wants of an unpacked blob: `frame` holds the rows from offset `first` on."""

    blob: Blob
    frame: pl.DataFrame
    first: int


class Rows(NamedTuple):
    """Rows, and the raw records that are none."""

    frame: pl.DataFrame
    misfits: tuple[Misfit, ...] = ()


def pack(frame: pl.DataFrame) -> bytes:
    """The bytes of a blob."""
    buffer = io.BytesIO(b"\0" * _DIGEST_BYTES)
    buffer.seek(_DIGEST_BYTES)
    frame.write_ipc_stream(buffer, compression="uncompressed" if frame.estimated_size() < PLAIN_BYTES else "lz4")
    with buffer.getbuffer() as body:
        body[:_DIGEST_BYTES] = _hash(body[_DIGEST_BYTES:]).to_bytes(_DIGEST_BYTES, "big")
    return buffer.getvalue()


def unpack(body: bytes, where: str) -> pl.DataFrame:
    """The frame of a blob. Raises `DamagedError` where its checksum does not match."""
    with memoryview(body) as whole:
        content = whole[_DIGEST_BYTES:]
        if _hash(content) != int.from_bytes(whole[:_DIGEST_BYTES], "big"):
            raise DamagedError(
                f"the checksum of {len(body)} bytes of rows does not match what was appended",
                where=where,
                cure="the database file is damaged: restore it from a copy",
            )
        return pl.read_ipc_stream(bytes(content))  # what is no file is read at once


def piece(topic: TopicDef, blob: Blob, body: bytes) -> Piece:
    """A whole blob. Raises `DamagedError` where its checksum is wrong."""
    return Piece(blob, unpack(body, f"topic {topic.name}/{blob.partition} at {blob.first}"), blob.first)


def cut(whole: Piece, first: int, end: int) -> Piece:
    """The part of it at offsets [first, end)."""
    start, stop = max(first, whole.first), min(end, whole.first + len(whole.frame))
    if start == whole.first and stop == whole.first + len(whole.frame):
        return whole
    return Piece(whole.blob, whole.frame.slice(start - whole.first, max(0, stop - start)), start)


def decode(topic: TopicDef, pieces: Sequence[Piece], *, hidden: bool = True) -> Rows:
    """The rows of the pieces in their order, decoded together. Raises `SchemaError` where one does not fit the topic.

    Without `hidden` columns they say no longer where they lie: the caller knows what it has asked for.
    """
    if all(piece.blob.encoding != "json" for piece in pieces):
        return _decode_typed(topic, pieces, hidden)
    parts = [
        (_decode_json if run[0].blob.encoding == "json" else _decode_typed)(topic, run, hidden)
        for run in _slices(pieces)
    ]
    misfits = tuple(misfit for part in parts for misfit in part.misfits)
    return Rows(concat([part.frame for part in parts]), misfits)


def concat(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The rows of all, in one piece of memory. A topic without schema may have gained columns."""
    filled = [part for part in parts if len(part)] or parts[:1]
    if len(filled) == 1:
        return filled[0]
    try:
        return _stacked(filled)
    except _UNLIKE:
        return pl.concat(filled, how="diagonal_relaxed", rechunk=True)


def _stacked(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Frames of the same columns as one, in one piece of memory. Raises one of `_UNLIKE` for others."""
    if sum(map(len, frames)) > SMALL_ROWS:
        return pl.concat(frames, rechunk=True)
    whole = frames[0].clone()
    for frame in frames[1:]:
        whole.extend(frame)
    return whole


def empty(topic: TopicDef, *, hidden: bool = True) -> pl.DataFrame:
    """No rows, with the topic's columns and the hidden ones."""
    return pl.DataFrame(schema={**polars_schema(topic.schema or {}), **(_HIDDEN_TYPES if hidden else {})})


def bounds(times: pl.Series | None) -> tuple[int | None, int | None]:
    """Least and greatest instant; None where there is none at all."""
    if times is None or times.null_count() == len(times):
        return None, None
    us = times.cast(pl.Int64)
    return cast("int", us.min()), cast("int", us.max())


def _slices(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Neighbours of one encoding, about `_SLICE` rows at a time: more decoded records do not fit the processor's cache."""
    run: list[Piece] = []
    rows = 0
    for whole in pieces:
        for at in range(0, max(1, len(whole.frame)), _SLICE):
            part = cut(whole, whole.first + at, whole.first + at + _SLICE)
            if run and (rows + len(part.frame) > _SLICE or run[0].blob.encoding != part.blob.encoding):
                yield run
                run, rows = [], 0
            run.append(part)
            rows += len(part.frame)
    if run:
        yield run


def _decode_json(topic: TopicDef, pieces: Sequence[Piece], hidden: bool) -> Rows:
    lines: list[bytes] = [line for piece in pieces for line in piece.frame[PAYLOAD].to_list()]
    decoded, kept, bad = payloads.decode(topic, lines)
    if not bad:
        return Rows(_placed(topic, decoded, pieces) if hidden else decoded)
    places = [(piece.blob.partition, piece.first + at) for piece in pieces for at in range(len(piece.frame))]
    misfits = tuple(Misfit(*places[row], error, lines[row].decode("utf-8", "replace")) for row, error in bad)
    return Rows(_placed(topic, decoded, pieces, kept) if hidden else decoded, misfits)


def _decode_typed(topic: TopicDef, pieces: Sequence[Piece], hidden: bool) -> Rows:
    frame = _typed(topic, pieces)
    return Rows(_placed(topic, frame, pieces) if hidden else frame)


def _typed(topic: TopicDef, pieces: Sequence[Piece]) -> pl.DataFrame:
    frames = [piece.frame for piece in pieces]
    if topic.schema is None:
        return concat(frames)
    try:
        frame = _stacked(frames)
    except _UNLIKE:  # appended under several schemas
        return pl.concat([_aligned(topic, piece.frame, [piece]) for piece in pieces], rechunk=True)
    return _aligned(topic, frame, pieces)


def _placed(
    topic: TopicDef, frame: pl.DataFrame, pieces: Sequence[Piece], kept: Sequence[int] | None = None
) -> pl.DataFrame:
    """With the hidden columns. `kept` says which of the pieces' rows are in the frame, where not all are."""
    sizes = [len(piece.frame) for piece in pieces]
    offsets = np.concatenate([np.arange(piece.first, piece.first + len(piece.frame)) for piece in pieces])
    numbers = np.repeat(np.array([piece.blob.partition for piece in pieces], dtype=np.int32), sizes)
    at_us = np.repeat(np.array([piece.blob.at_us for piece in pieces], dtype=np.int64), sizes)
    if kept is not None:
        offsets, numbers, at_us = offsets[kept], numbers[kept], at_us[kept]
    appended = pl.Series(APPENDED, at_us).cast(INSTANT)
    time = appended if topic.event_time is None else frame[topic.event_time]
    return frame.hstack([pl.Series(PARTITION, numbers), pl.Series(OFFSET, offsets), time.alias(TIME), appended])


def _aligned(topic: TopicDef, frame: pl.DataFrame, pieces: Sequence[Piece]) -> pl.DataFrame:
    """Rows of these pieces, appended under an older schema: new columns are null, dropped ones are gone.

    The others fit as rows that are appended now do, and no value is rounded. Raises `SchemaError` (HR1212).
    """
    words = topic.schema or {}
    wanted = _wanted(tuple(words.items()))
    if topic.schema is None or frame.schema == wanted:
        return frame
    columns: list[pl.Series] = []
    for name, dtype in wanted.items():
        if name not in frame.columns:
            columns.append(pl.Series(name, [None], dtype=dtype).new_from_index(0, len(frame)))
            continue
        column = frame[name]
        out = _unrounded(column, fitted(column, words[name]))
        row = first_lost(column, out)
        if row is not None:
            raise SchemaError(
                f"column {name!r} was appended as {column.dtype} and is declared as {words[name]}, which "
                f"{value_at(column, row)!r} is not",
                where=_where(topic, pieces, row),
                cure="declare the type that the rows have, or a topic of another name",
                code="HR1212",
            )
        columns.append(out)
    return pl.DataFrame(columns)


def _unrounded(column: pl.Series, out: pl.Series) -> pl.Series:
    """Null where a number became another one: an integer beyond 2**53 as a float."""
    if not (column.dtype.is_integer() and out.dtype.is_float()):
        return out
    return out.set(out.cast(column.dtype, strict=False).ne_missing(column), None)


@cache
def _wanted(words: tuple[tuple[str, str], ...]) -> pl.Schema:
    return polars_schema(dict(words))


def _where(topic: TopicDef, pieces: Sequence[Piece], row: int) -> str:
    """Where the row of the pieces, counted through all of them, lies."""
    for found in pieces:
        if row < len(found.frame):
            return f"topic {topic.name}/{found.blob.partition} at {found.first + row}"
        row -= len(found.frame)
    raise AssertionError


_UNLIKE = (pl.exceptions.SchemaError, pl.exceptions.ShapeError)
_HIDDEN_TYPES = {PARTITION: pl.Int32(), OFFSET: pl.Int64(), TIME: INSTANT, APPENDED: INSTANT}
