"""What all tests share: a part that this machine lacks is named, and under HEADRACE_REQUIRE=all it is a failure.

Properties are tried with the same examples each time, and none fails because the machine is slow. New examples are drawn
in `tests/property`, where HEADRACE_DEPTH asks for them.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

REQUIRES_ALL = os.environ.get("HEADRACE_REQUIRE") == "all"

settings.register_profile(
    "headrace", deadline=None, derandomize=True, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("headrace")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if REQUIRES_ALL and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and HEADRACE_REQUIRE=all allows no skip: {report.longrepr}"
    return report
