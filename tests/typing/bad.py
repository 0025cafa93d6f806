"""Mistakes that both type checkers find: one on each line marked `# wrong`, and nowhere else."""

from __future__ import annotations

import polars as pl

import headrace as hr

departures = hr.Topic("departures")
delay = hr.Model("delay", int)


@hr.task
def ingest(window: hr.Window) -> pl.DataFrame: ...  # type: ignore[empty-body]


@hr.task
def train(rows: pl.DataFrame, rounds: int) -> int:
    return rounds


@hr.task
async def fetch(url: str) -> bytes:
    return url.encode()


def predict(model: int, rows: pl.DataFrame) -> pl.Series:
    return rows["a"]


@hr.task(retrys=3)  # wrong
def misspelt() -> None: ...


@hr.pipeline
def body(window: hr.Window, rounds: int = 3) -> None:
    rows = ingest()  # wrong
    train(rows)  # wrong
    train(rounds, rounds)  # wrong
    train(rows, rounds, epochs=3)  # wrong
    fetch.map([1, 2])  # wrong
    hr.when(rounds, lambda: 1, lambda: "a").bit_length()  # wrong
    _first, _second, _third = hr.split(rows, last="14d")  # wrong
    delay.register("model", fit=rows, test=rows, predict=predict)  # wrong
    ingest.using(timeout=3)(window)  # wrong


@hr.stream(departures, rows="most", to=departures)  # wrong
def stream(batch: pl.DataFrame) -> pl.DataFrame:
    return batch


body.run("2026-01-01")  # wrong
body.on("@daily")  # wrong
