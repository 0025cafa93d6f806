from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import ProjectError, SchemaError
from headrace.models.split import check_fit_test, event_times_us, split

MARCH = datetime(2013, 3, 1, tzinfo=UTC)
FEBRUARY = pl.DataFrame(
    {"announced": [datetime(2013, 2, day, 12, tzinfo=UTC) for day in (20, 1, 26, 12, 13)], "row": range(5)}
)


def test_the_last_days_before_the_windows_end_are_the_test() -> None:
    fit, test = split(FEBRUARY, last="14d", by="announced", end=datetime(2013, 2, 27, tzinfo=UTC))
    assert fit["row"].to_list() == [1, 3]
    assert test["row"].to_list() == [0, 2, 4]


def test_without_an_end_the_newest_row_is_it_and_the_border_belongs_to_the_test() -> None:
    fit, test = split(FEBRUARY, last=timedelta(days=13), by="announced")
    assert fit["row"].to_list() == [1, 3]
    assert test["row"].to_list() == [0, 2, 4]


@pytest.mark.parametrize(
    "column",
    [
        FEBRUARY["announced"].dt.cast_time_unit("ms"),
        FEBRUARY["announced"].dt.cast_time_unit("ns"),
        FEBRUARY["announced"].dt.replace_time_zone(None),
        FEBRUARY["announced"].dt.convert_time_zone("America/New_York"),
        FEBRUARY["announced"].dt.epoch("us"),
    ],
    ids=["ms", "ns", "naive", "New York", "integer"],
)
def test_all_forms_of_an_instant_are_the_same_microseconds(column: pl.Series) -> None:
    expected = event_times_us(FEBRUARY, "announced").tolist()
    assert event_times_us(pl.DataFrame({"announced": column}), "announced").tolist() == expected


@given(st.lists(st.integers(0, 100), min_size=2).filter(lambda times: len(set(times)) > 1), st.integers(0, 99))
def test_a_split_loses_no_row_and_passes_its_own_check(times: list[int], last_us: int) -> None:
    rows = pl.DataFrame({"at": times}, schema={"at": pl.Int64})
    length = timedelta(microseconds=min(last_us, max(times) - min(times) - 1))
    fit, test = split(rows, last=length, by="at")
    assert sorted(fit["at"].to_list() + test["at"].to_list()) == sorted(times)
    assert check_fit_test(fit["at"].to_numpy(), test["at"].to_numpy()) == test["at"].min()


def test_a_split_that_leaves_nothing_to_fit_says_what_the_rows_span() -> None:
    with pytest.raises(ProjectError, match="`fit` would be empty: the rows reach from 2013-02-01T12:00Z"):
        split(FEBRUARY, last="60d", by="announced")
    with pytest.raises(ProjectError, match="`test` would be empty"):
        split(FEBRUARY, last="1d", by="announced", end=MARCH)


def test_no_rows_are_refused() -> None:
    with pytest.raises(ProjectError, match="got none"):
        split(FEBRUARY.head(0), last="1d", by="announced")


def test_the_event_time_must_be_there_whole_and_a_time() -> None:
    with pytest.raises(SchemaError, match="no column 'when' among announced, row"):
        split(FEBRUARY, last="1d", by="when")
    with pytest.raises(SchemaError, match="2 of 3 rows have no event time"):
        split(pl.DataFrame({"at": [None, None, 3]}), last="1d", by="at")
    with pytest.raises(SchemaError, match="got String"):
        split(pl.DataFrame({"at": ["2013"]}), last="1d", by="at")


def test_a_test_that_begins_before_the_fit_ends_is_refused_with_both_times() -> None:
    with pytest.raises(ProjectError, match=r"first row is of 1970-01-01T00:00Z.*of `fit` of 1970-01-02T00:00Z"):
        check_fit_test([86_400_000_000], [0, 99_999_999_999])


def test_equal_times_at_the_border_are_refused() -> None:
    with pytest.raises(ProjectError, match="must be later"):
        check_fit_test([1, 5], [5, 9])


def test_a_part_without_rows_has_no_cutoff() -> None:
    with pytest.raises(ProjectError, match="got 2 and 0"):
        check_fit_test([1, 2], [])
