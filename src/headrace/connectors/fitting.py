"""Rows as a user gives them, cast to what a topic declares; the first misfit is named, and nothing is half done."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import date, datetime
from functools import cache
from typing import Any

import msgspec
import polars as pl

from headrace.base.instants import FIRST_US, LAST_US, iso, to_us
from headrace.base.near import near
from headrace.data.schema import polars as polars_schema
from headrace.definitions.project import TopicDef
from headrace.errors import ProjectError, SchemaError

INSTANT = pl.Datetime("us", "UTC")
TAKEN_NAMES = ("_partition", "_offset", "_time", "_appended")  # hidden columns: where a row lies, and its times
UNTYPED = "null"
"""The word for a column that held only nulls so far, in a topic that takes its columns from what is appended."""
_CURES = {
    "str": "give text; a number becomes text with str(…)",
    "int": "give a whole number below 2**63",
    "float": "give a number",
    "bool": "give True or False",
    "datetime": 'give an aware datetime, or ISO text such as "2013-03-01T05:00Z", of the years 1 to 9999 in UTC',
    "date": 'give a date, or text such as "2013-03-01", of the years 1 to 9999',
    "bytes": "give bytes",
    "json": "give lists, dicts and plain values; JSON has no NaN and no infinity",
}
_UNHELD = (ValueError, OverflowError, pl.exceptions.PanicException)
"""What is raised where Polars holds a value that Python cannot: a time outside the years 1 to 9999, say."""
_DAY_US = 86_400_000_000
_UNITS_US = {"us": 1, "ms": 1000}  # nanoseconds reach from 1677 to 2262


def fit(topic: TopicDef, rows: pl.DataFrame | list[dict[str, Any]]) -> pl.DataFrame:
    """The rows with exactly the declared columns, in that order; times in UTC microseconds.

    A topic without a schema keeps the columns that come; only its times are cast. Whole floats pass as integers, ISO
    text as times. Raises `SchemaError` (HR1210) that names the first row and column that do not fit.
    """
    words = declared_words(topic, rows)
    given = _columns(rows) if isinstance(rows, list) else {column.name: column for column in rows.iter_columns()}
    _refuse_names(topic, given, len(rows))
    if topic.schema is not None:
        _refuse_strangers(topic, given, rows)
    height = len(rows)
    try:
        columns = [_fitted(topic, name, word, given.get(name), height) for name, word in words.items()]
    except pl.exceptions.PanicException as error:  # no Exception: nobody else would take it for one
        raise SchemaError(
            f"Polars gave up on the rows: {error}",
            where=f"topic {topic.name}",
            cure="give the columns other types; nothing was appended",
            code="HR1210",
        ) from None
    return pl.DataFrame(columns)


def _refuse_names(topic: TopicDef, given: Mapping[str, Any], rows: int) -> None:
    taken = [name for name in given if name in TAKEN_NAMES]
    if taken:
        raise SchemaError(
            f"the column name {taken[0]!r} is Headrace's own: {', '.join(TAKEN_NAMES)} say where a row lies",
            where=f"topic {topic.name}",
            cure="give the column another name; nothing was appended",
            code="HR1210",
        )
    if rows and not given:
        raise SchemaError(
            f"{rows} row{'s' if rows > 1 else ''} without any column",
            where=f"topic {topic.name}",
            cure="a row has at least one column; nothing was appended",
            code="HR1210",
        )


def declared_words(topic: TopicDef, rows: pl.DataFrame | list[dict[str, Any]]) -> dict[str, str | None]:
    """Column → type word; None where nothing is declared and the type that comes is kept.

    Nested values are JSON: the first of them does not say what keys the others have.
    """
    given = {name: [] for name in rows.columns} if isinstance(rows, pl.DataFrame) else _columns(rows)
    words: dict[str, str | None] = dict.fromkeys(given)
    if topic.schema is not None:
        words = {name: None if word == UNTYPED else word for name, word in topic.schema.items()}
    else:
        words |= {name: "datetime" for name in (topic.event_time, topic.known) if name is not None}
    for name, word in words.items():
        if word is None and any(isinstance(value, list | tuple | dict) for value in given.get(name, ())):
            words[name] = "json"
    return words


@cache
def dtype_of(word: str) -> pl.DataType:
    """The type of columns that are declared with this word."""
    return polars_schema({word: word})[word]


def cast(column: pl.Series, word: str) -> pl.Series:
    """The column in the type of the word; null where a value does not fit, or is cut by it."""
    dtype = dtype_of(word)
    column = _in_years(column)
    if column.dtype == dtype:
        return column
    if column.dtype == pl.Null:
        return column.cast(dtype)
    if word == "datetime":
        return _instants(column)
    if word == "json":
        return _documents(column)
    if word == "date" and column.dtype == pl.String:
        return _dates(column)
    if _is_castable(column.dtype, word):
        out = column.cast(dtype, strict=False)
        if word == "int" and not column.dtype.is_integer():
            return out.set(out.cast(column.dtype, strict=False) != column, None)
        return out
    return pl.Series(column.name, [None], dtype=dtype).new_from_index(0, len(column))


def _fitted(topic: TopicDef, name: str, word: str | None, given: Any, height: int) -> pl.Series:
    column = _series(topic, name, word, given, height)
    out = _in_utc(_in_years(column)) if word is None else cast(column, word)
    row = first_lost(column, out)
    if row is not None:
        raise misfit(
            topic, row, name, word or ("date" if column.dtype == pl.Date else "datetime"), value_at(column, row)
        )
    if word is None:
        return out
    if out.null_count() and _is_needed(topic, name):
        raise misfit(topic, int(out.is_null().arg_max() or 0), name, word, None)
    return out


def _series(topic: TopicDef, name: str, word: str | None, given: Any, height: int) -> pl.Series:
    if given is None:
        if height and _is_needed(topic, name):
            raise misfit(topic, 0, name, word or "a value", None)
        return pl.Series(name, [None], dtype=pl.Null).new_from_index(0, height)
    if isinstance(given, pl.Series):
        return given
    try:
        return _of_values(topic, name, word, given)
    except UnicodeEncodeError as error:
        raise SchemaError(
            f"column {name!r}: a text holds half a character, {error.object[error.start]!r}, which no UTF-8 can hold",
            where=f"topic {topic.name}",
            cure='clean it with text.encode("utf-8", "replace").decode(); nothing was appended',
            code="HR1210",
        ) from None


def _of_values(topic: TopicDef, name: str, word: str | None, given: list[Any]) -> pl.Series:
    if word is None:
        try:
            if len({bool, *map(type, given)} - {type(None)}) > 1 and any(isinstance(value, bool) for value in given):
                raise TypeError("True and False among other values")  # Polars would make numbers of them
            return pl.Series(name, given, strict=True)
        except (TypeError, OverflowError, pl.exceptions.PolarsError) as error:
            raise SchemaError(
                f"column {name!r} mixes types: {error}",
                where=f"topic {topic.name}",
                cure="give the topic a schema=, or values of one type",
                code="HR1210",
            ) from error
    return _typed(topic, name, word, given)


def _typed(topic: TopicDef, name: str, word: str, values: list[Any]) -> pl.Series:
    """Python values as a column. Polars would read True as 1 and cut 1.5 to 1, so the types are looked at here."""
    dtype = dtype_of(word)
    plain = _PLAIN.get(word)
    if plain is not None and {type(value) for value in values} <= plain:
        try:
            return pl.Series(name, values, dtype=dtype, strict=word != "float")
        except (OverflowError, TypeError, pl.exceptions.PolarsError):
            pass  # an integer beyond 64 bits: the loop below finds which
    read = _READERS[word]
    out: list[Any] = []
    for row, value in enumerate(values):
        try:
            out.append(None if value is None else read(value))
        except (TypeError, ValueError, OverflowError, ProjectError):
            raise misfit(topic, row, name, word, value) from None
    return pl.Series(name, out, dtype=dtype)


def first_lost(column: pl.Series, out: pl.Series) -> int | None:
    """The first row that has a value in the column and none in what `cast` made of it."""
    if out.null_count() == column.null_count():
        return None
    return int((out.is_null() & column.is_not_null()).arg_max() or 0)


def value_at(column: pl.Series, row: int) -> object:
    """A value for an error or a dead letter. One that Python cannot hold comes as text. It never raises."""
    try:
        return column.slice(row, 1).to_list()[0]
    except _UNHELD:
        physical = column.slice(row, 1).to_physical()
        if isinstance(column.dtype, pl.Datetime):
            return Text(iso(physical[0] * _UNITS_US.get(column.dtype.time_unit, 1)))
        if column.dtype == pl.Date:
            return Text(iso(physical[0] * _DAY_US).partition("T")[0])
        return Text(f"a {column.dtype.base_type()} that Python cannot hold")


class Text(str):
    """What stands for a value that cannot be shown itself."""

    __slots__ = ()


def misfit(topic: TopicDef, row: int, column: str, word: str, got: object) -> SchemaError:
    """The error for one value that does not fit."""
    needed = " (never null)" if got is None else ""
    return SchemaError(
        f"row {row}, column {column!r}: expected {word}{needed}, got {_shown(got)}",
        where=f"topic {topic.name}",
        cure=f"{_CURES.get(word, 'give a value')}; nothing was appended"
        if got is not None
        else f"give the column in every row, or declare it `{word} | None`; nothing was appended",
        code="HR1210",
    )


def _refuse_strangers(topic: TopicDef, given: Mapping[str, Any], rows: pl.DataFrame | list[dict[str, Any]]) -> None:
    declared = topic.schema or {}
    strangers = [name for name in given if name not in declared]
    if strangers:
        name = strangers[0]
        row = next((f"row {at}, " for at, row in enumerate(rows) if name in row), "") if isinstance(rows, list) else ""
        raise SchemaError(
            f"{row}column {name!r} is not declared{near(name, declared)}; the topic has {', '.join(declared)}",
            where=f"topic {topic.name}",
            cure="leave it out, or add it to the topic's schema; nothing was appended",
            code="HR1210",
        )


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row))
    return {name: [row.get(name) for row in rows] for name in names}


def _is_needed(topic: TopicDef, name: str) -> bool:
    return name in topic.required or name in (topic.key, topic.event_time, topic.known)


def _is_castable(dtype: pl.DataType, word: str) -> bool:
    match word:
        case "int":
            return dtype.is_numeric()
        case "float":
            return dtype.is_numeric()
        case "str":
            return isinstance(dtype, pl.Categorical | pl.Enum)
        case "bytes":
            return dtype == pl.String
        case _:
            return False


def _instants(column: pl.Series) -> pl.Series:
    if isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone is not None:
        return _in_utc(column)
    if column.dtype == pl.Date:
        return column.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if column.dtype != pl.String:
        return pl.Series(column.name, [None], dtype=INSTANT).new_from_index(0, len(column))
    out = column.str.to_datetime("%+", time_unit="us", strict=False)
    if isinstance(out.dtype, pl.Datetime) and out.dtype.time_zone is None:
        out = out.dt.replace_time_zone("UTC")
    if out.null_count() == column.null_count() and not column.str.contains(":60", literal=True).any():
        return _in_years(out)
    # Dates, text without seconds or offset, and leap seconds: read one by one, as everywhere else in Headrace.
    return pl.Series(column.name, [_or_none(to_us, text) for text in column.to_list()], dtype=INSTANT)


def _dates(column: pl.Series) -> pl.Series:
    return pl.Series(column.name, [_or_none(date.fromisoformat, text) for text in column.to_list()], dtype=pl.Date)


def _or_none(read: Callable[[str], Any], text: str | None) -> Any:
    try:
        return None if text is None else read(text)
    except (ValueError, ProjectError):
        return None


def _in_years(column: pl.Series) -> pl.Series:
    """Times outside the years 1 to 9999 as nulls: no Python value holds them. Other columns as they are."""
    dtype = column.dtype
    if isinstance(dtype, pl.Datetime) and dtype.time_unit in _UNITS_US:
        least, most = (us // _UNITS_US[dtype.time_unit] for us in (FIRST_US, LAST_US))
    elif dtype == pl.Date:
        least, most = FIRST_US // _DAY_US, LAST_US // _DAY_US
    else:
        return column
    is_held = column.to_physical().is_between(least, most)
    return column if is_held.all() else column.zip_with(is_held, pl.Series([None], dtype=dtype))


def _documents(column: pl.Series) -> pl.Series:
    try:
        values = column.to_list()
    except _UNHELD:
        values = [value_at(column, row) for row in range(len(column))]
    texts = [None if value is None or isinstance(value, Text) else _json_or_none(value) for value in values]
    return pl.Series(column.name, texts, dtype=pl.String)


def _in_utc(column: pl.Series) -> pl.Series:
    if isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone is not None:
        return column.dt.convert_time_zone("UTC").cast(INSTANT)
    return column


def _json(value: object) -> str:
    text = msgspec.json.encode(value).decode()
    if "null" in text and not _is_finite(msgspec.to_builtins(value)):  # they would be stored as null
        raise ValueError("JSON has no NaN and no infinity")
    return text


def _json_or_none(value: object) -> str | None:
    try:
        return _json(value)
    except ValueError:
        return None


def _is_finite(value: Any) -> bool:
    match value:
        case float():
            return math.isfinite(value)
        case dict():
            return all(map(_is_finite, value.values()))  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        case list() | tuple():
            return all(map(_is_finite, value))  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        case _:
            return True


def _int(value: object) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise TypeError
    return value


def _exactly(*kinds: type[Any]) -> Callable[[Any], Any]:
    def read(value: object) -> object:
        if type(value) not in kinds:
            raise TypeError
        return value

    return read


def _date(value: object) -> date:
    if type(value) is date:
        return value
    if not isinstance(value, str):
        raise TypeError
    return date.fromisoformat(value)


def _us(value: object) -> int:
    if not isinstance(value, datetime | date | str):
        raise TypeError
    return to_us(value)


def _shown(value: object) -> str:
    if isinstance(value, Text):
        return value
    text = repr(value)
    kind = type(value).__name__
    return f"{text if len(text) <= 80 else text[:79] + '…'}" + ("" if value is None else f" ({kind})")


_NONE = type(None)
_PLAIN: dict[str, set[type[Any]]] = {
    "str": {str, _NONE},
    "int": {int, _NONE},
    "float": {float, int, _NONE},
    "bool": {bool, _NONE},
    "bytes": {bytes, _NONE},
}
_READERS: dict[str, Callable[[Any], Any]] = {
    "str": _exactly(str),
    "int": _int,
    "float": lambda value: float(_exactly(float, int)(value)),
    "bool": _exactly(bool),
    "datetime": _us,
    "date": _date,
    "bytes": lambda value: value.encode() if isinstance(value, str) else _exactly(bytes)(value),
    "json": _json,
}
