"""What happens: training in batch, scoring live, watching both, and retraining when the evidence asks for it."""

from __future__ import annotations

import lightgbm as lgb
import polars as pl

import headrace as hr
from flights import features
from flights.data import delay, flights, outcomes, scores


@hr.task(retries=3)
def ingest(window: hr.Window) -> pl.DataFrame:
    """Flights of the window as they looked when they were announced, with the labels that are known by now."""
    return delay.examples(flights, window)


@hr.task
def train(rows: pl.DataFrame, rounds: int) -> lgb.Booster:
    return features.train(rows, rounds)


@hr.pipeline(window="all")
def retrain(window: hr.Window, rounds: int = 200) -> None:
    """Train on everything but the last 14 days, which neither model has seen: there the gate compares."""
    fit, test = hr.split(ingest(window), last="14d")
    delay.register(train(fit, rounds), fit=fit, test=test, predict=features.predict)


@hr.stream(flights, to=scores, bind={"model": delay.champion()}, rows="each")
def score(batch: pl.DataFrame, model: lgb.Booster) -> pl.DataFrame:
    """The same features as in training, for the flights announced just now."""
    return batch.select("flight_id", "announced", "temp", p_late=features.predict(model, batch))


watch = hr.monitor(
    scores,
    model=delay,
    window="7d",
    start="2013-03-01T05:00:00Z",  # midnight in New York
    timezone="America/New_York",
    name="watch",
    min_rows=5_000,
    drift={"temp": hr.unseen(above=0.10)},
    performance=hr.auc(prediction="p_late", below=0.66),
)
retrain.on(watch.drift(consecutive=2), watch.performance(consecutive=2))


@hr.task
def count_diverted(events: hr.Events) -> int:
    return events.read().height


@hr.pipeline
def investigate(events: hr.Events) -> int:
    """Started by twenty diverted flights within a day, and reads exactly those."""
    return count_diverted(events)


investigate.on(hr.event(outcomes, where="diverted", count=20, within="24h"))
