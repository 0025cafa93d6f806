"""What the campaign plays: every way in which work begins, and every way in which it leaves something behind.

Each function signs in a ledger outside the store, on the disk before it goes on.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import polars as pl

import headrace as hr

WITNESS = Path(os.environ.get("CHAOS_WITNESS", os.devnull))
START = os.environ.get("CHAOS_START", "2100-01-01")
STEPS = 5_000


def sign(what: str, **more: object) -> None:
    """One line, whole or not at all."""
    line = json.dumps(
        {"what": what, "pid": os.getpid(), "parent": os.getppid(), "at_us": time.time_ns() // 1000, **more}
    )
    fd = os.open(WITNESS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(fd, line.encode() + b"\n")
    os.fsync(fd)
    os.close(fd)


def attempt(what: str) -> None:
    """The same, for a task."""
    now = hr.current()
    sign(what, run=now.run, task=now.task, item=now.item[-1], attempt=now.attempt, epoch=now.token)


# -- a chain ----------------------------------------------------------------------------------------------------------


@hr.task
def draw(n: int) -> int:
    attempt("began")
    return n


@hr.task
def grow(n: int) -> list[int]:
    """Too large for a row: an artifact."""
    attempt("began")
    return [n] * STEPS


@hr.task
def shrink(values: list[int]) -> int:
    attempt("began")
    return sum(values)


@hr.pipeline
def chain(n: int) -> int:
    return shrink(grow(draw(n)))


# -- a map with retries -----------------------------------------------------------------------------------------------


@hr.task
def numbers(n: int, size: int) -> list[int]:
    attempt("began")
    return list(range(n, n + size))


@hr.task(retries=3, backoff="20ms")
def work(value: int) -> int:
    """Every seventh item raises the first time."""
    attempt("began")
    time.sleep(0.02)
    now = hr.current()
    if now.item[-1] % 7 == 0 and now.attempt == 1:
        attempt("raised")
        raise ValueError(f"{value} never works the first time")
    return value


@hr.task
def total(values: list[int]) -> int:
    attempt("began")
    return sum(values)


@hr.pipeline
def fan(n: int, size: int = 30) -> int:
    return total(work.map(numbers(n, size)))


# -- tables and topics ------------------------------------------------------------------------------------------------

doubles = hr.Table("doubles", schema={"n": int, "twice": int}, key="n")
told = hr.Topic("told", schema={"n": int}, partitions=2)


@hr.task(to=doubles)
def write(n: int) -> pl.DataFrame:
    attempt("began")
    return pl.DataFrame({"n": [n], "twice": [2 * n]})


@hr.task
def tell(n: int) -> int:
    attempt("began")
    told.append([{"n": n}])
    return n


@hr.pipeline
def publish(n: int) -> None:
    write(n)
    tell(n)


# -- started by events and by time ------------------------------------------------------------------------------------

signals = hr.Topic("signals", schema={"n": int, "loud": bool}, partitions=2)


@hr.task
def hear(events: hr.Events) -> list[int]:
    attempt("began")
    return events.read()["n"].to_list()


@hr.pipeline
def answer(events: hr.Events) -> list[int]:
    return hear(events)


answer.on(hr.event(signals, where="loud"))


@hr.task
def look() -> None:
    attempt("began")


@hr.pipeline(schedule="every 2s", catchup=True, start=START)
def tick() -> None:
    look()


# -- a stream ---------------------------------------------------------------------------------------------------------

rows = hr.Topic("rows", schema={"n": int}, partitions=2)
scores = hr.Topic("scores", schema={"n": int, "twice": int}, partitions=2)


@hr.stream(rows, to=scores, start="earliest")
def score(batch: pl.DataFrame) -> pl.DataFrame:
    """A row below zero is poison."""
    values = batch["n"].to_list()
    sign("scored", values=values)
    if min(values) < 0:
        raise ValueError("poison")
    return batch.select("n", twice=pl.col("n") * 2)
