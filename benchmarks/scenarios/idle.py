"""An engine with nothing to do and one warm worker: its memory, and the processor time it takes all the same."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.bench import Bench
from benchmarks.machine import below, cpu_s, pss_mib
from benchmarks.project import Project
from benchmarks.result import CORES, MIB, Result

SOURCE = "batch"


def measure(bench: Bench) -> Iterator[Result]:
    memory: list[float] = []
    cores: list[float] = []
    watched_s = bench.sized(10, 1)
    made = bench.project
    made.run("first_line")
    time.sleep(watched_s / 5)
    for _ in range(bench.runs):
        memory.append(sum(map(pss_mib, _processes(made))))
        cores.append(_cores(made, watched_s))
    count = len(_processes(made))
    yield Result(scenario="idle", figure="memory (PSS)", size=count, unit=MIB, samples=tuple(memory), target=150.0)
    yield Result(scenario="idle", figure="processor", size=count, unit=CORES, samples=tuple(cores))


def _processes(made: Project) -> list[int]:
    return list(below(made.engine.pid)) if made.engine is not None else []


def _cores(made: Project, seconds: float) -> float:
    before = sum(map(cpu_s, _processes(made)))
    time.sleep(seconds)
    return (sum(map(cpu_s, _processes(made))) - before) / seconds
