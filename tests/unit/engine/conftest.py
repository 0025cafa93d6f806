"""A store in memory for an engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from headrace.store.sql.engine_store import EngineSqlStore


@pytest.fixture
def store() -> Iterator[EngineSqlStore]:
    opened = EngineSqlStore(":memory:")
    yield opened
    opened.close()
