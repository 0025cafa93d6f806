"""Features know nothing of the future, depend on one flight alone, and train a model that tells late from punctual."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest

from headrace.demo import asof, record, weeks
from headrace.demo.project.flights import features

SAMPLE = tuple(range(7_000, 336_000, 54_000))


@pytest.mark.parametrize("position", SAMPLE)
def test_features_do_not_change_when_all_that_is_known_later_is_removed(
    year: record.Record, live: pl.DataFrame, position: int
) -> None:
    moment = live["announced"][position]
    past = record.step(year, moment - timedelta(days=2), moment + timedelta(microseconds=1))
    then = asof.live_flights(past).filter(pl.col("announced") == moment)
    now = live.filter(pl.col("announced") == moment)
    assert then.height == now.height > 0
    assert features.features(then).equals(features.features(now))


@pytest.mark.parametrize("position", SAMPLE)
def test_as_of_joins_agree_with_a_plain_search(year: record.Record, live: pl.DataFrame, position: int) -> None:
    flight = live.row(position, named=True)
    at, here = flight["announced"], pl.col("origin") == flight["origin"]
    span = pl.col("known").is_between(at - timedelta(hours=3), at, closed="right")
    outcomes = year.outcomes.filter(here, span)
    assert (flight["outcomes_count"], flight["outcomes_late"]) == (outcomes.height, outcomes["late"].sum())
    newest = year.weather.filter(here, pl.col("known") <= at).row(-1, named=True)
    fresh = at - newest["known"] <= timedelta(hours=3)
    assert all(flight[name] == (newest[name] if fresh else None) for name in features.WEATHER)


def test_weather_that_is_too_old_is_no_weather(live: pl.DataFrame) -> None:
    assert live["visib"].null_count() == 776  # the record of the weather ends on December 30
    assert live["temp"].null_count() == 799  # and one report of August has no temperature


def test_nightly_features_are_those_of_the_midnight_before(year: record.Record) -> None:
    days = record.days()
    week = record.step(year, days[2], days[6])
    rows = asof.nightly_flights(week).filter(pl.col("announced") >= days[4])
    per_day = rows.group_by("origin", pl.col("announced").dt.convert_time_zone("America/New_York").dt.date())
    assert per_day.agg(pl.col("temp", "outcomes_count", "outcomes_late").n_unique())["outcomes_count"].max() == 1
    known = week.outcomes.filter(pl.col("known").is_between(days[3], days[4], closed="right"), origin="EWR")
    first = rows.filter(origin="EWR").row(0, named=True)
    assert (first["outcomes_count"], first["outcomes_late"]) == (known.height, known["late"].sum())


def test_features_of_one_flight_do_not_depend_on_the_others(live: pl.DataFrame) -> None:
    rows = live.slice(100_000, 50)
    alone = pl.concat([features.features(rows.slice(n, 1)) for n in range(rows.height)])
    assert alone.equals(features.features(rows))
    assert tuple(alone.columns) == features.FEATURES


def test_every_airport_and_carrier_of_the_year_has_a_code(live: pl.DataFrame) -> None:
    coded = features.features(live)
    assert coded.select("carrier", "origin", "dest").null_count().sum_horizontal().item() == 0
    assert coded["dest"].n_unique() == len(features.DESTINATIONS) == len(set(features.DESTINATIONS))


def test_an_unknown_carrier_has_no_code_and_is_still_scored(live: pl.DataFrame) -> None:
    stranger = live.head(1).with_columns(carrier=pl.lit("ZZ"), dest=pl.lit("QQQ"))
    assert features.features(stranger).select("carrier", "dest").row(0) == (None, None)


def test_training_repeats_and_predictions_do_not_depend_on_batches(live: pl.DataFrame) -> None:
    rows, ahead = live.head(20_000), live.slice(20_000, 5_000)
    model = features.train(rows, rounds=20)
    whole = features.predict(model, ahead)
    pieces = pl.concat([features.predict(model, ahead.slice(start, 777)) for start in range(0, 5_000, 777)])
    assert pieces.equals(whole)
    assert features.predict(features.train(rows, rounds=20), ahead).equals(whole)
    assert weeks.auc(ahead["late"], whole) > 0.6
    assert features.predict(model, ahead.clear()).is_empty()
