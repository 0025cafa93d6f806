"""What was known at a given moment: as-of joins of the demo in plain polars.

Per airport only rows with `known` at or before the moment count; nothing waits and nothing is filled in.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from headrace.demo.record import Record

TOLERANCE = timedelta(hours=3)  # a flight whose newest weather is older has none
RECENT = timedelta(hours=3)
_DAY = timedelta(days=1)


def live_flights(record: Record) -> pl.DataFrame:
    """Departures with what was known when each was announced, and `late`; sorted by (announced, flight_id)."""
    weather = join_weather(record.departures, record.weather)
    return _labelled(join_recent(weather, record.outcomes), record.outcomes)


def nightly_flights(record: Record) -> pl.DataFrame:
    """The same columns as a nightly batch has them: as of the last New York midnight, outcomes of the day before it."""
    local = pl.col("announced").dt.convert_time_zone("America/New_York")
    rows = record.departures.with_columns(_night=local.dt.truncate("1d").dt.convert_time_zone("UTC"))
    weather = join_weather(rows, record.weather, at="_night")
    recent = join_recent(weather, record.outcomes, at="_night", span=_DAY)
    return _labelled(recent.drop("_night"), record.outcomes)


def join_weather(flights: pl.DataFrame, weather: pl.DataFrame, at: str = "announced") -> pl.DataFrame:
    """Add the weather of the newest row of the origin that was known at column `at` and is not too old, else null.

    `flights` must be sorted by `at`, `weather` by `known`.
    """
    return _as_of(flights, weather.drop("observed"), at, TOLERANCE)


def join_recent(
    flights: pl.DataFrame, outcomes: pl.DataFrame, at: str = "announced", span: timedelta = RECENT
) -> pl.DataFrame:
    """Add `outcomes_count`, the outcomes of the origin that became known in `(at - span, at]`, and `outcomes_late` of them.

    `flights` must be sorted by `at`, `outcomes` by `known`; any history of outcomes that reaches back `span` will do.
    """
    running = outcomes.select(
        "origin",
        "known",
        _count=pl.int_range(1, pl.len() + 1).over("origin"),
        _late=pl.col("late").cast(pl.Int64).cum_sum().over("origin"),
    )
    before = running.rename({"_count": "_count_before", "_late": "_late_before"})
    both = _as_of(_as_of(flights.with_columns(_from=pl.col(at) - span), running, at), before, "_from")
    return both.select(
        *flights.columns,
        outcomes_count=pl.col("_count").fill_null(0) - pl.col("_count_before").fill_null(0),
        outcomes_late=pl.col("_late").fill_null(0) - pl.col("_late_before").fill_null(0),
    )


def _as_of(flights: pl.DataFrame, rows: pl.DataFrame, at: str, tolerance: timedelta | None = None) -> pl.DataFrame:
    newest = flights.join_asof(
        rows, left_on=at, right_on="known", by="origin", tolerance=tolerance, check_sortedness=False
    )
    return newest.drop("known", strict=False)


def _labelled(flights: pl.DataFrame, outcomes: pl.DataFrame) -> pl.DataFrame:
    return flights.join(outcomes.select("flight_id", "late"), on="flight_id", how="left", maintain_order="left")
