"""Every codec: what is stored comes back the same, damage is found before it is parsed, and readers share nothing."""

from __future__ import annotations

import copy
import enum
import math
import sys
import threading
import uuid
from collections import namedtuple
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal, assert_series_equal

from headrace.data.window import Window
from headrace.errors import CodecError, MissingExtraError
from headrace.runs.facts import Value
from headrace.storage.codecs import plain
from headrace.storage.codecs.lightgbm import Lightgbm
from headrace.storage.local import LocalStorage
from headrace.storage.values import Values


@dataclass
class Point:
    x: int
    y: int


class Colour(enum.Enum):
    RED = 1


class Rank(enum.IntEnum):
    LOW = 1


Pair = namedtuple("Pair", "a b")


@pytest.fixture
def values(tmp_path: Path) -> Values:
    return Values(LocalStorage(tmp_path / "a[b]*?"))  # a folder whose name looks like a pattern


@pytest.fixture
def put(values: Values):
    count = iter(range(1_000_000))
    return lambda value, **more: values.encode(value, prefix=f"run1/task/{next(count)}/1-1", **more)


atoms = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(max_size=20),
    st.datetimes(timezones=st.sampled_from([None, UTC, timezone(timedelta(hours=-3)), ZoneInfo("Europe/Oslo")])),
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.decimals(),
    st.uuids(),
    st.complex_numbers(),
    st.floats(width=32).map(np.float32),
    st.integers(0, 2**64 - 1).map(np.uint64),
)
keys = st.one_of(st.text(), st.integers(), st.booleans(), st.just("$"), st.tuples(st.integers(), st.text()))
nested = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(keys, inner, max_size=4),
        st.sets(st.integers() | st.text(), max_size=4),
    ),
    max_leaves=12,
)


def same(one: Any, other: Any) -> bool:
    """Equal in type and value all the way down; nan is nan, and -0.0 is not 0.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return same(list(one.items()), list(other.items()))
    if isinstance(one, datetime):
        return (one == other or one.fold) and repr(one) == repr(other)
    if isinstance(one, set):
        return one == other
    return repr(one) == repr(other)


@given(nested)
def test_a_value_with_a_json_form_comes_back_with_its_types(value: Any):
    stored = plain.encode(value)
    assert stored is not None
    assert same(plain.decode(*stored), value)


@given(nested)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=50)
def test_any_such_value_is_stored_whole_or_member_by_member(values: Values, value: Any):
    stored = values.encode(value, prefix=f"run1/{uuid.uuid4()}/0/1-1")
    assert same(values.decode(stored), value)
    assert stored.codec != "pickle"


@pytest.mark.parametrize("value", [None, True, 0, 1.5, "x", [], {}, {"a": [1, None]}, {"$": "x"}, 2**200])
def test_ordinary_json_is_ordinary_json(put: Any, value: Any):
    assert put(value).codec == "json"


@pytest.mark.parametrize(
    "value",
    [
        (1, "a"),
        {1: "a"},
        math.inf,
        {1, 2},
        Window("2013-01-01", "1d"),
        np.float64(0.25),
        {"auc": np.float64("nan")},
        datetime(2020, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Oslo"), fold=1),
        date(2020, 1, 1),
        time(1, 2, tzinfo=UTC),
        Decimal("1.10"),
    ],
    ids=repr,
)
def test_types_beyond_json_are_kept_without_pickle(values: Values, put: Any, value: Any):
    stored = put(value)
    assert stored.codec in ("json+", "tuple")
    assert same(values.decode(stored), value)


@pytest.mark.parametrize(
    "value", [Point(1, 2), Colour.RED, Rank.LOW, Pair(1, 2), [Rank.LOW], range(3), "\ud800"], ids=repr
)
def test_what_has_no_form_of_its_own_is_a_flagged_pickle(values: Values, put: Any, value: Any):
    stored = put(value)
    assert "pickle" in stored.codec or '"pickle"' in stored.body
    assert same(values.decode(stored), value)


def test_a_numpy_bool_is_a_plain_one_so_that_a_branch_can_test_it(put: Any):
    assert put(np.bool_(True)).body == "true"


FRAME = pl.DataFrame(
    {
        "i": [1, None, 3],
        "s": ["a", "ü", None],
        "t": [datetime(2020, 1, 1, tzinfo=UTC), None, None],
        "l": [[1], [], None],
        "c": pl.Series(["x", "y", "x"], dtype=pl.Categorical),
        "d": [Decimal("1.5"), None, Decimal("2")],
    }
)
FRAMES = {
    "frame": FRAME,
    "no rows": FRAME.clear(),
    "no columns": pl.DataFrame(),
    "many chunks": pl.concat([FRAME, FRAME], rechunk=False),
    "large": pl.DataFrame({"x": range(300_000)}),
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_a_frame_comes_back(values: Values, put: Any, frame: pl.DataFrame):
    stored = put(frame)
    assert (stored.codec, stored.length) == ("arrow", frame.height)
    assert_frame_equal(values.decode(stored), frame)


def test_a_series_comes_back(values: Values, put: Any):
    stored = put(FRAME["s"])
    assert (stored.codec, stored.length) == ("arrow-series", 3)
    assert_series_equal(values.decode(stored), FRAME["s"])


def test_a_lazy_frame_is_computed_when_it_is_stored(values: Values, put: Any):
    back = values.decode(put(FRAME.lazy().select("i")))
    assert isinstance(back, pl.LazyFrame)
    assert_frame_equal(back.collect(), FRAME.select("i"))


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6).reshape(2, 3),
        np.asfortranarray(np.arange(20_000.0).reshape(100, 200)),
        np.array([]),
        np.array(5.0),
        np.zeros((0, 100_000)),
        np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
        np.array(["2020-01-01"], dtype="M8[D]"),
    ],
    ids=lambda array: str(array.shape),
)
def test_an_array_comes_back_read_only(values: Values, put: Any, array: np.ndarray):
    stored = put(array)
    back = values.decode(stored)
    assert stored.codec == "npy"
    assert type(back) is np.ndarray
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)
    assert not back.flags.writeable


def test_an_array_of_objects_is_a_pickle(put: Any):
    assert put(np.array([Point(1, 2)])).codec == "pickle"


@pytest.mark.parametrize("size", [0, 10, 100_000])
def test_bytes_come_back(values: Values, put: Any, size: int):
    stored = put(b"\xff" * size)
    assert (stored.codec, stored.path is None) == ("bytes", size < 1000)
    assert values.decode(stored) == b"\xff" * size


def test_a_booster_comes_back_in_its_own_text(values: Values, put: Any):
    lgb = pytest.importorskip("lightgbm")
    x = np.random.default_rng(1).random((200, 3))
    booster = lgb.train(
        {"objective": "binary", "verbose": -1, "num_threads": 1}, lgb.Dataset(x, label=x[:, 0] > 0.5), num_boost_round=5
    )
    stored = put(booster)
    assert stored.codec == "lightgbm"
    np.testing.assert_array_equal(values.decode(stored).predict(x), booster.predict(x))


def test_an_estimator_comes_back_and_is_never_shared(values: Values, put: Any):
    linear = pytest.importorskip("sklearn.linear_model")
    x = np.random.default_rng(1).random((50, 2))
    model = linear.SGDClassifier(random_state=1).fit(x, x[:, 0] > 0.5)
    stored = put(model)
    first, second = values.decode(stored), values.decode(stored)
    assert stored.codec == "skops"
    np.testing.assert_array_equal(first.decision_function(x), model.decision_function(x))
    first.partial_fit(x, x[:, 1] > 0.5)
    np.testing.assert_array_equal(second.coef_, model.coef_)


def double(x: np.ndarray) -> np.ndarray:
    return x * 2


def test_an_estimator_with_a_function_of_the_user_is_a_pickle(values: Values, put: Any):
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    stored = put(preprocessing.FunctionTransformer(double))
    assert stored.codec == "pickle"
    assert values.decode(stored).func is double


class TestMembers:
    def test_a_tuple_is_stored_member_by_member(self, values: Values, put: Any):
        stored = put((FRAME, [1, 2, 3], "x"), levels=2)
        assert (stored.codec, stored.length, stored.lengths) == ("tuple", 3, (3, 3, None))
        frame, numbers, text = values.decode(stored)
        assert_frame_equal(frame, FRAME)
        assert (numbers, text) == ([1, 2, 3], "x")

    def test_a_consumer_of_one_member_reads_only_its_file(self, values: Values, put: Any, tmp_path: Path):
        stored = put((pl.DataFrame({"x": [1]}), pl.DataFrame({"y": [2]})))
        next(tmp_path.rglob("1-1.0.arrow")).unlink()
        assert values.item(stored, 1).to_dict(as_series=False) == {"y": [2]}
        with pytest.raises(CodecError, match="the file is gone"):
            values.item(stored, 0)

    def test_two_levels(self, values: Values, put: Any):
        stored = put(((FRAME, (np.arange(3), {"k": (1, 2)})), 5), levels=2)
        assert stored.lengths == (2, None)
        assert values.item(stored, 0, 1, 0).tolist() == [0, 1, 2]
        assert values.item(stored, 0, 1, 1) == {"k": (1, 2)}
        assert values.item(stored, 1) == 5

    def test_lists_and_dicts_of_frames_need_no_pickle(self, values: Values, put: Any):
        stored = put({"fit": FRAME, "tests": [FRAME, FRAME.head(1)]})
        back = values.decode(stored)
        assert stored.codec == "dict"
        assert_frame_equal(back["tests"][1], FRAME.head(1))

    def test_so_many_members_that_their_index_is_a_file(self, values: Values, put: Any):
        stored = put([np.full(1, n) for n in range(150)])
        assert stored.path is not None
        assert stored.length == 150
        assert values.item(stored, 149).tolist() == [149]

    def test_lengths_are_told_as_deep_as_maps_go(self, put: Any):
        nested = [[[1, 2], [3]], [], 4, [[5]]]
        assert put(nested).lengths is None
        assert put(nested, levels=2).lengths == (2, 0, None, 1)
        assert put(nested, levels=3).lengths == ([2, 1], 0, None, [1])
        assert put([1, 2], levels=3).lengths is None
        assert put(["abc"], levels=3).lengths is None

    def test_lengths_inside_frames_and_arrays(self, values: Values, put: Any):
        assert put([[FRAME], [FRAME.head(1)]], levels=3).lengths == ([3], [1])
        assert put(np.zeros((2, 3, 1)), levels=3).lengths == ([1, 1, 1], [1, 1, 1])
        assert put(FRAME, levels=3).lengths is None
        assert values.item(put([[pl.DataFrame({"a": [7]})]]), 0, 0, 0) == {"a": 7}


class TestItems:
    def test_of_a_list_a_row_of_a_frame_and_an_array(self, values: Values, put: Any):
        assert values.item(put([10, 20]), 1) == 20
        assert values.item(put(pl.DataFrame({"a": [1, 2], "b": ["x", "y"]})), 1) == {"a": 2, "b": "y"}
        assert values.item(put(pl.Series([7, 8])), 0) == 7
        assert values.item(put(np.array([[1, 2], [3, 4]])), 1).tolist() == [3, 4]
        assert values.item(put([[1, 2], [3]]), 0, 1) == 2

    def test_ten_thousand_items_read_their_list_once(self, values: Values, put: Any, tmp_path: Path):
        stored = put([{"n": n} for n in range(10_000)])
        assert values.item(stored, 0) == {"n": 0}
        next(tmp_path.rglob("*.json")).unlink()
        assert values.item(stored, 9_999) == {"n": 9_999}

    @pytest.mark.parametrize("value", [[{"n": 1}], [Point(1, 2)] * 2000], ids=["json", "pickle"])
    def test_an_item_that_a_task_changes_is_whole_for_the_next_attempt(
        self, values: Values, put: Any, value: list[Any]
    ):
        stored, before = put(value), copy.deepcopy(value[0])
        item = values.item(stored, 0)
        (item.update(n=2) if isinstance(item, dict) else setattr(item, "x", 9))
        assert values.item(stored, 0) == before


@pytest.mark.parametrize(
    "value", [list(range(9_000)), FRAME, FRAME["i"], Point(1, 2), {"a": (1, {2})}, [Point(1, 2)] * 2000], ids=type
)
def test_what_one_reader_changes_no_other_sees(values: Values, put: Any, value: Any):
    stored = put(value)
    first = values.decode(stored)
    match first:
        case list():
            first.clear()
        case dict():
            first["b"] = 1
        case pl.DataFrame():
            first.insert_column(0, pl.Series("new", [1, 2, 3]))
        case pl.Series():
            first[0] = 99
        case Point():
            first.x = 9
    again = values.decode(stored)
    assert again.equals(value) if isinstance(value, pl.DataFrame | pl.Series) else again == value


@pytest.mark.parametrize(
    "value", [list(range(9_000)), FRAME, np.arange(50_000), b"x" * 20_000, Point("x" * 9000, 1)], ids=type
)
@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_damage_is_found_before_anything_is_parsed(tmp_path: Path, value: Any, damage: str):
    storage = LocalStorage(tmp_path)
    stored = Values(storage).encode(value, prefix="run1/task/0/1-1")
    file = storage.locate(stored.path or "")
    body = bytearray(file.read_bytes())
    match damage:
        case "flip":
            body[len(body) // 2] ^= 1
            file.write_bytes(body)
        case "cut":
            file.write_bytes(body[:-1])
        case _:
            file.unlink()
    with pytest.raises(CodecError) as caught:
        Values(storage).decode(stored)
    assert stored.path in str(caught.value)
    assert "start a new run: a retry reads this file again" in str(caught.value)
    if damage != "gone":
        assert stored.digest in str(caught.value)


class TestRefusals:
    @pytest.mark.parametrize(
        ("value", "kind"),
        [(threading.Lock(), "_thread.lock"), (lambda: 1, "function"), ((n for n in [1]), "generator"), (open, "")],
        ids=["lock", "lambda", "generator", "builtin"],
    )
    def test_the_error_names_task_type_and_cure(self, put: Any, value: Any, kind: str):
        if value is open:  # the one that pickle does take
            assert put(value).codec == "pickle"
            return
        with pytest.raises(CodecError, match=kind) as caught:
            put(value, what="the result of task 'load'")
        assert "the result of task 'load'" in str(caught.value)
        assert caught.value.cure.startswith("return ")

    def test_without_pickle_nothing_is_pickled_and_none_is_read(self, tmp_path: Path):
        storage = LocalStorage(tmp_path)
        strict = Values(storage, allow_pickle=False)
        with pytest.raises(CodecError, match="allow_pickle"):
            strict.encode(Point(1, 2), prefix="run1/t/0/1-1")
        stored = Values(storage).encode(Point(1, 2), prefix="run1/t/0/1-1")
        with pytest.raises(CodecError, match="switched off"):
            strict.decode(stored)

    def test_a_list_that_holds_itself_is_a_pickle(self, values: Values, put: Any):
        ring: list[Any] = []
        ring.append(ring)
        back = values.decode(put(ring))
        assert back[0] is back

    def test_a_codec_of_a_newer_version(self, values: Values):
        with pytest.raises(CodecError, match="upgrade"):
            values.decode(Value("zarr", path="run1/t/0/1-1.zarr"))

    def test_a_frame_with_python_objects(self, put: Any):
        with pytest.raises(CodecError, match="DataFrame"):
            put(pl.DataFrame({"o": pl.Series([Point(1, 2)], dtype=pl.Object)}))


@pytest.mark.parametrize(
    "value",
    [10**5000, [1, 10**5000], {"n": 10**5000}, {"\udcff": 1}, ["\udcff"], {"a\ud800": object}],
    ids=["number", "list of numbers", "dict of numbers", "key", "list", "key of a type"],
)
def test_what_json_cannot_hold_is_kept_or_refused_with_a_code(
    values: Values, put: Any, tmp_path: Path, value: Any
) -> None:
    assert values.decode(put(value)) == value
    strict = Values(LocalStorage(tmp_path / "strict"), allow_pickle=False)
    with pytest.raises(CodecError, match="which cannot be stored: pickle is switched off") as caught:
        strict.encode(value, prefix="run1/task/0/1-1", what="the result of task 'odd'")
    assert caught.value.code == "HR1401"


def test_damages_names_each_file_that_is_not_what_was_written(values: Values, put: Any, tmp_path: Path) -> None:
    stored = put((np.arange(9), {"frame": pl.DataFrame({"a": [1]}), "text": "x"}, b"y" * 9000))
    assert list(values.damages(stored)) == []
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert len(files) == 3
    for file in files[:2]:
        file.write_bytes(file.read_bytes() + b"!")
    assert [error.code for error in values.damages(stored)] == ["HR1410", "HR1410"]


def test_a_booster_without_lightgbm_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    (tmp_path / "a.lgb.txt").write_text("")
    with pytest.raises(MissingExtraError, match=r'pip install "headrace\[lightgbm\]"'):
        Lightgbm().load(tmp_path / "a.lgb.txt")
