"""Many small runs asked for at once."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.bench import Bench
from benchmarks.project import Project
from benchmarks.result import SECONDS, Result
from headrace.store.sql.reads import runs as run_rows

SOURCE = "batch"

_TASKS = 3
_ROWS = 4 * _TASKS + 4  # of a run: four for each task; asked, answered, begun and ended


def measure(bench: Bench) -> Iterator[Result]:
    size = bench.sized(200, 4)
    made = bench.project
    _all_s(made, size)
    samples = tuple(_all_s(made, size) for _ in range(bench.runs))
    yield Result(
        scenario="many_runs",
        figure="first asked to last ended",
        size=size,
        unit=SECONDS,
        samples=samples,
        target=0.0025 * size,
        limit=size * (bench.limits.commit_s + _ROWS * bench.limits.row_s),
        limit_of=f"a commit per request, {_ROWS} rows of a run in commits of 100",
    )


def _all_s(made: Project, size: int) -> float:
    before = run_rows.counts(made.store.database, "three").get("succeeded", 0)
    begun_s = time.monotonic()
    for _ in range(size):
        made.ask("three")
    made.until(lambda: run_rows.counts(made.store.database, "three").get("succeeded", 0) == before + size)
    return time.monotonic() - begun_s
