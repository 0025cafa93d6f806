"""The sum over all test processes: how much was simulated, and how soon planted bugs were found."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the package `planted`

FLOOR = 10_000


def pytest_terminal_summary(terminalreporter: Any, exitstatus: int) -> None:
    chunks = list(_properties(terminalreporter, "simulated"))
    if chunks:
        schedules, faults, runs = (sum(numbers) for numbers in zip(*chunks, strict=True))
        floor = f"the floor is {FLOOR:,}" if schedules >= FLOOR else f"BELOW THE FLOOR of {FLOOR:,}"
        terminalreporter.write_line(f"simulated {schedules:,} schedules ({floor}), {faults:,} faults, {runs:,} runs")
    found = list(_properties(terminalreporter, "found after"))
    if found:
        terminalreporter.write_line(f"planted bugs: {len(found)} found, the last after {max(found)} schedules")


def _properties(terminalreporter: Any, name: str) -> Iterator[Any]:
    for report in terminalreporter.stats.get("passed", []):
        if isinstance(report, pytest.TestReport):
            yield from (value for key, value in report.user_properties if key == name)
