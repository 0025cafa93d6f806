"""Schemas: what a user declares (a class, a dict, a Polars schema) as a plain dict from column to type word.

The words are `str int float bool datetime date bytes json`. Times are UTC microseconds; `json` is any nested value,
kept as its JSON text.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired, Required, Union, cast

from headrace.data.where import user_line
from headrace.errors import SchemaError

if TYPE_CHECKING:
    import polars as pl

WORDS = ("str", "int", "float", "bool", "datetime", "date", "bytes", "json")

_TYPES: dict[object, str] = {
    str: "str",
    int: "int",
    float: "float",
    bool: "bool",
    datetime: "datetime",
    date: "date",
    bytes: "bytes",
    dict: "json",
    list: "json",
    tuple: "json",
    Any: "json",
    object: "json",
}
_DTYPES = {
    **dict.fromkeys(("String", "Utf8", "Categorical", "Enum"), "str"),
    **dict.fromkeys(("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32"), "int"),
    **dict.fromkeys(("Float32", "Float64"), "float"),
    **dict.fromkeys(("List", "Array", "Struct"), "json"),
    "Boolean": "bool",
    "Datetime": "datetime",
    "Date": "date",
    "Binary": "bytes",
}


class Columns(typing.NamedTuple):
    """Column → type word, and the columns that may not be null, both in declared order."""

    types: dict[str, str]
    required: tuple[str, ...]


def columns(declared: object) -> Columns:
    """Read a declaration: a TypedDict, dataclass, pydantic or msgspec class, a dict, or a Polars schema.

    A column declared without `| None` is required; a Polars schema does not say, so there none is. A dict holds types
    or type words. Raises `SchemaError` for anything that has no type word.

    >>> columns({"origin": str, "delay": float | None})
    Columns(types={'origin': 'str', 'delay': 'float'}, required=('origin',))
    """
    fields = _fields(declared)
    types_: dict[str, str] = {}
    required: list[str] = []
    for name, annotation in fields.items():
        word, nullable = _word(name, annotation)
        types_[name] = word
        if not nullable:
            required.append(name)
    return Columns(types_, tuple(required))


def polars(schema: Mapping[str, str]) -> pl.Schema:
    """The Polars schema of type words. Raises `SchemaError` for an unknown word.

    >>> polars({"n": "int", "at": "datetime"})
    Schema([('n', Int64), ('at', Datetime(time_unit='us', time_zone='UTC'))])
    """
    import polars as pl

    dtypes: dict[str, pl.DataType] = {
        "str": pl.String(),
        "int": pl.Int64(),
        "float": pl.Float64(),
        "bool": pl.Boolean(),
        "datetime": pl.Datetime("us", "UTC"),
        "date": pl.Date(),
        "bytes": pl.Binary(),
        "json": pl.String(),
    }
    for name, word in schema.items():
        if word not in dtypes:
            raise _unknown(name, word)
    return pl.Schema({name: dtypes[word] for name, word in schema.items()})


def _fields(declared: object) -> dict[str, object]:
    if isinstance(declared, Mapping):
        return dict(cast("Mapping[str, object]", declared))
    if isinstance(declared, type):
        try:
            hints = typing.get_type_hints(declared, include_extras=True)
        except NameError as error:
            raise SchemaError(
                f"a type in the schema {declared.__name__} is not known where it is read: {error}",
                where=user_line(),
                cure="import the type at the top of the module, not under TYPE_CHECKING",
            ) from None
        optional = cast("frozenset[str]", getattr(declared, "__optional_keys__", frozenset()))
        fields = {
            name: hint | None if name in optional and not _is(hint, NotRequired) else hint
            for name, hint in hints.items()
            if not name.startswith("_") and typing.get_origin(hint) is not typing.ClassVar
        }
        if fields:
            return {name: hint for name, hint in fields.items() if name != "model_config"}
    raise SchemaError(
        f"expected a schema, got {declared!r}",
        where=user_line(),
        cure='give a TypedDict, dataclass, pydantic or msgspec class, a Polars schema, or {"origin": str, "n": int}',
    )


def _word(name: str, annotation: object) -> tuple[str, bool]:
    """The type word of an annotation, and whether it may be null."""
    if isinstance(annotation, str):
        word, _, rest = (part.strip() for part in annotation.partition("|"))
        if word not in WORDS or rest not in ("", "None"):
            raise _unknown(name, annotation)
        return word, rest == "None"
    if _is(annotation, Annotated, Required):
        return _word(name, typing.get_args(annotation)[0])
    if _is(annotation, NotRequired):
        return _word(name, typing.get_args(annotation)[0])[0], True
    if isinstance(annotation, types.UnionType) or _is(annotation, Union):
        rest = [part for part in typing.get_args(annotation) if part is not types.NoneType]
        nullable = len(rest) < len(typing.get_args(annotation))
        if len(rest) != 1:
            return "json", nullable
        word, inner = _word(name, rest[0])
        return word, nullable or inner
    if _is(annotation, Literal):
        return _word(name, type(typing.get_args(annotation)[0]))
    dtype = annotation if isinstance(annotation, type) else type(annotation)
    if dtype.__module__.startswith("polars"):
        if dtype.__name__ not in _DTYPES:
            raise _unknown(name, annotation)
        return _DTYPES[dtype.__name__], True
    plain = typing.get_origin(annotation) or annotation
    if plain in _TYPES:
        return _TYPES[plain], plain in (Any, object)
    if isinstance(plain, type) and _is_nested(plain):
        return "json", False
    raise _unknown(name, annotation)


def _is(annotation: object, *origins: object) -> bool:
    return typing.get_origin(annotation) in origins


def _is_nested(kind: type) -> bool:
    """Whether a class is itself a schema, so that a column of it is nested JSON."""
    marks = ("__dataclass_fields__", "__struct_fields__", "__pydantic_fields__", "__required_keys__")
    return any(hasattr(kind, mark) for mark in marks) or issubclass(kind, Mapping)


def _unknown(name: str, annotation: object) -> SchemaError:
    shown = annotation.__name__ if isinstance(annotation, type) else repr(annotation)
    return SchemaError(
        f"column {name!r}: {shown} is not a type that a column can have",
        where=user_line(),
        cure=f"use {', '.join(WORDS)}, with `| None` where it may be null",
    )
