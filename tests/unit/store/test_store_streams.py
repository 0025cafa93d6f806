"""How facts about shards, topics and triggers move their rows, and what is read from them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import msgspec
import pytest

from headrace.base.facts import Fact
from headrace.data.facts import TopicAppended
from headrace.errors import StoreError
from headrace.models.facts import AliasMoved, VersionRegistered, WindowJudged
from headrace.ports import Append
from headrace.runs.facts import (
    AttemptStarted,
    AttemptSucceeded,
    CodeDeployed,
    CursorMoved,
    RunCreated,
    RunEnded,
    Value,
)
from headrace.store.sql.reads import streams, topics, trace
from headrace.store.sql.reads.project import heads_at_deploy
from headrace.store.sql.reads.settled import unsettled
from headrace.store.sql.store import SqlStore
from headrace.streams.facts import (
    BatchCommitted,
    DeadLettered,
    ModelHeld,
    ProgressMade,
    ShardDied,
    ShardHeld,
    ShardStarted,
    TriggerFired,
    TriggerProgressed,
)


@pytest.fixture
def store() -> Iterator[SqlStore]:
    opened = SqlStore(":memory:")
    yield opened
    opened.close()


def happens(store: SqlStore, *facts: Fact, log: str = "shard:score:0") -> None:
    bodies = {i: b"rows" for i, fact in enumerate(facts) if isinstance(fact, TopicAppended)}
    store.commit([Append(log, store.head(log), facts, bodies)])


def batch(n: int, first: int, end: int, watermark_us: int | None = None) -> BatchCommitted:
    rows = end - first
    return BatchCommitted("score", 0, n, first, end, rows, rows - 1, 1, 0, "c1", 5, watermark_us)


def appended(topic: str, rows: int, partition: int = 0, **bounds: int) -> TopicAppended:
    return TopicAppended(topic, partition, rows, at_us=3, **bounds)


def dead(offset: int) -> DeadLettered:
    return DeadLettered("score", 0, 0, "flights", 0, offset, "error", "ValueError: no", "{}", "c1", 5)


def shard(store: SqlStore) -> streams.ShardRow:
    found = streams.shard(store.database, "score", 0)
    assert found is not None
    return found


def test_batches_follow_each_other_and_are_counted(store: SqlStore) -> None:
    happens(store, ShardHeld("score", 0, "weather has no version yet", 1))
    assert (shard(store).next_offset, shard(store).why) == (None, "weather has no version yet")
    happens(store, ShardStarted("score", 0, 100, 1), batch(0, 100, 110), batch(1, 110, 130))
    row = shard(store)
    assert (row.next_batch, row.next_offset, row.rows_in, row.rows_out, row.filtered) == (2, 130, 30, 28, 2)
    assert row.why is None
    assert [row.has_read(offset) for offset in (99, 100, 129, 130)] == [False, True, True, False]
    newest, oldest = streams.batches(store.database, "score", 0)
    assert (newest.n, newest.first, newest.end) == (1, 110, 130)
    assert streams.batches(store.database, "score", 0, before=newest.seq) == [oldest]


@pytest.mark.parametrize("wrong", [batch(1, 0, 5), batch(0, 1, 5), batch(0, 0, 5, watermark_us=9)], ids=str)
def test_a_batch_that_skips_repeats_or_turns_time_back_is_refused(store: SqlStore, wrong: BatchCommitted) -> None:
    happens(store, ShardStarted("score", 0, 0, 1), ProgressMade("score", 0, 10, 2))
    with pytest.raises(StoreError, match="disagree"):
        happens(store, wrong)
    assert shard(store).next_offset == 0


def test_a_shard_starts_once(store: SqlStore) -> None:
    happens(store, ShardStarted("score", 0, 0, 1))
    with pytest.raises(StoreError, match="disagree"):
        happens(store, ShardStarted("score", 0, 7, 1))


def test_deaths_are_counted_at_one_offset_and_forgotten_with_the_next_batch(store: SqlStore) -> None:
    happens(store, ShardStarted("score", 0, 0, 1), ShardDied("score", 0, 0, 1, 2), ShardDied("score", 0, 0, 2, 3))
    assert shard(store).deaths == 2
    with pytest.raises(StoreError, match="disagree"):
        happens(store, ShardDied("score", 0, 5, 3, 4))
    happens(store, batch(0, 0, 5))
    assert shard(store).deaths == 0


def test_a_row_is_a_dead_letter_once(store: SqlStore) -> None:
    happens(store, dead(4), dead(5))
    with pytest.raises(StoreError, match="UNIQUE"):
        happens(store, dead(4))
    first, second = streams.dead_letters(store.database, "score")
    assert (
        [row.offset for row in streams.dead_letters(store.database, "score", after=first.id)] == [second.offset] == [5]
    )


def test_an_event_trigger_never_reads_backwards(store: SqlStore) -> None:
    def read(*offsets: int) -> TriggerProgressed:
        return TriggerProgressed("retrain", "events", offsets, msgspec.Raw(b'{"held":[]}'), 0, 5)

    happens(store, read(3, 4))
    for offsets in ((2, 9), (3,)):
        with pytest.raises(StoreError, match="disagree"):
            happens(store, read(*offsets))
    happens(store, read(3, 9))
    (row,) = streams.triggers(store.database)
    assert (row.offsets, row.held) == ((3, 9), b'{"held":[]}')


def test_blobs_are_found_by_offsets_and_by_time(store: SqlStore) -> None:
    happens(
        store,
        appended("flights", 10, min_time_us=0, max_time_us=9),
        appended("flights", 10, min_time_us=10, max_time_us=19, min_known_us=50, max_known_us=60),
        appended("flights", 10, partition=1, min_time_us=5, max_time_us=30),
    )
    db = store.database
    assert [b.first for b in topics.blobs(db, "flights", 0, 9, 11)] == [0, 10]
    assert [b.first for b in topics.blobs(db, "flights", 0, 10)] == [10]
    assert [b.first for b in topics.blobs(db, "flights", 0, 20)] == []

    def found(start_us: int | None, end_us: int | None, **options: object) -> list[tuple[int, int]]:
        some = topics.blobs_between(db, "flights", start_us, end_us, **options)  # type: ignore[arg-type]
        return [(blob.partition, blob.first) for blob in some]

    assert found(9, 10) == [(0, 0), (1, 0)]
    assert found(10, None) == [(0, 10), (1, 0)]
    assert found(0, 100, ends={0: 10}) == [(0, 0)]
    assert found(61, None, by="known") == [(0, 0), (1, 0)], "rows of unknown bounds may always match"
    assert [(b.partition, b.first) for b in islice(topics.newest(db, "flights"), 2)] == [(1, 0), (0, 10)]
    assert [part.reaches_us for part in topics.parts(db, "flights")] == [19, 30]


def test_a_prediction_is_traced_to_the_batch_that_made_it(store: SqlStore) -> None:
    happens(store, ShardStarted("score", 0, 0, 1))
    happens(store, batch(0, 0, 5), appended("scores", 4), dead(2), batch(1, 5, 9), appended("scores", 3))
    for offset, n in ((0, 0), (3, 0), (4, 1), (6, 1)):
        found = trace.origin(store.database, "scores", 0, offset)
        assert found is not None
        assert found.batch is not None
        assert found.batch.n == n
    assert trace.origin(store.database, "scores", 0, 7) is None


def test_rows_of_a_task_and_of_a_client_are_traced_too(store: SqlStore) -> None:
    start = AttemptStarted("r1", "load", "", 0, 1, 1, "w", 2)
    done = AttemptSucceeded("r1", "load", "", 0, 1, 1, 3, 1, Value("json", "1"))
    created = RunCreated("r1", "daily", "c", "k", "person", 1)
    happens(store, created, start, done, appended("out", 2), appended("out", 2), log="engine")
    happens(store, appended("raw", 2), log="clients")
    task, client = trace.origin(store.database, "out", 0, 3), trace.origin(store.database, "raw", 0, 0)
    assert task is not None
    assert task.attempt == done
    assert client is not None
    assert (client.batch, client.attempt) == (None, None)


def test_what_is_not_at_rest_is_named(store: SqlStore) -> None:
    def lines() -> list[str]:
        return unsettled(
            store.database,
            sources={"score": "flights"},
            triggers={("alert", "events"): "flights"},
            bound={"score": "delay"},
            windows={"drift": [60]},
        )

    assert lines() == ["monitor drift has 1 due windows that are not judged"]
    happens(store, appended("flights", 5), log="clients")
    happens(store, RunCreated("r1", "daily", "c", "k", "person", 1), log="engine")
    happens(store, appended("flights", 2), log="clients")
    fired = TriggerFired("alert", "events", "0:1", (("flights", 0, 0, 1),), 1, 1)
    happens(store, fired, log="trigger:alert:events")
    asked = store.ask("run", None, key="a", at_us=1)
    register = VersionRegistered("delay", 1, "lgb", "p", "d", 1, "r1", "fit", "c", "m:f", 0, 1)
    happens(store, register, AliasMoved("delay", "champion", 1, 0, "gate", "first", 1), log="engine")
    happens(store, ShardStarted("score", 0, 0, 1), batch(0, 0, 5))
    assert lines() == [
        "run r1 of daily is running",
        f"request {asked} (run) is not answered",
        "the engine has not followed 1 news of trigger:alert:events",
        "stream score/0 is at 5 of 7",
        "trigger events of alert is at 0 of 7 in flights/0",
        "stream score/0 scores with version None, the champion is 1",
        "monitor drift has 1 due windows that are not judged",
    ]
    happens(store, batch(1, 5, 7), ModelHeld("score", 0, "delay", 1, 1, 1))
    happens(store, TriggerProgressed("alert", "events", (7,), msgspec.Raw(b"null"), 0, 1), log="trigger")
    judged = WindowJudged("drift", "delay", (0, 60), 1, 9, True, "", {}, "r1", 1)
    happens(store, CursorMoved("trigger:alert:events", 1), judged, RunEnded("r1", "succeeded", 9), log="engine")
    assert lines() == [f"request {asked} (run) is not answered"]


def test_a_deploy_holds_the_ends_of_all_topics_at_its_moment_whatever_clocks_say(store: SqlStore) -> None:
    happens(store, appended("flights", 4), appended("flights", 3, partition=2), log="clients")
    happens(store, CodeDeployed("c1", msgspec.Raw(b"{}"), at_us=1), log="engine")
    happens(store, appended("flights", 2), appended("late", 1), log="clients")
    assert heads_at_deploy(store.database, "c1") == {"flights": {0: 4, 2: 3}}
    happens(store, CodeDeployed("c1", msgspec.Raw(b"{}"), at_us=0), log="engine")
    assert heads_at_deploy(store.database, "c1") == {"flights": {0: 6, 2: 3}, "late": {0: 1}}
    assert heads_at_deploy(store.database, "c2") is None
