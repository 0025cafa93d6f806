"""What the machine allows: the figures that all others are held against."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.bench import Bench
from benchmarks.machine import Limits
from benchmarks.result import SECONDS, Result


def measure(bench: Bench) -> Iterator[Result]:
    mib = bench.sized(100, 1)
    with TemporaryDirectory(prefix="headrace-bench-") as folder:
        measured = [Limits(Path(folder), seconds=0.5 if not bench.is_quick else 0.02) for _ in range(bench.runs)]
        figures = {
            "SQLite FULL, commit of 1 row": (1, [one.commit_s for one in measured]),
            "SQLite FULL, commit of 100 rows": (100, [one.row_s * 100 for one in measured]),
            "round trip to another process": (1, [one.round_trip_s for one in measured]),
            "fsync of 4 KiB": (4096, [one.fsync_s for one in measured]),
            "Arrow file, make and write": (mib << 20, [one.arrow_write_s(mib) for one in measured]),
            "Arrow file, open by mmap": (mib << 20, [one.arrow_open_s(mib) for one in measured]),
            "start of Python": (1, [one.python_s for one in measured]),
        }
    for figure, (size, samples) in figures.items():
        yield Result(scenario="limits", figure=figure, size=size, unit=SECONDS, samples=tuple(samples))
