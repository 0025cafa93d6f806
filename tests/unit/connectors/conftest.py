"""A store in memory, and its topics."""

from __future__ import annotations

import pytest

from headrace.connectors.log import Log
from headrace.store.sql.reads import topics
from headrace.store.sql.store import SqlStore


@pytest.fixture
def store():
    opened = SqlStore(":memory:")
    yield opened
    opened.close()


@pytest.fixture
def log(store):
    return Log(store.database, topics)
