"""Answers are kept for seven days; what nobody has answered is kept for ever."""

from __future__ import annotations

from headrace.ports import Append
from headrace.runs.facts import RequestAnswered
from headrace.store.sql.engine_store import EngineSqlStore
from headrace.store.sql.reads import inbox

DAY = 86_400_000_000


def test_answers_older_than_seven_days_are_forgotten() -> None:
    store = EngineSqlStore(":memory:")
    asked = [store.ask("trigger", {}, key=str(n), at_us=0) for n in range(2005)]
    open_one, fresh = asked.pop(0), asked.pop()
    old = [RequestAnswered(request, "done", {}, DAY) for request in asked]
    store.commit([Append("engine", 0, (*old, RequestAnswered(fresh, "done", {}, 8 * DAY)))])
    store.tidy()
    assert len(store.database.read("SELECT 1 FROM inbox")) == 2005, "seven days are not over yet"
    newest = store.ask("pause", {}, key="newest", at_us=0)
    store.commit([Append("engine", store.head("engine"), (RequestAnswered(newest, "done", {}, 8 * DAY + 1),))])
    store.tidy()
    assert [row.id for row in inbox.requests(store.database)] == [newest, fresh, open_one]
    assert store.ask("trigger", {}, key="1", at_us=0) > newest, "the same key is a new request by then"
