"""The topics and the model: names, keys, times, and the policy of the model in one place."""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict

import lightgbm as lgb

import headrace as hr


class Departure(TypedDict):
    """A flight, announced two hours before its scheduled departure."""

    flight_id: str
    carrier: str
    origin: str
    dest: str
    flight: int
    scheduled: datetime
    hour: int
    minute: int
    distance: int
    announced: datetime
    weekday: int


class Weather(TypedDict):
    """An hourly report; `known` is when a reader could first have had it."""

    origin: str
    observed: datetime
    known: datetime
    temp: float | None
    dewp: float | None
    humid: float | None
    wind_dir: float | None
    wind_speed: float | None
    precip: float | None
    pressure: float | None
    visib: float | None


class Outcome(TypedDict):
    """What became of a flight: landed, cancelled or diverted. `late`: 15 minutes or more, or it never came."""

    flight_id: str
    origin: str
    known: datetime
    late: bool
    diverted: bool
    cancelled: bool


departures = hr.Topic("departures", schema=Departure, key="flight_id", event_time="announced")
weather = hr.Topic("weather", schema=Weather, key="origin", event_time="known")
outcomes = hr.Topic("outcomes", schema=Outcome, key="flight_id", event_time="known")
scores = hr.Topic("scores", key="flight_id", event_time="announced")

# As-of joins never wait: each flight gets the newest report, and the outcomes, that were known when it was announced.
flights = departures.join(weather, on="origin", as_of="announced", tolerance="3h").join(
    outcomes.running(by="origin", sums=["late"], within="3h"), on="origin", as_of="announced"
)

delay = hr.Model(
    "delay",
    lgb.Booster,
    labels=outcomes,
    on="flight_id",
    label="late",
    mature="48h",
    promote=hr.if_better("auc", by=0.003),
    cooldown="14d",
)
