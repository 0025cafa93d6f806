"""Random values through every codec: the same bits come back, or a coded error comes before anything is written."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, time, timedelta, timezone
from typing import Any

import numpy as np
import polars as pl
import pytest
from depth import examples
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, rule
from shelf import Shelf, bits
from stored_values import ATOMS, BIG, FRAMES, LAZY, SERIES, TEXTS, arrays, trees
from told import check_told

from headrace.errors import CodecError
from headrace.runs.facts import Value
from headrace.storage.codecs import plain
from headrace.storage.values import Values


@contextmanager
def shelf() -> Iterator[Shelf]:
    made = Shelf()
    try:
        yield made
    finally:
        gc.collect(0)
        made.close()


def check(value: Any, *, codec: str | None = None, allow_pickle: bool = True, inline: int = 32) -> None:
    """It comes back, from the same reader and from another one, and is stored in the same way a second time."""
    with shelf() as files:
        values = Values(files, allow_pickle=allow_pickle, inline_limit_bytes=inline)
        try:
            stored = values.encode(value, prefix="one")
        except CodecError as error:
            check_told(error, "HR14")
            assert files.files() == []
            return
        assert codec in (None, stored.codec)
        assert bits(values.decode(stored)) == bits(value)
        assert bits(Values(files).decode(stored)) == bits(value)
        again = values.encode(value, prefix="two")
        assert (again.codec, again.size_bytes, again.length, again.lengths) == (
            stored.codec, stored.size_bytes, stored.length, stored.lengths,
        )  # fmt: skip
        if stored.codec not in ("tuple", "list", "dict"):  # the names of members are in their list
            assert (again.digest, again.body) == (stored.digest, stored.body)


@examples(80)
@given(trees(ATOMS))
def test_a_tree_of_plain_values_comes_back(value: Any) -> None:
    check(value)


@examples(100)
@given(trees(ATOMS))
def test_without_pickle_it_comes_back_or_is_refused(value: Any) -> None:
    check(value, allow_pickle=False)


@examples(100)
@given(trees(ATOMS))
def test_a_json_form_is_exact_or_there_is_none(value: Any) -> None:
    text = plain.encode(value)
    if text is not None:
        assert bits(plain.decode(*text)) == bits(value)
        assert plain.encode(value) == text


@examples(40)
@given(FRAMES)
def test_a_frame_comes_back(frame: pl.DataFrame) -> None:
    check(frame, codec="arrow")


@examples(40)
@given(SERIES)
def test_a_series_comes_back(series: pl.Series) -> None:
    check(series, codec="arrow-series")


@examples(15)
@given(LAZY)
def test_a_lazy_frame_comes_back_computed(frame: pl.LazyFrame) -> None:
    check(frame, codec="arrow-lazy")


@examples(80)
@given(arrays())
def test_an_array_comes_back(array: Any) -> None:
    check(array, codec="npy")


@examples(40)
@given(trees(ATOMS | BIG, keys=TEXTS))
def test_a_tree_with_frames_and_arrays_in_it_comes_back(value: Any) -> None:
    check(value)


@examples(40)
@given(trees(ATOMS | BIG), st.data())
def test_an_element_is_that_of_the_whole(value: Any, data: st.DataObject) -> None:
    assume(isinstance(value, list | tuple) and len(value))
    with shelf() as files:
        values = Values(files, inline_limit_bytes=32)
        stored = values.encode(value, prefix="one")
        assert stored.length == len(value)
        index = data.draw(st.integers(0, len(value) - 1))
        assert bits(values.item(stored, index)) == bits(value[index])
        inner = value[index]
        if isinstance(inner, list | tuple) and inner:
            assert bits(values.item(stored, index, len(inner) - 1)) == bits(inner[-1])


@examples(40)
@given(trees(ATOMS | BIG, keys=TEXTS), st.data())
def test_one_other_byte_in_any_file_is_found_by_who_reads_it(value: Any, data: st.DataObject) -> None:
    with shelf() as files:
        values = Values(files, inline_limit_bytes=8)
        stored = values.encode(value, prefix="one")
        written = [file for file in files.files() if file.stat().st_size]
        assume(written)
        file = data.draw(st.sampled_from(written))
        whole = file.read_bytes()
        at, bit = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 7))
        file.write_bytes(whole[:at] + bytes((whole[at] ^ (1 << bit),)) + whole[at + 1 :])
        with pytest.raises(CodecError) as caught:
            Values(files).decode(stored)
        assert caught.value.code == "HR1410"
        file.write_bytes(whole)
        assert bits(Values(files).decode(stored)) == bits(value)


@pytest.mark.parametrize("depth", [10, 100, 900, 5_000, 100_000])
@pytest.mark.parametrize("kind", ["list", "tuple", "dict"])
@pytest.mark.parametrize("leaf", ["plain", "frame"])
def test_deep_nesting_comes_back_or_is_refused(depth: int, kind: str, leaf: str) -> None:
    value: Any = 1 if leaf == "plain" else pl.DataFrame({"a": [1]})
    for _ in range(depth):
        value = [value] if kind == "list" else (value,) if kind == "tuple" else {"a": value}
    with shelf() as files:
        values = Values(files)
        try:
            stored = values.encode(value, prefix="one")
        except CodecError as error:
            check_told(error, "HR14")
            assert files.files() == []
            return
        back = values.decode(stored)
        for _ in range(depth):
            value, back = (value["a"], back["a"]) if kind == "dict" else (value[0], back[0])
            assert type(value) is type(back)
        assert bits(back) == bits(value)


@pytest.mark.parametrize("digits", [4_299, 4_300, 4_301, 100_000])
def test_an_integer_of_any_length_comes_back_or_is_refused(digits: int) -> None:
    number = 10**digits - 1
    for value in (number, [number], {"a": (number,)}, {number: 1}):
        with shelf() as files:
            values = Values(files)
            try:
                stored = values.encode(value, prefix="one")
            except CodecError as error:
                check_told(error, "HR14")
                assert files.files() == []
                continue
            assert values.decode(stored) == value


class Reading(RuleBasedStateMachine):
    """Values written, read, changed by their readers, forgotten by a small cache and read by another process."""

    stored: Bundle[tuple[Value, Any]] = Bundle("stored")

    def __init__(self) -> None:
        super().__init__()
        self.files = Shelf()
        self.values = self.open()
        self.n = 0

    def open(self) -> Values:
        return Values(self.files, inline_limit_bytes=32, cache_limit_bytes=2_000)

    @rule(target=stored, value=trees(ATOMS | arrays(), keys=TEXTS))
    def writes(self, value: Any) -> tuple[Value, Any]:
        self.n += 1
        return self.values.encode(value, prefix=f"value{self.n}"), bits(value)

    @rule(kept=stored)
    def reads(self, kept: tuple[Value, Any]) -> None:
        assert bits(self.values.decode(kept[0])) == kept[1]

    @rule(kept=stored)
    def reads_and_changes_what_it_got(self, kept: tuple[Value, Any]) -> None:
        spoil(self.values.decode(kept[0]))
        assert bits(self.values.decode(kept[0])) == kept[1]

    @rule(kept=stored)
    def takes_an_element_and_changes_it(self, kept: tuple[Value, Any]) -> None:
        if kept[0].length and kept[0].codec != "npy":
            spoil(self.values.item(kept[0], 0))
            assert bits(self.values.decode(kept[0])) == kept[1]

    @rule(some=st.lists(stored, max_size=4))
    def reads_several_at_once(self, some: list[tuple[Value, Any]]) -> None:
        back = self.values.decode_all([value for value, _ in some])
        assert [bits(value) for value in back] == [known for _, known in some]

    @rule()
    def starts_anew(self) -> None:
        self.values = self.open()

    @rule(kept=consumes(stored))
    def loses_a_file(self, kept: tuple[Value, Any]) -> None:
        if kept[0].path is not None:
            self.files.locate(kept[0].path).unlink()
            with pytest.raises(CodecError):
                self.open().decode(kept[0])

    def teardown(self) -> None:
        gc.collect(0)
        self.files.close()


def spoil(value: Any) -> None:
    """Change everything in it that can be changed."""
    if isinstance(value, list | tuple):
        for item in value:
            spoil(item)
    if isinstance(value, dict):
        for item in value.values():
            spoil(item)
        value["new"] = 1
    if isinstance(value, list):
        value.append("new")
    if isinstance(value, set):
        value.add("new")


TestReading = Reading.TestCase
TestReading.settings = examples(12, steps=15)


@pytest.mark.parametrize(
    "value",
    [
        datetime(2000, 1, 1, tzinfo=timezone(timedelta(hours=1), "CET")),
        time(1, tzinfo=timezone(timedelta(0), "GMT")),
        np.timedelta64(5, "ns"),
        np.timedelta64(5, "Y"),
    ],
    ids=repr,
)
def test_names_and_units_of_times_come_back(value: Any) -> None:
    check(value)
    check([value])


@pytest.mark.parametrize("last", [(n for n in "a generator"), "a ring"], ids=["refused", "pickled"])
def test_an_encode_that_fails_takes_back_the_members_it_wrote(last: Any) -> None:
    value: list[Any] = [pl.DataFrame({"a": [1]}), last]
    with shelf() as files:
        if last == "a ring":
            value.append(value)
            stored = Values(files, inline_limit_bytes=0).encode(value, prefix="one")
            assert [file.name for file in files.files()] == [stored.path]
            return
        with pytest.raises(CodecError):
            Values(files).encode(value, prefix="one")
        assert files.files() == []
