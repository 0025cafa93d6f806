"""One task, then many on its result, then one that takes all of theirs: what a task costs in a crowd."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.bench import Bench
from benchmarks.machine import peak_mib
from benchmarks.result import MIB, SECONDS, Result

SOURCE = "batch"

_ROWS = 4  # of a task: its start, its end, and its row written twice
_TOGETHER = 32  # attempts in a message
_TARGET_S = {1_000: 0.3, 10_000: 1.0, 100_000: 10.0}


def measure(bench: Bench) -> Iterator[Result]:
    made = bench.project
    for size in (20,) if bench.is_quick else (1_000, 10_000, 100_000):
        made.run("fan_out", n=size)
        yield Result(
            scenario="fan_out",
            figure="asked to ended",
            size=size,
            unit=SECONDS,
            samples=tuple(made.run("fan_out", n=size).seconds for _ in range(bench.runs)),
            target=_TARGET_S.get(size),
            limit=size * (_ROWS * bench.limits.row_s + bench.limits.round_trip_s / _TOGETHER),
            limit_of=f"{_ROWS} rows of a task in commits of 100, a round trip per {_TOGETHER} tasks",
        )
        assert made.engine is not None
        memory = peak_mib(made.engine.pid)
        yield Result(scenario="fan_out", figure="peak memory of the engine", size=size, unit=MIB, samples=(memory,))
