from __future__ import annotations

import copy
import pickle
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.base.instants import from_us
from headrace.data.events import Events, OffsetRange
from headrace.data.window import Window
from headrace.errors import ProjectError

MARCH = datetime(2013, 3, 2, tzinfo=UTC)
YEARS_US = st.integers(min_value=-(10**15), max_value=10**16)
LENGTHS_US = st.integers(min_value=1, max_value=10**15)


@pytest.mark.parametrize("end", ["60d", "2013-03-02", "2013-03-02T01:00+01:00", MARCH, date(2013, 3, 2), timedelta(60)])
def test_an_end_is_an_instant_or_a_length(end: str | date | datetime | timedelta) -> None:
    window = Window("2013-01-01", end)
    assert window == Window(date(2013, 1, 1), MARCH)
    assert window.duration == timedelta(days=60)
    assert window.end.tzinfo is UTC


def test_the_start_belongs_to_the_window_and_the_end_does_not() -> None:
    window = Window("2013-01-01", "1h")
    assert window.contains("2013-01-01")
    assert window.contains("2013-01-01T00:59:59.999999Z")
    assert not window.contains("2013-01-01T01:00Z")
    assert not window.contains("2012-12-31T23:59:59.999999Z")


@pytest.mark.parametrize("end", ["2013-01-01", "2012-12-31", "0s"])
def test_an_empty_or_inverted_window_is_refused(end: str) -> None:
    with pytest.raises(ProjectError, match="ends after it starts"):
        Window("2013-01-01", end)


@pytest.mark.parametrize("end", ["tomorrow", "2013-99-01", "60", ""])
def test_an_end_that_is_neither_names_both_forms(end: str) -> None:
    with pytest.raises(ProjectError, match="instant or after a length") as error:
        Window("2013-01-01", end)
    assert '"60d"' in (error.value.cure or "")
    assert '"2013-03-02"' in (error.value.cure or "")


def test_all_time_begins_at_the_epoch() -> None:
    window = Window.until("2013-03-02")
    assert (window.start_us, window.end) == (0, MARCH)


def test_a_window_is_a_value() -> None:
    window = Window("2013-01-01", "60d")
    assert {window: 1}[Window("2013-01-01", "2013-03-02")] == 1
    assert pickle.loads(pickle.dumps(window)) == copy.deepcopy(window) == window
    with pytest.raises(AttributeError):
        window.start = MARCH  # type: ignore[misc]


@settings(max_examples=100, deadline=None)
@given(YEARS_US, LENGTHS_US)
def test_all_ways_of_naming_a_window_agree(start_us: int, length_us: int) -> None:
    window = Window.of(start_us, start_us + length_us)
    assert (window.start_us, window.end_us) == (start_us, start_us + length_us)
    assert Window.ending(window.end, window.duration) == Window(window.start, window.duration) == window
    assert eval(repr(window), {"Window": Window}) == window


@settings(max_examples=100, deadline=None)
@given(YEARS_US, LENGTHS_US, LENGTHS_US)
def test_an_instant_lies_in_exactly_one_of_two_neighbours(start_us: int, left_us: int, right_us: int) -> None:
    left = Window.of(start_us, start_us + left_us)
    right = Window.of(left.end_us, left.end_us + right_us)
    assert left < right
    for us in {start_us, left.end_us - 1, left.end_us, right.end_us - 1}:
        assert left.contains(from_us(us)) != right.contains(from_us(us))


def test_events_count_the_offsets_of_their_ranges() -> None:
    events = Events("departures", (OffsetRange("departures", 0, 5, 8), OffsetRange("departures", 2, 0, 1)))
    assert events.count == 4


@pytest.mark.parametrize(("partition", "first", "end"), [(0, 5, 5), (0, 5, 4), (0, -1, 4), (-1, 0, 4)])
def test_a_range_without_offsets_is_refused(partition: int, first: int, end: int) -> None:
    with pytest.raises(ProjectError, match="departures/"):
        OffsetRange("departures", partition, first, end)


def test_events_of_two_topics_are_refused() -> None:
    with pytest.raises(ProjectError, match="outcomes"):
        Events("departures", (OffsetRange("outcomes", 0, 0, 1),))
