"""Starting the engine on a new project and again on a known one, with a request waiting for it."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.bench import Bench
from benchmarks.project import Project, project
from benchmarks.result import SECONDS, Result

_FIGURES = ("answers, new project", "first line, new project", "answers, known project", "first line, known project")


def measure(bench: Bench) -> Iterator[Result]:
    columns: list[list[float]] = [[] for _ in _FIGURES]
    for attempt in range(bench.runs if bench.is_quick else bench.runs + 1):
        with project("batch", is_served=False) as made:
            times = (*_started(made), *_started(made))
        if attempt or bench.is_quick:  # the first one warms up the disk's cache
            for column, spent_s in zip(columns, times, strict=True):
                column.append(spent_s)
    for figure, column in zip(_FIGURES, columns, strict=True):
        yield Result(
            scenario="start",
            figure=figure,
            size=1,
            unit=SECONDS,
            samples=tuple(column),
            target=2.0 if figure.startswith("answers") else None,
            limit=bench.limits.python_s,
            limit_of="Python itself",
        )


def _started(made: Project) -> tuple[float, float]:
    """Seconds until the request is answered, and until its task begins."""
    request = made.ask("first_line")
    begun_ns = time.monotonic_ns()
    made.start()
    run = made.answered(request)
    answered_ns = time.monotonic_ns()
    made.until(lambda: made.ended(run))
    line_ns = made.result(run, "moment")
    made.stop()
    return (answered_ns - begun_ns) / 1e9, (line_ns - begun_ns) / 1e9
