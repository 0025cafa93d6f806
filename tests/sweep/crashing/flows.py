"""The project whose processes fail: a little of everything, and the real code that its workers run."""

from __future__ import annotations

from typing import Any

import polars as pl

import headrace as hr
from headrace.graph.loaded import Loaded, freeze

from crashing.boundaries import stage

# -- runs ------------------------------------------------------------------------------------------------------------


@hr.task(retries=4)
def numbers(n: int) -> list[int]:
    return list(range(n))


@hr.task(retries=4)
def double(x: int) -> int:
    return 2 * x


@hr.task(retries=4)
def total(xs: list[int]) -> int:
    return sum(xs)


@hr.task(retries=4)
def blob(n: int) -> bytes:
    """Too large for a row: an artifact."""
    return bytes([n]) * 20_000


@hr.task(retries=4)
def size(body: bytes) -> int:
    return len(body)


@hr.pipeline
def plain(n: int = 3) -> int:
    return size(blob(n))


@hr.pipeline
def mapped() -> int:
    return total(hr.map(lambda n: total(hr.map(lambda x: double(x), numbers(n))), numbers.using(name="outer")(3)))


# -- retries ---------------------------------------------------------------------------------------------------------


@hr.task(retries=6, backoff="1s")
def flaky() -> int:
    if stage.during("flaky") < 3:
        raise OSError("not yet")
    return 1


@hr.task
def broken(before: int) -> int:
    if not stage.during("mended"):
        raise ValueError("broken")
    return before + 1


@hr.pipeline
def retried() -> int:
    return flaky()


@hr.pipeline
def mended() -> int:
    return broken(double(1))
