"""What everybody pays: importing the authoring module, and the command line's help."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

from benchmarks.bench import Bench
from benchmarks.result import SECONDS, Result

_FIGURES: dict[str, tuple[tuple[str, ...], float]] = {
    "import headrace": (("-c", "import headrace"), 0.15),
    "headrace --help": (("-m", "headrace", "--help"), 0.25),
    "headrace runs ls --help": (("-m", "headrace", "runs", "ls", "--help"), 0.25),
}


def measure(bench: Bench) -> Iterator[Result]:
    """The process's whole time, Python's own start included."""
    for figure, (words, target_s) in _FIGURES.items():
        _spent_s(words)
        yield Result(
            scenario="imports",
            figure=figure,
            size=1,
            unit=SECONDS,
            samples=tuple(_spent_s(words) for _ in range(bench.runs)),
            target=target_s,
            limit=bench.limits.python_s,
            limit_of="Python itself",
        )


def _spent_s(words: tuple[str, ...]) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun
