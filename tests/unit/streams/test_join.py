"""The as-of join: what was known at a moment, in one batch or in many."""

from __future__ import annotations

import math

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.definitions.project import JoinDef, RunningDef
from headrace.errors import SchemaError
from headrace.streams.join import Side, join_asof, sort_history

INSTANT = pl.Datetime("us", "UTC")
WEATHER = JoinDef(topic="weather", on="origin", as_of="announced", known="known", tolerance_us=100)
RECENT = JoinDef(
    topic="outcomes",
    on="origin",
    as_of="announced",
    known="known",
    running=RunningDef(by="origin", sums=("late",), within_us=100),
)


def flights(*rows: tuple[str | None, int | None]) -> pl.DataFrame:
    schema = {"origin": pl.String, "announced": INSTANT}
    return pl.DataFrame(rows, schema=schema, orient="row").with_row_index("flight")


def weather(*rows: tuple[str, int | None, float]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"origin": pl.String, "known": INSTANT, "temp": pl.Float64}, orient="row")


def outcomes(*rows: tuple[str, int, bool | None]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"origin": pl.String, "known": INSTANT, "late": pl.Boolean}, orient="row")


def test_a_row_takes_the_newest_that_was_known_at_its_moment():
    joined = join_asof(flights(("EWR", 50)), weather(("EWR", 10, 1.0), ("EWR", 40, 2.0), ("EWR", 51, 3.0)), WEATHER)
    assert joined["temp"].to_list() == [2.0]


def test_a_row_known_exactly_at_the_moment_counts_and_of_equals_the_last_wins():
    joined = join_asof(flights(("EWR", 50)), weather(("EWR", 50, 1.0), ("EWR", 50, 2.0)), WEATHER)
    assert joined["temp"].to_list() == [2.0]


def test_the_tolerance_is_inclusive_and_an_older_row_gives_null():
    history = weather(("EWR", 10, 1.0))
    assert join_asof(flights(("EWR", 110), ("EWR", 111)), history, WEATHER)["temp"].to_list() == [1.0, None]


def test_other_keys_null_keys_and_null_moments_find_nothing():
    left = flights(("JFK", 50), (None, 50), ("EWR", None), ("EWR", 50))
    assert join_asof(left, weather(("EWR", 10, 1.0)), WEATHER)["temp"].to_list() == [None, None, None, 1.0]


def test_rows_keep_their_order_and_history_may_be_unsorted_with_unknown_times():
    left = flights(("EWR", 90), ("EWR", 20), ("EWR", 60))
    history = sort_history(weather(("EWR", 55, 2.0), ("EWR", None, 9.0), ("EWR", 15, 1.0)), WEATHER)
    joined = join_asof(left, history, WEATHER)
    assert joined["flight"].to_list() == [0, 1, 2]
    assert joined["temp"].to_list() == [2.0, 1.0, 2.0]


def test_key_and_known_time_are_left_out_and_a_taken_name_gets_the_topic_in_front():
    left = flights(("EWR", 50)).with_columns(temp=pl.lit(0.5))
    joined = join_asof(left, weather(("EWR", 10, 1.0)), WEATHER)
    assert joined.columns == ["flight", "origin", "announced", "temp", "weather_temp"]
    with pytest.raises(SchemaError, match="two columns named 'weather_temp'"):
        join_asof(joined, weather(("EWR", 10, 1.0)), WEATHER)


def test_only_the_chosen_columns_are_joined_and_a_missing_one_is_named():
    chosen = JoinDef(topic="weather", on="origin", as_of="announced", known="known", columns=("wind",))
    with pytest.raises(SchemaError, match="needs the column 'wind' of topic 'weather'"):
        join_asof(flights(("EWR", 50)), weather(), chosen)
    windy = weather(("EWR", 10, 1.0)).with_columns(wind=pl.lit(7))
    assert join_asof(flights(("EWR", 50)), windy, chosen).columns[3:] == ["wind"]


def test_an_empty_history_gives_nulls_of_the_right_type():
    joined = join_asof(flights(("EWR", 50)), weather(), WEATHER)
    assert joined["temp"].to_list() == [None]
    assert joined["temp"].dtype == pl.Float64


def test_running_figures_count_what_became_known_within_the_span():
    history = outcomes(("EWR", 0, True), ("EWR", 1, True), ("EWR", 50, False), ("JFK", 60, True), ("EWR", 100, None))
    joined = join_asof(flights(("EWR", 100), ("JFK", 59), ("LGA", 1)), history, RECENT)
    assert joined["outcomes_count"].to_list() == [3, 0, 0]
    assert joined["outcomes_late"].to_list() == [1, 0, 0]


def test_running_totals_without_a_span_go_back_to_the_beginning():
    total = JoinDef(topic="outcomes", on="origin", as_of="announced", known="known", running=RunningDef(by="origin"))
    joined = join_asof(flights(("EWR", 10**9)), outcomes(("EWR", 0, True), ("EWR", 1, False)), total)
    assert joined["outcomes_count"].to_list() == [2]


def payments(*rows: tuple[str, int, float | None]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"origin": pl.String, "known": INSTANT, "late": pl.Float64}, orient="row")


def test_a_running_sum_knows_nothing_of_what_came_before_its_span():
    nan, inf = float("nan"), float("inf")
    before = payments(("EWR", 0, 1e16), ("EWR", 1, nan), ("EWR", 2, inf), ("EWR", 3, -inf))
    within = payments(("EWR", 500, 1.0), ("JFK", 505, nan), ("EWR", 510, 2.0), ("EWR", 900, 0.1))
    left = flights(("EWR", 500), ("EWR", 510), ("EWR", 900), ("EWR", 700), ("JFK", 510))
    whole = join_asof(left, pl.concat([before, within]), RECENT)["outcomes_late"].to_list()
    assert whole[:4] == [1.0, 3.0, 0.1, 0.0]
    assert math.isnan(whole[4])
    alone = join_asof(left, within, RECENT)["outcomes_late"].to_list()
    assert str(alone) == str(whole)


MOMENTS = st.integers(0, 400)
LEFT = st.lists(st.tuples(st.sampled_from(["EWR", "JFK"]), MOMENTS), max_size=25)
HISTORY = st.lists(st.tuples(st.sampled_from(["EWR", "JFK", "LGA"]), MOMENTS, st.booleans()), max_size=25)
JOINS = st.sampled_from(
    [
        JoinDef(topic="outcomes", on="origin", as_of="announced", known="known", tolerance_us=100),
        JoinDef(topic="outcomes", on="origin", as_of="announced", known="known"),
        RECENT,
        JoinDef(
            topic="outcomes", on="origin", as_of="announced", known="known", running=RunningDef("origin", ("late",))
        ),
    ]
)


@settings(deadline=None, max_examples=150)
@given(LEFT, HISTORY, JOINS, st.lists(st.integers(1, 7)))
def test_any_split_into_batches_gives_the_rows_of_one_big_join(left, history, join, cuts):
    """Live, rows of the history come in any pieces and old ones are forgotten; the result is the same."""
    rows, sides = flights(*sorted(left, key=lambda row: row[1])), outcomes(*history)
    whole = join_asof(rows, sort_history(sides, join), join)
    side = Side(join, sides.head(0))
    side.extend(sides.head(3), {0: 3})
    side.extend(sides.slice(3), {0: len(sides)})
    parts = [whole.head(0)]
    at = 0
    for size in [*cuts, len(rows)]:
        batch = rows.slice(at, size)
        at += size
        if batch.is_empty():
            continue
        side.evict(int(batch["announced"].to_physical()[0]))
        assert not side.lacks(batch)
        parts.append(side.join_to(batch))
    assert pl.concat(parts).equals(whole)


ODD = st.sampled_from([0.1, 0.2, 0.3, 1e16, 1.0, -1e16, float("nan"), float("inf"), None])
PAID = st.lists(st.tuples(st.sampled_from(["EWR", "JFK"]), MOMENTS, ODD), max_size=40)


@settings(deadline=None, max_examples=100)
@given(LEFT, PAID)
def test_a_running_sum_of_floats_is_the_same_to_the_bit_for_a_row_alone_and_among_others(left, paid):
    rows = flights(*left)
    side = Side(RECENT, payments(*paid))
    whole = join_asof(rows, side.rows, RECENT)
    for row in range(len(rows)):
        assert side.join_to(rows.slice(row, 1)).equals(whole.slice(row, 1))


def test_a_batch_that_looks_further_back_than_what_is_held_says_so():
    side = Side(WEATHER, weather(("EWR", 10, 1.0), ("EWR", 300, 2.0)))
    side.evict(250)
    assert len(side.rows) == 1
    assert side.lacks(flights(("EWR", 249)))
    assert not side.lacks(flights(("EWR", 250)))
