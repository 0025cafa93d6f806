"""Raw JSON records as typed columns: each record by itself, and only the columns that are declared."""

from __future__ import annotations

from functools import cache
from operator import attrgetter
from typing import Annotated, Any, NamedTuple

import msgspec
import polars as pl

from headrace.connectors.fitting import cast, dtype_of
from headrace.definitions.project import TopicDef
from headrace.errors import SchemaError

# Times and dates are read as text here and parsed a column at a time.
_TYPES: dict[str, Any] = {
    "str": str,
    "int": Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)],
    "float": float,
    "bool": bool,
    "datetime": str,
    "date": str,
    "bytes": bytes,
    "json": msgspec.Raw,
}


class Bad(NamedTuple):
    """A record that does not decode: its index among those given, and why."""

    row: int
    error: str


def decode(topic: TopicDef, payloads: list[bytes]) -> tuple[pl.DataFrame, list[int] | None, list[Bad]]:
    """The records as columns, the index of the record behind each row (None: all are rows), and the misfits, in order.

    Numbers, text and nulls must be what the schema says; names that it does not have are passed over.
    """
    shape = _decoder(_words(topic), topic.required, (topic.key, topic.event_time, topic.known))
    try:
        records: list[Any] = list(map(shape.decode, payloads))
        kept, bad = None, list[Bad]()
    except (msgspec.MsgspecError, UnicodeDecodeError):
        records, kept, bad = _one_by_one(shape, payloads)
    frame, misfits = _columns(_words(topic), records)
    if misfits:
        indices = range(len(payloads)) if kept is None else kept
        bad.extend(Bad(indices[row], error) for row, error in misfits.items())
        frame = frame.filter(pl.Series([at not in misfits for at in range(len(indices))]))
        kept = [row for at, row in enumerate(indices) if at not in misfits]
    return frame, kept, sorted(bad)


def _one_by_one(shape: msgspec.json.Decoder[Any], payloads: list[bytes]) -> tuple[list[Any], list[int], list[Bad]]:
    records: list[Any] = []
    kept: list[int] = []
    bad: list[Bad] = []
    for row, payload in enumerate(payloads):
        try:
            records.append(shape.decode(payload))
            kept.append(row)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            bad.append(Bad(row, f"{type(error).__name__}: {error}"))
    return records, kept, bad


class Heads(NamedTuple):
    """What an append looks at: of each record its key as text and its times, null where absent. None: not declared."""

    keys: pl.Series | None
    time: pl.Series | None
    known: pl.Series | None


def heads(topic: TopicDef, payloads: list[bytes]) -> Heads:
    """The key and the times of records that are appended as they are.

    A record that is not JSON has none of them, and is a dead letter of who reads it.
    """
    names = tuple(dict.fromkeys(name for name in (topic.key, topic.event_time, topic.known) if name is not None))
    if not names:
        return Heads(None, None, None)
    shape = _head_decoder(names)
    try:
        found = list(map(shape.decode, payloads))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        found = [_head(shape, payload) for payload in payloads]
    texts = {name: _texts(found, _FIELD.format(at)) for at, name in enumerate(names)}
    times = {name: cast(texts[name], "datetime") for name in (topic.event_time, topic.known) if name is not None}
    key, event_time, known = (topic.key or "", topic.event_time or "", topic.known or "")
    return Heads(texts.get(key), times.get(event_time), times.get(known))


def _head(shape: msgspec.json.Decoder[Any], payload: bytes) -> Any:
    try:
        return shape.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _texts(heads: list[Any], field: str) -> pl.Series:
    """A field as text; null where a record has none."""
    try:
        values = list(map(attrgetter(field), heads))
    except AttributeError:  # some are not JSON
        values = [getattr(head, field, None) for head in heads]
    try:
        return pl.Series(values, dtype=pl.String, strict=True)
    except TypeError:  # numbers are keys as well
        texts = [value if value is None or isinstance(value, str) else str(value) for value in values]
        return pl.Series(texts, dtype=pl.String)


def _columns(words: dict[str, str], records: list[Any]) -> tuple[pl.DataFrame, dict[int, str]]:
    misfits: dict[int, str] = {}
    columns: list[pl.Series] = []
    for at, (name, word) in enumerate(words.items()):
        field = _FIELD.format(at)
        values: list[Any] = list(map(attrgetter(field), records))
        if word == "json":
            values = [None if value is None else bytes(value).decode() for value in values]
        if word not in ("datetime", "date"):
            columns.append(pl.Series(name, values, dtype=dtype_of(word)))
            continue
        texts = pl.Series(name, values, dtype=pl.String)
        column = cast(texts, word)
        columns.append(column)
        if column.null_count() > texts.null_count():
            for row in (column.is_null() & texts.is_not_null()).arg_true().to_list():
                misfits.setdefault(row, f"column {name!r}: {values[row]!r} is not a {word}")
    # A quarter of what `pl.DataFrame(columns)` takes, which looks at each of them first.
    return (columns[0].to_frame().hstack(columns[1:]) if columns else pl.DataFrame()), misfits


_FIELD = "c{}"  # columns may have names that Python does not allow


def _words(topic: TopicDef) -> dict[str, str]:
    if topic.schema is None:
        raise SchemaError(
            "raw JSON needs a schema to become columns",
            where=f"topic {topic.name}",
            cure="declare the topic with schema=, or append rows instead of text",
            code="HR1211",
        )
    return topic.schema


def _decoder(
    words: dict[str, str], required: tuple[str, ...], needed: tuple[str | None, ...]
) -> msgspec.json.Decoder[Any]:
    return _cached_decoder(tuple(words.items()), frozenset(required) | {name for name in needed if name})


@cache
def _cached_decoder(words: tuple[tuple[str, str], ...], needed: frozenset[str]) -> msgspec.json.Decoder[Any]:
    must: list[Any] = []
    may: list[Any] = []
    rename: dict[str, str] = {}
    for at, (name, word) in enumerate(words):
        field = _FIELD.format(at)
        rename[field] = name
        if name in needed:
            must.append((field, _TYPES[word]))
        else:
            kind = _TYPES[word]
            may.append((field, kind if word == "json" else kind | None, None))
    shape = msgspec.defstruct("Record", [*must, *may], rename=rename, gc=False)
    return msgspec.json.Decoder(shape)


@cache
def _head_decoder(names: tuple[str, ...]) -> msgspec.json.Decoder[Any]:
    """A decoder of only these columns, each in the field of its place."""
    rename = {_FIELD.format(at): name for at, name in enumerate(names)}
    shape = msgspec.defstruct("Head", [(field, Any, None) for field in rename], rename=rename, gc=False)
    return msgspec.json.Decoder(shape)
