"""A large project: a thousand pipelines with a schedule each, and half as many streams with their topics.

The variable `CROWD` says otherwise how many pipelines.
"""

from __future__ import annotations

import os
import time

import polars as pl

import headrace as hr

PIPELINES = int(os.environ.get("CROWD", "1000"))
STREAMS = PIPELINES // 2


@hr.task
def moment() -> int:
    """When user code begins, in nanoseconds of the monotonic clock, which all processes share."""
    return time.monotonic_ns()


@hr.pipeline
def first_line() -> None:
    moment()


def yearly() -> None:
    moment()


def passed_on(batch: pl.DataFrame) -> pl.DataFrame:
    return batch


def topic(name: str) -> hr.Topic:
    return hr.Topic(name, schema={"id": str}, key="id", partitions=1)


for n in range(PIPELINES):
    globals()[f"yearly_{n}"] = hr.pipeline(name=f"yearly_{n}", schedule=f"{n % 60} {n % 24} 1 1 *")(yearly)
for n in range(STREAMS):
    entering, leaving = topic(f"entering_{n}"), topic(f"leaving_{n}")
    globals()[f"stream_{n}"] = hr.stream(entering, to=leaving, name=f"stream_{n}")(passed_on)
