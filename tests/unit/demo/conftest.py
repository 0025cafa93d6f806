"""The real year, read once for all tests of the demo; nobody changes it."""

from __future__ import annotations

import polars as pl
import pytest

from headrace.demo import asof, record


@pytest.fixture(scope="package")
def year() -> record.Record:
    return record.load()


@pytest.fixture(scope="package")
def live(year: record.Record) -> pl.DataFrame:
    return asof.live_flights(year)
