"""What an engine asks at its start and at each look is found by an index: its price does not follow what ever ran."""

from __future__ import annotations

import re

from headrace.definitions.project import Project
from headrace.store.sql.engine_store import EngineSqlStore

HISTORY = ("runs", "items", "cells", "scopes", "pins", "facts", "inbox", "table_versions", "topic_blobs")
OPEN_ONLY = ("runs_active", "inbox_unanswered", "inbox_answered")  # indexes of what is open, or of the newest


def asked(store: EngineSqlStore) -> list[str]:
    said: list[str] = []
    with store.database.reading() as connection:
        connection.set_trace_callback(said.append)
    store.restore("engine")
    store.open_runs("run:")
    store.active_run("r1")
    store.open_run("r1")
    store.slots_run("p", "schedule", 0)
    store.run_of_key("k")
    for _ in range(2):
        store.requests()
        store.news()
        store.watermarks(Project("p"))
        store.log("engine")
        store.tidy()
    with store.database.reading() as connection:
        connection.set_trace_callback(None)
    return [sql for sql in dict.fromkeys(said) if sql.lstrip().startswith(("SELECT", "DELETE", "UPDATE"))]


def test_no_query_of_an_engine_walks_through_history() -> None:
    store = EngineSqlStore(":memory:")
    questions = asked(store)
    walks: list[str] = []
    for sql in questions:
        for *_, step in store.database.read(f"EXPLAIN QUERY PLAN {sql}"):
            found = re.match(r"SCAN (\w+)", step)
            if found and _table(sql, found[1]) in HISTORY and not step.endswith(OPEN_ONLY):
                walks.append(f"{step}: {sql}")
    assert len(questions) > 20
    assert walks == []
    store.close()


def _table(sql: str, name: str) -> str:
    """The table that stands for this name in the query: it may have another there."""
    found = re.search(rf"(?:FROM|JOIN) (\w+) {name}\b", sql)
    return found[1] if found else name
