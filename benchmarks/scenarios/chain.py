"""A chain of tasks, each waiting for the one before: what one hop costs."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.machine import Limits
from benchmarks.project import project
from benchmarks.result import SECONDS, Plan, Result


def measure(plan: Plan, limits: Limits) -> Iterator[Result]:
    hops = plan.sized(100, 5)
    with project("batch", environment={"BENCHMARK_HOPS": str(hops)}) as made:
        made.run("chain")
        samples = tuple(made.run("chain").seconds for _ in range(plan.runs))
    yield Result(
        scenario="chain",
        figure="asked to ended",
        size=hops,
        unit=SECONDS,
        samples=samples,
        target=0.002 * hops,
        limit=hops * (limits.commit_s + limits.round_trip_s),
        limit_of="a commit and a round trip per hop",
    )
