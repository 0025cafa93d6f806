"""What a scenario gives: `Result`s, each written as one JSON line."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import msgspec

SECONDS, MIB, CORES, ATTEMPTS = "s", "MiB", "cores", "attempts"
ROWS_PER_S, ROWS_PER_CORE_S = "rows/s", "rows/core-s"
_MORE_IS_BETTER = (ROWS_PER_S, ROWS_PER_CORE_S)


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of a scenario, measured `len(samples)` times after a warm-up.

    `limit` is what the machine allowed in the same minutes, made up as `limit_of` says; None where nothing bounds it.
    """

    scenario: str
    figure: str
    size: int
    unit: str
    samples: tuple[float, ...]
    target: float | None = None
    limit: float | None = None
    limit_of: str = ""

    @property
    def value(self) -> float:
        return statistics.median(self.samples)

    @property
    def ratio(self) -> float | None:
        """How many times the limit it costs: 1 is as good as the machine allows, 3 three times as slow."""
        if not self.limit or not self.value:
            return None
        return self.limit / self.value if self.unit in _MORE_IS_BETTER else self.value / self.limit

    @property
    def is_met(self) -> bool | None:
        """Whether the target is; None where there is none."""
        if self.target is None:
            return None
        return self.value >= self.target if self.unit in _MORE_IS_BETTER else self.value <= self.target


class Line(Result, frozen=True, kw_only=True):
    """A result as it is written, with what else the machine was doing."""

    median: float
    low: float
    high: float
    runs: int
    met: bool | None
    times_limit: float | None
    load: float  # the load average of the last minute
    foreign_cpu: float  # cores that other programs used meanwhile
    at: str  # UTC


def line(result: Result, *, load: float, foreign_cpu: float, at: str) -> Line:
    """The result as it is written."""
    return Line(
        **msgspec.structs.asdict(result),
        median=rounded(result.value),
        low=rounded(min(result.samples)),
        high=rounded(max(result.samples)),
        runs=len(result.samples),
        met=result.is_met,
        times_limit=None if result.ratio is None else rounded(result.ratio),
        load=round(load, 2),
        foreign_cpu=round(foreign_cpu, 2),
        at=at,
    )


def read_lines(text: str) -> list[Line]:
    """The lines of a file of results."""
    return [_LINE.decode(row) for row in text.splitlines() if row.strip()]


def percentile(values: Sequence[float], percent: float) -> float:
    """The least value that so many percent of all are not above.

    >>> percentile([1, 2, 3, 4], 50), percentile([1, 2, 3, 4], 99)
    (2, 4)
    """
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def rounded(number: float) -> float:
    """Four digits that count."""
    return float(f"{number:.4g}")


_LINE = msgspec.json.Decoder(Line)
