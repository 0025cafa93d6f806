"""A project as users write it; both type checkers find nothing in it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypedDict, assert_type

import polars as pl

import headrace as hr


class Departure(TypedDict):
    flight_id: str
    origin: str


class Booster:
    def score(self, rows: pl.DataFrame) -> pl.Series:
        return rows["score"]


departures = hr.Topic("departures", schema=Departure, key="flight_id", event_time="announced", partitions=4)
outcomes = hr.Topic("outcomes", key="flight_id", event_time="known")
weather = hr.Table("weather", known="known")
orders = hr.Table("orders", by="window")
scores = hr.Topic("scores", key="flight_id")
warehouse = hr.Secret("warehouse")
delay = hr.Model(
    "delay",
    Booster,
    labels=outcomes,
    on="flight_id",
    label="late",
    mature="48h",
    promote=hr.if_better("auc", by=0.003),
    cooldown="14d",
)
flights = departures.join(weather, on="origin", as_of="announced", tolerance="3h").join(
    departures.running(by="origin", sums=["late"], within="3h"), on="origin", as_of="announced"
)


@hr.task(retries=3, timeout="10m")
def ingest(window: hr.Window) -> pl.DataFrame:
    warehouse.value()
    return delay.examples(flights, window)


@hr.task
def train(rows: pl.DataFrame, rounds: int) -> Booster:
    assert_type(hr.current().attempt, int)
    return Booster()


@hr.task(to=orders)
def clean(rows: pl.DataFrame, *, strict: bool = True) -> pl.DataFrame:
    return rows


@hr.task
def countries() -> list[str]:
    return ["dk"]


@hr.task
def load(country: str, year: int = 2026) -> pl.DataFrame:
    return pl.DataFrame({"country": [country], "year": [year]})


@hr.task
def join(frames: Iterable[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(frames)


@hr.task
def classify(row: dict[str, Any]) -> str:
    return str(row)


@hr.task
async def fetch(url: str) -> bytes:
    return url.encode()


@hr.task
def enough(rows: pl.DataFrame) -> bool:
    return rows.height > 10


@hr.task
def start() -> None: ...


@hr.task
def stop() -> None: ...


def predict(model: Booster, rows: pl.DataFrame) -> pl.Series:
    return model.score(rows)


@hr.pipeline(window="all")
def retrain(window: hr.Window, rounds: int = 200) -> int:
    rows = ingest(window)
    assert_type(rows, pl.DataFrame)
    fit, test = hr.split(rows, last="14d")
    model = hr.when(enough(fit), lambda: train(fit, rounds), lambda: None)
    assert_type(model, Booster | None)
    version = delay.register(train(fit, rounds), fit=fit, test=test, predict=predict)
    assert_type(version, int)
    return version


@hr.pipeline(schedule="@daily", timezone="Europe/Brussels", catchup=True, start="2026-01-01")
def nightly(window: hr.Window) -> pl.DataFrame:
    with hr.group("load"):
        frames = load.map(countries())
        assert_type(frames, list[pl.DataFrame])
        far = load.using(name="far", retries=2, rate="500/m", concurrency=4)("no", year=2025)
    pages = fetch.map(["a", "b"])
    assert_type(pages, list[bytes])
    nested = hr.map(lambda c: hr.map(classify, load(c)), countries())
    assert_type(nested, list[list[str]])
    hr.chain(far, [pages, nested], stop)
    start >> [stop]
    orders.write(clean(far))
    retrain(window)
    return join(frames)


@hr.stream(flights, to=scores, bind={"model": delay.champion()}, rows="each", retry_on=(TimeoutError,))
def score(batch: pl.DataFrame, model: Booster) -> pl.DataFrame:
    return batch.with_columns(p_late=predict(model, batch))


watch = hr.monitor(
    scores,
    model=delay,
    window="7d",
    min_rows=5_000,
    drift={"temp": hr.unseen(above=0.10)},
    performance=hr.auc(prediction="p_late", below=0.66),
)
retrain.on(watch.drift(consecutive=2), watch.performance(consecutive=2))
nightly.on(hr.event(outcomes, where="diverted", count=20, within="24h"), hr.updated(weather))


def notebook() -> None:
    run = nightly.run(hr.Window("2026-01-01", "1d"))
    assert_type(run.result(), pl.DataFrame)
    assert_type(run[clean], pl.DataFrame)
    assert_type(delay.load(), Booster)
    assert_type(load("dk"), pl.DataFrame)
    assert_type(fetch("a"), bytes)
    assert_type(score(weather.read(), Booster()), pl.DataFrame)
    departures.append([{"flight_id": "a"}])
