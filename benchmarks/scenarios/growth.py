"""The same work in a young store and in one with a million past runs: what work costs must not follow what ever ran."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.bench import Bench
from benchmarks.machine import pss_mib
from benchmarks.past import repeat_run
from benchmarks.project import Project, project
from benchmarks.result import MIB, SECONDS, Result, percentile

HOPS = 100


def measure(bench: Bench) -> Iterator[Result]:
    with project("batch", is_served=False) as made:
        made.start()
        model, past = made.run("three").run, 0
        for size in (20, 40) if bench.is_quick else (1_000, 1_000_000):
            made.stop()
            repeat_run(made.settings.database, model, range(past, size))
            past = size
            yield from _with_past(bench, made, past)


def _with_past(bench: Bench, made: Project, past: int) -> Iterator[Result]:
    hops = bench.sized(HOPS, 5)
    begun = time.monotonic()
    request = made.ask("first_line")
    made.start()
    made.answered(request)
    answers_s = time.monotonic() - begun
    chains = [made.run(f"chain_{hops}").seconds for _ in range(bench.runs + 1)][1:]
    starts = [_first_line_s(made) for _ in range(bench.sized(60, 2))]
    assert made.engine is not None

    def result(figure: str, unit: str, *samples: float, target: float | None = None) -> Result:
        return Result(scenario="growth", figure=figure, size=past, unit=unit, samples=samples, target=target)

    yield result(f"chain of {hops}", SECONDS, *chains, target=0.002 * hops)
    yield result("asked to first line, p50", SECONDS, percentile(starts, 50), target=0.003)
    yield result("answers after a start", SECONDS, answers_s, target=2.0)
    yield result("memory of the engine (PSS)", MIB, pss_mib(made.engine.pid))
    yield result("database", MIB, made.settings.database.stat().st_size / 2**20)


def _first_line_s(made: Project) -> float:
    asked_s = time.monotonic()
    run = made.answered(made.ask("first_line"))
    made.until(lambda: made.ended(run))
    return made.result(run, "moment") / 1e9 - asked_s
