"""Pipelines of tasks that do nothing, so that what is measured is everything around them."""

from __future__ import annotations

import time

import polars as pl

import headrace as hr


@hr.task
def step(x: int) -> int:
    return x + 1


def stepped(hops: int) -> int:
    """Each task waits for the one before."""
    x = step.using(name="s0")(0)
    for hop in range(1, hops):
        x = step.using(name=f"s{hop}")(x)
    return x


@hr.pipeline
def chain_100() -> int:
    return stepped(100)


@hr.pipeline
def chain_5() -> int:
    return stepped(5)


@hr.task
def numbers(n: int) -> list[int]:
    return list(range(n))


@hr.task
def total(xs: list[int]) -> int:
    return sum(xs)


@hr.pipeline
def fan_out(n: int) -> int:
    """One task, `n` tasks on its result, and one that takes all of theirs."""
    return total(step.map(numbers(n)))


@hr.task
def moment() -> int:
    """When user code begins, in nanoseconds of the monotonic clock, which all processes share."""
    return time.monotonic_ns()


@hr.pipeline
def first_line() -> None:
    moment()


@hr.pipeline
def three() -> int:
    return step.using(name="c")(step.using(name="b")(step.using(name="a")(0)))


@hr.task
def make(mib: int) -> pl.DataFrame:
    import numpy as np

    return pl.DataFrame({"x": np.arange(mib << 17, dtype=np.float64)})


@hr.task
def sum_up(frame: pl.DataFrame) -> float:
    return float(frame["x"][-1])


@hr.pipeline
def hand_over(mib: int) -> None:
    sum_up(make(mib))
