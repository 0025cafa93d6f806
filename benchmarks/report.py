"""`python -m benchmarks.report FILE`: write docs/performance.md from a file of results."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.result import Line, read_lines
from benchmarks.tables import digits, span, table, told

OUT = Path(__file__).parents[1] / "docs" / "performance.md"
_HEAD = (
    "scenario",
    "figure",
    "size",
    "target",
    "measured",
    "range",
    "limit",
    "times the limit",
    "met",
    "others' cores",
)
_INTRODUCTION = """# Performance

Written by `python -m benchmarks.report FILE` from what `python -m benchmarks.run` measured on {when}: {runs} runs of each after a
warm-up, medians. A real project in a folder of its own, a real engine (`headrace dev --no-reload`) with worker and
stream processes, SQLite with `synchronous=FULL`. Tasks do nothing, so that the figures are what Headrace costs.

*Limit* is what the machine itself allowed in the same minutes, for the parts named below. Absolute figures move by a
factor of two to three between hours on a shared machine: compare figures as ratios to the limit, and look at how many
cores other programs used meanwhile. `python -m benchmarks.compare A B` does that for two files.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page. Of figures that were measured more than once the last one counts."""
    words = sys.argv[1:] if arguments is None else arguments
    if len(words) not in (1, 2):
        print("python -m benchmarks.report FILE [OUT]", file=sys.stderr)
        return 2
    out = Path(words[1]) if len(words) == 2 else OUT
    out.write_text(page(read_lines(Path(words[0]).read_text())))
    return 0


def page(lines: Sequence[Line]) -> str:
    """The whole page."""
    newest = {(line.scenario, line.figure, line.size, line.unit): line for line in lines}
    figures = [line for line in newest.values() if line.scenario != "limits"]
    machine = [line for line in newest.values() if line.scenario == "limits"]
    introduction = _INTRODUCTION.format(when=max(x.at for x in lines)[:10], runs=max(x.runs for x in lines))
    limits = {line.scenario: line.limit_of for line in figures if line.limit_of}
    return "\n".join(
        [
            introduction,
            table(_HEAD, [_row(line) for line in figures]),
            "",
            "## What bounds it",
            "",
            *(f"- `{scenario}`: {words}." for scenario, words in limits.items()),
            "",
            "## The machine",
            "",
            table(("limit", "size", "measured", "range"), [_machine_row(line) for line in machine]),
            "",
        ]
    )


def _row(line: Line) -> tuple[str, ...]:
    met = {True: "yes", False: "**no**", None: ""}[line.met]
    ratio = "" if line.times_limit is None else digits(line.times_limit, 2)
    return (
        f"`{line.scenario}`", line.figure, f"{line.size:,}", told(line.target, line.unit), told(line.median, line.unit),
        span(line.low, line.high, line.unit), told(line.limit, line.unit), ratio, met, f"{line.foreign_cpu:.1f}",
    )  # fmt: skip


def _machine_row(line: Line) -> tuple[str, ...]:
    return line.figure, f"{line.size:,}", told(line.median, line.unit), span(line.low, line.high, line.unit)


if __name__ == "__main__":
    sys.exit(main())
