"""Raw JSON records as typed columns: each record by itself, and only the columns that are declared."""

from __future__ import annotations

from functools import cache
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
import polars as pl

from headrace.connectors.fitting import cast
from headrace.data.schema import polars as polars_schema
from headrace.definitions.project import TopicDef
from headrace.errors import SchemaError

# Times and dates are read as text here and parsed a column at a time.
_TYPES: dict[str, Any] = {
    "str": str,
    "int": int,
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


def decode(topic: TopicDef, payloads: list[bytes]) -> tuple[pl.DataFrame, list[int], list[Bad]]:
    """The records as columns, the index of the record behind each row, and the misfits, in order.

    Numbers, text and nulls must be what the schema says; names that it does not have are passed over.
    """
    shape = _decoder(_words(topic), topic.required, (topic.key, topic.event_time, topic.known))
    bad: list[Bad] = []
    kept = list(range(len(payloads)))
    try:
        records = [shape.decode(payload) for payload in payloads]
    except (msgspec.MsgspecError, UnicodeDecodeError):
        records = []
        kept = []
        for row, payload in enumerate(payloads):
            try:
                records.append(shape.decode(payload))
                kept.append(row)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                bad.append(Bad(row, f"{type(error).__name__}: {error}"))
    frame, misfits = _columns(_words(topic), records)
    if misfits:
        bad.extend(Bad(kept[row], error) for row, error in misfits.items())
        is_good = pl.Series([row not in misfits for row in range(len(kept))])
        frame = frame.filter(is_good)
        kept = [row for at, row in enumerate(kept) if at not in misfits]
    return frame, kept, sorted(bad)


def instants(topic: TopicDef, payloads: list[bytes]) -> tuple[pl.Series, pl.DataFrame]:
    """Of each record its key as text, and its times as columns `time` and `known`; null where absent.

    A record that is not JSON has none of them: it is appended as it is, and is a dead letter of who reads it.
    """
    shape, fields = _head_decoder((topic.key, topic.event_time, topic.known))
    try:
        heads = [shape.decode(payload) for payload in payloads]
    except (msgspec.MsgspecError, UnicodeDecodeError):
        heads = [_head(shape, payload) for payload in payloads]
    keys, time, known = (_texts(heads, field) for field in fields)
    instant = cast(time.alias("time"), "datetime")
    same = topic.known == topic.event_time
    return keys, pl.DataFrame([instant, instant.alias("known") if same else cast(known.alias("known"), "datetime")])


def _head(shape: msgspec.json.Decoder[Any], payload: bytes) -> Any:
    try:
        return shape.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _texts(heads: list[Any], field: str) -> pl.Series:
    """A field as text; null where a record has none."""
    if not field:
        return pl.Series([None], dtype=pl.String).new_from_index(0, len(heads))
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
            columns.append(pl.Series(name, values, dtype=polars_schema({name: word})[name]))
            continue
        texts = pl.Series(name, values, dtype=pl.String)
        column = cast(texts, word)
        columns.append(column)
        if column.null_count() > texts.null_count():
            for row in (column.is_null() & texts.is_not_null()).arg_true().to_list():
                misfits.setdefault(row, f"column {name!r}: {values[row]!r} is not a {word}")
    return pl.DataFrame(columns), misfits


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
def _head_decoder(names: tuple[str | None, ...]) -> tuple[msgspec.json.Decoder[Any], list[str]]:
    """A decoder of only these columns, and for each the field that it is in ("" where there is none)."""
    columns = list(dict.fromkeys(name for name in names if name is not None))
    rename = {_FIELD.format(at): name for at, name in enumerate(columns)}
    shape = msgspec.defstruct("Head", [(field, Any, None) for field in rename], rename=rename, gc=False)
    fields = ["" if name is None else _FIELD.format(columns.index(name)) for name in names]
    return msgspec.json.Decoder(shape), fields
