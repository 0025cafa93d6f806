"""The sum over all test processes: how much was simulated, and how soon planted bugs were found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

FLOOR = 3_000


def pytest_terminal_summary(terminalreporter: Any, exitstatus: int) -> None:
    blocks = list(_properties(terminalreporter, "simulated"))
    if blocks:
        schedules, faults, runs = (sum(numbers) for numbers in zip(*blocks, strict=True))
        floor = "" if schedules >= FLOOR else f"  (below the floor of {FLOOR})"
        terminalreporter.write_line(f"simulated {schedules} schedules, {faults} faults, {runs} runs{floor}")
    found = list(_properties(terminalreporter, "found after"))
    if found:
        terminalreporter.write_line(f"planted bugs: {len(found)} found, the last after {max(found)} schedules")


def _properties(terminalreporter: Any, name: str) -> Iterator[Any]:
    for report in terminalreporter.stats.get("passed", []):
        if isinstance(report, pytest.TestReport):
            yield from (value for key, value in report.user_properties if key == name)
