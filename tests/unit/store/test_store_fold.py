"""The rows are a function of the facts: told again to an empty store, they make the same rows."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from headrace.base.facts import Fact
from headrace.data.facts import TablePublished, TopicAppended, TopicCompleted
from headrace.models.facts import AliasMoved, ControllerMoved, StreakMoved, VersionRegistered
from headrace.ports import Append
from headrace.runs.facts import (
    AttemptFailed,
    AttemptLost,
    AttemptStarted,
    AttemptSucceeded,
    CodeDeployed,
    CursorMoved,
    InputPinned,
    LogTaken,
    MapExpanded,
    NodeSkipped,
    PipelinePaused,
    Read,
    RunCreated,
    RunEnded,
    RunRetried,
    Value,
)
from headrace.store.sql.commit import project
from headrace.store.sql.projector.work import Work
from headrace.store.sql.store import SqlStore
from headrace.streams.facts import BatchCommitted, DeadLettered, ModelHeld, ShardStarted

SHARD: tuple[Fact, ...] = (
    LogTaken(1, "streams", 1),
    ShardStarted("score", 0, 0, 2),
    ModelHeld("score", 0, "delay", 1, 0, 2),
    BatchCommitted("score", 0, 0, 0, 5, 5, 4, 0, 1, "c1", 3, watermark_us=9),
    TopicAppended("scores", 0, 4, at_us=3, size_bytes=1),
    DeadLettered("score", 0, 0, "flights", 0, 2, "error", "ValueError: no", "{}", "c1", 3),
)
ENGINE: tuple[Fact, ...] = (
    LogTaken(1, "engine", 1),
    CodeDeployed("c1", msgspec.Raw(b'{"name":"flights"}'), 1),
    PipelinePaused("hourly", True, "ann", 1),
    CursorMoved("shard:score/0", 3),
    RunCreated("r1", "daily", "c1", "schedule:daily:noon:60", "schedule", 2, window=(0, 60)),
    MapExpanded("r1", "files", "", 2),
    InputPinned("r1", "topic:flights", {"0": 5}),
    AttemptStarted("r1", "load", "", 0, 1, 1, "w1", 3),
    AttemptStarted("r1", "load", "", 1, 1, 1, "w2", 3),
    AttemptFailed("r1", "load", "", 0, 1, 1, 4, "ValueError: no"),
    AttemptLost("r1", "load", "", 1, 1, 1, 4, "killed"),
    AttemptStarted("r1", "load", "", 1, 2, 2, "w1", 5),
    AttemptSucceeded("r1", "load", "", 1, 2, 2, 6, 1, Value("json", "1"), reads=(Read("table", "weather", 1),)),
    NodeSkipped("r1", "fit", "", "load failed"),
    RunEnded("r1", "failed", 7, "load failed"),
    RunRetried("r1", 2, 8, "ann"),
    AttemptStarted("r1", "load", "", 0, 2, 2, "w1", 9),
    AttemptSucceeded("r1", "load", "", 0, 2, 2, 10, 1, Value("json", "2")),
    TopicAppended("out", 1, 3, at_us=10, max_time_us=50),
    TopicAppended("out", 2, 3, at_us=10, max_time_us=40),
    TopicAppended("out", 0, 3, at_us=11, max_time_us=30),
    TopicCompleted("out", 60, 10),
    TablePublished("weather", 1, (), 0, "r1", "load", 0, 2, 10),
    VersionRegistered("delay", 1, "lgb", "p", "d", 1, "r1", "fit", "c1", "m:f", 0, 11),
    AliasMoved("delay", "champion", 1, 0, "gate", "first", 11),
    ControllerMoved("delay", msgspec.Raw(b'"idle"'), "promoted", 11),
    StreakMoved("m:drift:p", 1, 60),
    RunEnded("r1", "succeeded", 12),
)


@pytest.fixture
def told() -> Iterator[SqlStore]:
    store = SqlStore(":memory:")
    for log, facts in (("shard:score/0", SHARD), ("engine", ENGINE)):
        store.commit([Append(log, 0, facts, {i: b"x" for i, f in enumerate(facts) if isinstance(f, TopicAppended)})])
    yield store
    store.close()


def state(store: SqlStore) -> dict[str, list[tuple[object, ...]]]:
    """All rows that depend on facts; the bytes of topics do not lie in facts."""
    found = store.database.read(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT IN"
        " ('facts', 'alembic_version', 'inbox', 'topic_bodies', 'sqlite_sequence')"
    )
    names = [name for (name,) in found]
    rows = {name: store.database.read(f"SELECT * FROM {name} ORDER BY 1, 2") for name in names}
    rows["topic_blobs"] = [row[:-1] for row in rows["topic_blobs"]]
    return rows


@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_facts_told_again_make_the_same_rows_however_they_are_grouped(told: SqlStore, at_once: int) -> None:
    again = SqlStore(":memory:")
    for log, head in told.heads("").items():
        with again.database.write() as connection:
            connection.execute("INSERT INTO logs (name, head) VALUES (?, ?)", (log, head))
    for log in ("shard:score/0", "engine"):
        after = 0
        while stored := told.facts(log, after=after, limit=at_once):
            with again.database.write() as connection:
                work = Work(connection)
                project(work, log, after + 1, [one.fact for one in stored], {})
                work.flush()
            after = stored[-1].seq
    assert state(again) == state(told)
    assert sum(map(len, state(told).values())) > 25
    again.close()
