"""What all tests share: a part that this machine lacks is named, and under HEADRACE_REQUIRE=all it is a failure."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

REQUIRES_ALL = os.environ.get("HEADRACE_REQUIRE") == "all"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if REQUIRES_ALL and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and HEADRACE_REQUIRE=all allows no skip: {report.longrepr}"
    return report
