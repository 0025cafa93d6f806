"""A stream that scores events by a logistic of six of their fields."""

from __future__ import annotations

import polars as pl

import headrace as hr

WEIGHTS = {"dep_delay": 0.02, "distance": 0.0001, "hour": 0.03, "temp": 0.01, "wind": 0.02, "precip": 0.8}

events = hr.Topic("events", schema={"id": str, **dict.fromkeys(WEIGHTS, float)}, key="id")
scores = hr.Topic("scores", schema={"id": str, "p": float}, key="id")


@hr.stream(events, to=scores, start="earliest", rows="each")
def score(batch: pl.DataFrame) -> pl.DataFrame:
    z = pl.sum_horizontal(pl.col(name) * weight for name, weight in WEIGHTS.items()) - 2.0
    return batch.select("id", p=1.0 / (1.0 + (-z).exp()))
