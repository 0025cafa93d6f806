"""A large frame from one task to the next: made, written as an Arrow file, and opened by mmap."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.bench import Bench
from benchmarks.result import SECONDS, Result

SOURCE = "batch"


def measure(bench: Bench) -> Iterator[Result]:
    mib = bench.sized(100, 1)
    made = bench.project
    made.run("hand_over", mib=mib)
    samples = tuple(made.run("hand_over", mib=mib).seconds for _ in range(bench.runs))
    yield Result(
        scenario="frame",
        figure="asked to ended",
        size=mib << 20,
        unit=SECONDS,
        samples=samples,
        target=0.0025 * mib,
        limit=bench.limits.arrow_write_s(mib) + bench.limits.arrow_open_s(mib),
        limit_of="making, writing and opening the Arrow file",
    )
