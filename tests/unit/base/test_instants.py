from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.base.instants import from_us, iso, to_us
from headrace.errors import ProjectError


def test_dates_and_text_without_an_offset_are_utc() -> None:
    midnight = to_us(datetime(2013, 3, 1, tzinfo=UTC))
    assert to_us(date(2013, 3, 1)) == to_us("2013-03-01") == to_us("2013-03-01T00:00") == midnight


def test_an_offset_counts() -> None:
    brussels = timezone(timedelta(hours=1))
    assert (
        to_us("2013-03-01T06:00+01:00") == to_us("2013-03-01T05:00Z") == to_us(datetime(2013, 3, 1, 6, tzinfo=brussels))
    )


def test_the_two_passes_of_a_repeated_hour_are_an_hour_apart() -> None:
    first = datetime(2024, 11, 3, 1, 30, tzinfo=ZoneInfo("America/New_York"))
    assert to_us(first.replace(fold=1)) - to_us(first) == 3_600_000_000


def test_a_naive_datetime_is_refused_with_the_cure() -> None:
    with pytest.raises(ProjectError, match="naive") as error:
        to_us(datetime(2013, 3, 1, 5))  # noqa: DTZ001
    assert "2013-03-01T05:00:00Z" in (error.value.cure or "")


@pytest.mark.parametrize("text", ["", "yesterday", "2013-13-01", "01/03/2013", 5, None])
def test_what_is_no_instant_is_refused(text: str) -> None:
    with pytest.raises(ProjectError, match="expected") as error:
        to_us(text)
    assert "2013-03-01T05:00Z" in (error.value.cure or "")


def test_nanoseconds_are_noticed() -> None:
    with pytest.raises(ProjectError, match="years 1 to 9999") as error:
        from_us(1_362_000_000_000_000_000)
    assert "nanoseconds" in (error.value.cure or "")


@pytest.mark.parametrize(
    "text", ["2013-03-01T05:00Z", "2013-03-01T05:00:07Z", "2013-03-01T05:00:00.250000Z", "0001-01-01T00:00Z"]
)
def test_iso_is_as_short_as_it_is_exact(text: str) -> None:
    assert iso(to_us(text)) == text


@pytest.mark.parametrize(
    "instant",
    [
        "9999-12-31T23:59:59-05:00",
        "0001-01-01T00:00+05:00",
        datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-5))),
    ],
)
def test_an_instant_that_leaves_the_years_on_its_way_to_utc_is_refused(instant: str | datetime) -> None:
    with pytest.raises(ProjectError, match="years 1 to 9999 in UTC"):
        to_us(instant)


def test_the_first_and_the_last_instant_are_taken() -> None:
    for text in ("0001-01-01T00:00Z", "9999-12-31T23:59:59.999999Z"):
        assert iso(to_us(text)) == text


@pytest.mark.parametrize(
    ("near", "days", "shown"),
    [
        ("9999-12-31", 1, "+10000-01-01T00:00Z"),
        ("9996-12-31", 146_097 * 2, "+10796-12-31T00:00Z"),
        ("0001-01-01", -1, "+0000-12-31T00:00Z"),
        ("0001-01-01", -366, "+0000-01-01T00:00Z"),
        ("0001-01-01", -367, "-0001-12-31T00:00Z"),
    ],
)
def test_what_no_calendar_of_python_holds_is_written_all_the_same(near: str, days: int, shown: str) -> None:
    assert iso(to_us(near) + days * 86_400_000_000) == shown


@settings(max_examples=100, deadline=None)
@given(st.datetimes(timezones=st.just(UTC)))
def test_every_instant_survives_the_way_there_and_back(moment: datetime) -> None:
    assert from_us(to_us(moment)) == moment == from_us(to_us(iso(to_us(moment))))
