"""`python -m benchmarks.compare A B`: two files of results side by side, as ratios to the limits of their own hour."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.result import Line, read_lines
from benchmarks.tables import digits, table, told

_HEAD = ("scenario", "figure", "size", "A", "B", "B to A", "A to its limit", "B to its limit", "ranges")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what both files have."""
    words = sys.argv[1:] if arguments is None else arguments
    if len(words) != 2:
        print("python -m benchmarks.compare A B", file=sys.stderr)
        return 2
    print(compared(*(read_lines(Path(word).read_text()) for word in words)))
    return 0


def compared(one: Sequence[Line], other: Sequence[Line]) -> str:
    """A table of the figures that both have; of a figure that was measured more than once the last one counts."""
    before, after = _by_figure(one), _by_figure(other)
    return table(_HEAD, [_row(before[key], after[key]) for key in before if key in after])


def _by_figure(lines: Sequence[Line]) -> dict[tuple[str, str, int, str], Line]:
    return {(line.scenario, line.figure, line.size, line.unit): line for line in lines}


def _row(a: Line, b: Line) -> tuple[str, ...]:
    overlap = a.low <= b.high and b.low <= a.high
    change = f"{b.median / a.median:.2f}" if a.median else ""
    return (
        a.scenario, a.figure, f"{a.size:,}", told(a.median, a.unit), told(b.median, b.unit), change,
        _times(a), _times(b), "overlap" if overlap else "apart",
    )  # fmt: skip


def _times(line: Line) -> str:
    return "" if line.times_limit is None else digits(line.times_limit, 2)


if __name__ == "__main__":
    sys.exit(main())
