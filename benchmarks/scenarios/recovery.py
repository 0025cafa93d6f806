"""An engine that is killed in the middle of a wide run: how soon the next one has a new result, and what runs again."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.bench import Bench
from benchmarks.project import Project
from benchmarks.result import ATTEMPTS, SECONDS, Result

SOURCE = "batch"

_TARGET_S = 2.0
_DONE = "SELECT coalesce(sum(succeeded), 0) FROM cells WHERE run = ? AND node = 'step'"
_AGAIN = "SELECT count(*) FROM items WHERE run = ? AND node = 'step' AND attempt > 1"


def measure(bench: Bench) -> Iterator[Result]:
    made = bench.project
    size = bench.sized(20_000, 2_000)
    made.run("fan_out", n=20)  # the worker is warm
    found = [_killed(made, size) for _ in range(bench.runs)]
    yield Result(
        scenario="recovery",
        figure="start after kill -9 to the next result",
        size=size,
        unit=SECONDS,
        samples=tuple(seconds for seconds, _ in found),
        target=_TARGET_S,
        limit=bench.limits.python_s,
        limit_of="Python itself",
    )
    again = tuple(float(again) for _, again in found)
    yield Result(scenario="recovery", figure="attempts that ran again", size=size, unit=ATTEMPTS, samples=again)


def _killed(made: Project, size: int) -> tuple[float, int]:
    """Seconds from the start of the next engine to its first result of the run, and how many attempts ran again."""
    run = made.answered(made.ask("fan_out", n=size))
    made.until(lambda: _count(made, _DONE, run) >= size // 4)
    made.kill()
    before = _count(made, _DONE, run)
    begun_s = time.monotonic()
    made.start()
    made.until(lambda: _count(made, _DONE, run) > before)
    seconds = time.monotonic() - begun_s
    made.until(lambda: made.ended(run))
    return seconds, _count(made, _AGAIN, run)


def _count(made: Project, sql: str, run: str) -> int:
    return int(made.store.database.read(sql, (run,))[0][0])
