"""A chain of tasks, each waiting for the one before: what one hop costs."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.bench import Bench
from benchmarks.result import SECONDS, Result

SOURCE = "batch"


def measure(bench: Bench) -> Iterator[Result]:
    hops = bench.sized(100, 5)
    made = bench.project
    pipeline = f"chain_{hops}"
    made.run(pipeline)
    samples = tuple(made.run(pipeline).seconds for _ in range(bench.runs))
    yield Result(
        scenario="chain",
        figure="asked to ended",
        size=hops,
        unit=SECONDS,
        samples=samples,
        target=0.002 * hops,
        limit=hops * (bench.limits.commit_s + bench.limits.round_trip_s),
        limit_of="a commit and a round trip per hop",
    )
