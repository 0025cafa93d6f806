from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.drift.histogram import Histogram
from headrace.errors import SchemaError

numbers = st.one_of(st.none(), st.floats(width=32), st.integers(-1000, 1000))
texts = st.one_of(st.none(), st.sampled_from(["AA", "DL", "UA", "neu"]))
columns = st.one_of(
    st.tuples(st.lists(st.floats(-1e6, 1e6), min_size=1), st.lists(st.lists(numbers), min_size=3, max_size=3)),
    st.tuples(st.lists(st.sampled_from(["AA", "DL"]), min_size=1), st.lists(st.lists(texts), min_size=3, max_size=3)),
)


@given(columns)
def test_merging_shards_in_any_order_equals_counting_all_rows_at_once(column: tuple[list, list]) -> None:
    reference_values, shards = column
    reference = Histogram.freeze(reference_values)
    a, b, c = (reference.like(shard) for shard in shards)
    whole = reference.like([value for shard in shards for value in shard])
    assert a.merge(b).merge(c) == a.merge(b.merge(c)) == c.merge(a).merge(b) == whole


@given(columns)
def test_every_row_is_in_one_bin_or_missing(column: tuple[list, list]) -> None:
    reference_values, shards = column
    rows = shards[0]
    histogram = Histogram.freeze(reference_values).like(rows)
    assert histogram.rows == len(rows)
    assert histogram.missing == sum(value is None or value != value for value in rows)


@given(columns, st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_no_bit(column: tuple[list, list], random: object) -> None:
    values = list(column[0])
    first = Histogram.freeze(values)
    random.shuffle(values)  # type: ignore[attr-defined]
    assert msgspec.json.encode(Histogram.freeze(values)) == msgspec.json.encode(first)


@given(columns)
def test_json_gives_back_the_same_histogram(column: tuple[list, list]) -> None:
    reference = Histogram.freeze(column[0])
    assert msgspec.json.decode(msgspec.json.encode(reference), type=Histogram) == reference


def test_many_distinct_numbers_get_quantile_bins_with_half_a_per_cent_outside_on_each_side() -> None:
    reference = Histogram.freeze(np.random.default_rng(1).permutation(np.arange(20_000.0)))
    assert len(reference.counts) == 34
    assert reference.counts[0] == reference.counts[-1] == 100
    assert max(reference.counts[1:-1]) - min(reference.counts[1:-1]) <= 1


def test_few_distinct_numbers_get_a_bin_each() -> None:
    weekdays = Histogram.freeze([5, 0, 6, 0, 1])
    assert weekdays.counts == (0, 2, 1, 1, 1, 0)
    assert weekdays.like([7, -1, 3]).outside == 2


def test_a_constant_is_known_and_everything_else_is_outside() -> None:
    constant = Histogram.freeze([3.0] * 10)
    assert constant.like([3.0, 2.9, 3.1, None]).counts == (1, 1, 1)


def test_a_column_that_is_nearly_always_zero_keeps_zero_as_its_inner_bin() -> None:
    rain = Histogram.freeze([0.0] * 99_900 + [float(i) for i in range(1, 101)])
    assert rain.edges == (0.0, 0.0)
    assert rain.counts == (0, 99_900, 100)


def test_infinities_lie_outside_and_do_not_enter_mean_and_sd() -> None:
    reference = Histogram.freeze([1.0, 3.0, math.inf, -math.inf])
    assert (reference.mean, reference.sd) == (2.0, 1.0)
    assert reference.outside == 2


def test_a_reference_without_values_knows_nothing() -> None:
    empty = Histogram.freeze([None, None])
    assert (empty.missing, empty.present) == (2, 0)
    assert empty.like([1.0, None]).outside == 1


def test_of_too_many_categories_the_most_frequent_are_kept() -> None:
    ids = Histogram.freeze([f"id-{i}" for i in range(1_500)] + ["id-1400"])
    assert len(ids.categories) == 1_000
    assert "id-1400" in ids.categories
    assert ids.outside == 500


def test_booleans_with_missing_values_are_the_same_categories_as_without() -> None:
    flag = Histogram.freeze(np.array([True, False, True]))
    assert flag.like(np.array([True, None], dtype=object)).counts == (0, 1, 0)


def test_texts_where_numbers_were_frozen_are_refused() -> None:
    with pytest.raises(SchemaError, match="expected numbers"):
        Histogram.freeze([1.0, 2.0]).like(["a"])


def test_times_are_refused_with_a_cure() -> None:
    with pytest.raises(SchemaError, match="hour of the day"):
        Histogram.freeze(np.array(["2013-01-01"], dtype="datetime64[us]"))


def test_histograms_of_different_references_do_not_merge() -> None:
    with pytest.raises(SchemaError, match="bins differ"):
        Histogram.freeze([1.0, 2.0]).merge(Histogram.freeze([1.0, 3.0]))
