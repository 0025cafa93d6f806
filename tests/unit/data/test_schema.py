"""Declared schemas become type words, and type words Polars types."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, ClassVar, Literal, NotRequired, Optional, TypedDict

import msgspec
import polars as pl
import pytest

from headrace.data.schema import WORDS, columns, polars
from headrace.errors import SchemaError


class Typed(TypedDict):
    origin: str
    late: bool | None
    note: NotRequired[str]


class Loose(TypedDict, total=False):
    origin: str


@dataclass
class Data:
    n: int
    at: datetime
    day: date | None
    tags: list[str]
    kind: Literal["a", "b"]
    shared: ClassVar[int] = 1


class Struct(msgspec.Struct):
    x: float
    raw: Optional[bytes]  # noqa: UP045
    nested: Data
    any: Any


def test_columns_without_none_are_required():
    assert columns(Typed) == ({"origin": "str", "late": "bool", "note": "str"}, ("origin",))
    assert columns(Loose).required == ()


def test_dataclasses_and_structs_are_read_by_their_annotations():
    assert columns(Data) == (
        {"n": "int", "at": "datetime", "day": "date", "tags": "json", "kind": "str"},
        ("n", "at", "tags", "kind"),
    )
    assert columns(Struct) == ({"x": "float", "raw": "bytes", "nested": "json", "any": "json"}, ("x", "nested"))


def test_a_dict_holds_types_or_words():
    assert columns({"a": int, "b": "float | None", "c": "json", "d": str | None}) == (
        {"a": "int", "b": "float", "c": "json", "d": "str"},
        ("a", "c"),
    )


def test_a_polars_schema_requires_nothing():
    declared = pl.Schema({"a": pl.Int32(), "b": pl.String, "c": pl.Datetime("us"), "d": pl.List(pl.Int8)})
    assert columns(declared) == ({"a": "int", "b": "str", "c": "datetime", "d": "json"}, ())


def test_polars_types_come_back_to_the_same_words():
    schema = {word: word for word in WORDS if word != "json"}
    assert columns(polars(schema)).types == schema
    assert polars({"at": "datetime"})["at"] == pl.Datetime("us", "UTC")


@pytest.mark.parametrize("declared", [3, "str", {"a": complex}, {"a": "integer"}, {"a": pl.Duration("us")}, int])
def test_what_has_no_type_word_is_refused_with_the_words(declared):
    with pytest.raises(SchemaError) as caught:
        columns(declared)
    assert "str" in str(caught.value.cure)
