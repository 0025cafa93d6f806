"""The sum over all test processes: at how many points something failed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "property")]  # for the package `crashing`, and for `told_again`

FLOOR = 3_000


def pytest_terminal_summary(terminalreporter: Any, exitstatus: int) -> None:
    swept = list(_properties(terminalreporter))
    if swept:
        points, told_again = (sum(numbers) for numbers in zip(*swept, strict=True))
        floor = f"the floor is {FLOOR:,}" if points >= FLOOR else f"BELOW THE FLOOR of {FLOOR:,}"
        terminalreporter.write_line(f"swept {points:,} crash points ({floor}), {told_again:,} stores told again")


def _properties(terminalreporter: Any) -> Iterator[Any]:
    for report in terminalreporter.stats.get("passed", []):
        if isinstance(report, pytest.TestReport):
            yield from (value for key, value in report.user_properties if key == "crash points")
