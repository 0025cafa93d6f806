"""From asking for a run to the first line of its task, engine and worker being warm."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.bench import Bench
from benchmarks.project import Project
from benchmarks.result import SECONDS, Result, percentile

SOURCE = "batch"

_TARGET_S = {50: 0.003, 95: 0.008}
_PAUSE_S = 0.01  # the engine has come to rest before it is asked again


def measure(bench: Bench) -> Iterator[Result]:
    asks = bench.sized(60, 3)
    made = bench.project
    for _ in range(5):
        _first_line_s(made)
    runs = [[_first_line_s(made) for _ in range(asks)] for _ in range(bench.runs)]
    for percent, target_s in _TARGET_S.items():
        yield Result(
            scenario="trigger",
            figure=f"asked to first line, p{percent}",
            size=asks,
            unit=SECONDS,
            samples=tuple(percentile(run, percent) for run in runs),
            target=target_s,
            limit=2 * bench.limits.commit_s + bench.limits.round_trip_s,
            limit_of="two commits and a round trip",
        )


def _first_line_s(made: Project) -> float:
    time.sleep(_PAUSE_S)
    asked_ns = time.monotonic_ns()
    run = made.answered(made.ask("first_line"))
    made.until(lambda: made.ended(run))
    return (made.result(run, "moment") - asked_ns) / 1e9
