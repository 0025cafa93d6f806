"""A large project at rest and at work: what a start, a second of nothing and a trigger cost among so many others."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from benchmarks.bench import Bench
from benchmarks.machine import below, cpu_s, pss_mib
from benchmarks.project import Project, project
from benchmarks.result import CORES, MIB, SECONDS, Result, percentile


def measure(bench: Bench) -> Iterator[Result]:
    pipelines = bench.sized(1_000, 4)
    os.environ["CROWD"] = str(pipelines)
    with project("crowd", is_served=False) as made:
        (made.root / "headrace.toml").write_text('workers = 2\nschedules = true\n\n[project]\nname = "flow"\n')
        answers = [_answers_s(made) for _ in range(bench.runs + 1)][1:]
        made.until_streaming(pipelines // 2)
        made.run("first_line")
        watched_s = bench.sized(10, 1)
        time.sleep(watched_s / 5)
        cores = [_cores(made, watched_s) for _ in range(bench.runs)]
        memory = sum(map(pss_mib, _processes(made)))
        starts = [_first_line_s(made) for _ in range(bench.sized(60, 2))]

    def result(figure: str, unit: str, *samples: float, target: float | None = None) -> Result:
        return Result(scenario="crowd", figure=figure, size=pipelines, unit=unit, samples=samples, target=target)

    yield result("answers after a start", SECONDS, *answers, target=5.0)
    yield result("processor", CORES, *cores, target=0.02)
    yield result("memory (PSS)", MIB, memory)
    yield result("asked to first line, p50", SECONDS, percentile(starts, 50), target=0.005)


def _answers_s(made: Project) -> float:
    """Stop it, ask for a run, start it: how long until that is answered. The first time it loads and deploys as well."""
    made.stop()
    request = made.ask("first_line")
    begun = time.monotonic()
    made.start()
    made.answered(request)
    return time.monotonic() - begun


def _processes(made: Project) -> list[int]:
    return list(below(made.engine.pid)) if made.engine is not None else []


def _cores(made: Project, seconds: float) -> float:
    before = sum(map(cpu_s, _processes(made)))
    time.sleep(seconds)
    return (sum(map(cpu_s, _processes(made))) - before) / seconds


def _first_line_s(made: Project) -> float:
    asked_s = time.monotonic()
    run = made.answered(made.ask("first_line"))
    made.until(lambda: made.ended(run))
    time.sleep(0.05)  # each trigger by itself
    return made.result(run, "moment") / 1e9 - asked_s
