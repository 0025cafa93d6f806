"""A large frame from one task to the next: made, written as an Arrow file, and opened by mmap."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.machine import Limits
from benchmarks.project import project
from benchmarks.result import SECONDS, Plan, Result


def measure(plan: Plan, limits: Limits) -> Iterator[Result]:
    mib = plan.sized(100, 1)
    with project("batch") as made:
        made.run("hand_over", mib=mib)
        samples = tuple(made.run("hand_over", mib=mib).seconds for _ in range(plan.runs))
    yield Result(
        scenario="frame",
        figure="asked to ended",
        size=mib << 20,
        unit=SECONDS,
        samples=samples,
        target=0.0025 * mib,
        limit=limits.arrow_write_s(mib) + limits.arrow_open_s(mib),
        limit_of="making, writing and opening the Arrow file",
    )
