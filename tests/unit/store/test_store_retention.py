"""What the store forgets of old runs: which facts and rows go, and that nothing else does."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import xxhash

from headrace.base.facts import Fact, encode
from headrace.data.facts import Part, TablePublished, TopicAppended
from headrace.errors import DisagreementError
from headrace.models.facts import VersionRegistered
from headrace.ports import Append
from headrace.runs import facts as f
from headrace.runs.facts import Gone, Value
from headrace.store.sql import connection
from headrace.store.sql.engine_store import EngineSqlStore
from headrace.store.sql.reads import retention, runs, soundness, trace
from headrace.store.sql.schema import PAGE_BYTES

DAY = 86_400_000_000


@pytest.fixture
def store() -> Iterator[EngineSqlStore]:
    opened = EngineSqlStore(":memory:")
    yield opened
    opened.close()


def write(store: EngineSqlStore, *facts: Fact, log: str = "engine") -> None:
    bodies = {i: b"x" for i, fact in enumerate(facts) if isinstance(fact, TopicAppended)}
    store.commit([Append(log, store.head(log), facts, bodies)])


def begun(run: str, at_us: int = 0) -> tuple[Fact, ...]:
    return (
        f.RunCreated(run, "p", "c1", f"key {run}", "person", at_us),
        f.MapExpanded(run, "m", "", 1),
        f.AttemptStarted(run, "a", "", 0, 1, 1, "w1", at_us),
    )


def ended(run: str, at_us: int, *output: Fact) -> tuple[Fact, ...]:
    result = Value("json", "1")
    return (
        f.AttemptSucceeded(run, "a", "", 0, 1, 1, at_us, 1, result, reads=(f.Read("table", "t", 1),)),
        *output,
        f.RunEnded(run, "succeeded", at_us),
    )


def drop(store: EngineSqlStore, before_us: int, at_us: int = 100 * DAY, limit: int = 200) -> f.DetailsDropped | None:
    old = store.old_details(before_us, limit)
    if old is None:
        return None
    fact = f.DetailsDropped(old.runs, before_us, old.gone, at_us)
    write(store, fact)
    return fact


def seqs(store: EngineSqlStore, log: str = "engine") -> list[int]:
    return [stored.seq for stored in store.facts(log, after=0)]


def test_only_runs_that_ended_before_are_old_and_the_oldest_come_first(store: EngineSqlStore) -> None:
    write(store, *begun("r1"), *begun("r2"), *begun("r3"), *begun("r4"))
    write(store, *ended("r3", 5), *ended("r1", 9), *ended("r2", 20))
    old = store.old_details(10, 200)
    assert old is not None
    assert sorted(old.runs) == ["r1", "r3"]
    assert store.old_details(5, 200) is None
    first = store.old_details(10, 1)
    assert first is not None
    assert first.runs == ("r3",)


def test_details_of_others_that_lie_between_stay(store: EngineSqlStore) -> None:
    write(store, *begun("r1"), *begun("r2"), *ended("r1", 5))
    fact = drop(store, 10)
    assert fact is not None
    # r1: created 1, details 2 and 3, its attempt 7, its end 8; r2 lies at 4 to 6 and is at work.
    assert [list(gone.spans()) for gone in fact.gone] == [[(2, 3), (7, 7)]]
    assert seqs(store) == [1, 4, 5, 6, 8, 9]
    assert store.active_run("r2") is not None
    assert drop(store, 10) is None, "there is nothing left to drop"


def test_what_came_of_a_run_and_what_it_read_is_kept(store: EngineSqlStore) -> None:
    write(store, *begun("r1"), f.InputPinned("r1", "table:t", 1), *ended("r1", 5))
    drop(store, 10, at_us=77)
    db = store.database
    row = runs.run(db, "r1")
    assert row is not None
    assert (row.state, row.dropped_us) == ("succeeded", 77)
    assert [(cell.node, cell.succeeded) for cell in runs.cells(db, "r1")] == [("a", 1)]
    assert runs.pins(db, "r1") == {"table:t": 1}
    assert [read.name for read in trace.reads(db, run="r1")] == ["t"]
    assert store.run_of_key("key r1") == "r1"
    assert (runs.items(db, "r1", "a"), runs.scopes(db, "r1"), runs.codecs(db, "r1")) == ([], [], {})
    assert [fact.kind for fact in runs.history(db, "r1")] == ["RunCreated", "InputPinned", "RunEnded"]


def test_the_digest_is_that_of_the_facts_that_went(store: EngineSqlStore) -> None:
    details = begun("r1")[1:]
    accepted, end = ended("r1", 5)
    write(store, begun("r1")[0], *details, accepted, end)
    fact = drop(store, 10)
    assert fact is not None
    (gone,) = fact.gone
    assert gone.count == 3
    assert gone.digest == xxhash.xxh3_128_hexdigest(b"".join(map(encode, (*details, accepted))))


def test_rows_of_a_topic_are_traced_to_their_attempt_as_before(store: EngineSqlStore) -> None:
    published = TablePublished("t", 1, (), 0, "r1", "a", 0, 1, 5)
    write(store, *begun("r1"), *ended("r1", 5, published, TopicAppended("out", 0, 2, at_us=5, size_bytes=1)))
    write(store, *begun("r2"), *ended("r2", 5, TablePublished("t", 2, (), 0, "r2", "a", 0, 1, 5)))
    before = trace.origin(store.database, "out", 0, 0)
    assert before is not None
    assert before.attempt is not None
    drop(store, 10)
    assert trace.origin(store.database, "out", 0, 0) == before
    kinds = [type(stored.fact).__name__ for stored in store.facts("engine", after=0)]
    assert kinds.count("AttemptSucceeded") == 1, "a table's version names its run in its row"


def test_a_run_in_process_is_forgotten_in_its_own_log(store: EngineSqlStore) -> None:
    write(store, f.LogTaken(1, "here", 0), *begun("r1"), *ended("r1", 5), log="run:1")
    write(store, *begun("r2"), *ended("r2", 6))
    fact = drop(store, 10)
    assert fact is not None
    assert sorted(gone.log for gone in fact.gone) == ["engine", "run:1"]
    assert seqs(store, "run:1") == [1, 2, 6]
    assert list(soundness.broken_logs(store.database)) == []


def test_a_batch_does_not_look_through_too_much_of_the_log(
    store: EngineSqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(6):
        write(store, *begun(f"r{n}"), *ended(f"r{n}", n))
    monkeypatch.setattr(retention, "FACTS_MOST", 11)
    sizes: list[int] = []
    while (fact := drop(store, 10)) is not None:
        sizes.append(len(fact.runs))
    assert sizes == [2, 2, 2]


@pytest.mark.parametrize("after", ["goes again", "has gone", "is younger"])
def test_the_rows_refuse_what_does_not_fit_them(store: EngineSqlStore, after: str) -> None:
    write(store, *begun("r1"), *ended("r1", 5)[:-1], f.RunEnded("r1", "failed", 5))
    old = store.old_details(10, 200)
    assert old is not None
    before_us = 10
    if after == "goes again":
        write(store, f.RunRetried("r1", 2, 6, "ann"))
    elif after == "has gone":
        drop(store, 10)
    else:
        before_us = 5
    kept = seqs(store)
    with pytest.raises(DisagreementError):
        write(store, f.DetailsDropped(old.runs, before_us, old.gone, 7))
    assert seqs(store) == kept


def test_a_run_without_details_cannot_go_again(store: EngineSqlStore) -> None:
    write(store, *begun("r1"), *ended("r1", 5)[:-1], f.RunEnded("r1", "failed", 5))
    drop(store, 10)
    with pytest.raises(DisagreementError):
        write(store, f.RunRetried("r1", 2, 6, "ann"))


def test_what_is_no_detail_or_is_not_there_is_never_dropped(store: EngineSqlStore) -> None:
    write(store, *begun("r1"), *ended("r1", 5))
    with pytest.raises(DisagreementError, match="1 of 2 facts of engine"):
        write(store, f.DetailsDropped(("r1",), 10, (Gone("engine", 4, (2,), ""),), 7))  # the second is the run's end
    with pytest.raises(DisagreementError, match="0 of 1 facts of elsewhere"):
        write(store, f.DetailsDropped(("r1",), 10, (Gone("elsewhere", 1, (1,), ""),), 7))


# -- files -------------------------------------------------------------------------------------------------------------


def test_files_are_left_until_it_is_noted_that_they_are_gone(store: EngineSqlStore) -> None:
    part = Part("r1/a/0/1-1.parquet", 1, 1, "d")
    version = VersionRegistered(
        "delay", 1, "lgb", "r1/a/0/1-1.lgb", "d", 1, "r1", "a", "c1", "m:f", 0, 5, golden="r1/a/0/1-1.golden"
    )
    write(store, *begun("r1"), *ended("r1", 5, TablePublished("t", 1, (part,), 0, "r1", "a", 0, 1, 5), version))
    write(store, *begun("r2"), *ended("r2", 5))
    returned = Value("raw", None, "r3/a/0/1-1.bin")
    write(store, *begun("r3"), *ended("r3", 5)[:-1], f.RunEnded("r3", "succeeded", 5, result=returned))
    assert store.left_files(10) == []
    drop(store, 10)
    left = {one.run: one for one in store.left_files(10)}
    assert left["r1"].paths == {"r1/a/0/1-1.parquet", "r1/a/0/1-1.golden"}
    assert [value.path for value in left["r1"].values] == ["r1/a/0/1-1.lgb"]
    assert (left["r2"].paths, left["r2"].values) == (frozenset(), ())
    assert left["r3"].values == (returned,)
    assert [found.value for found in soundness.results(store.database)] == [returned], "a backup takes it along"
    write(store, f.FilesDropped(("r2", "r3"), 8))
    assert [one.run for one in store.left_files(10)] == ["r1"]
    with pytest.raises(DisagreementError):
        write(store, f.FilesDropped(("r2",), 9))


def test_logs_are_needed_since_the_oldest_run_with_details_began(store: EngineSqlStore) -> None:
    assert store.oldest_details_us() is None
    write(store, *begun("r1", 3), *begun("r2", 4), *ended("r1", 5))
    assert store.oldest_details_us() == 3
    drop(store, 10)
    assert store.oldest_details_us() == 4


# -- soundness ---------------------------------------------------------------------------------------------------------


def test_a_fact_that_was_deleted_by_hand_is_found_beside_those_that_were_dropped(store: EngineSqlStore) -> None:
    write(store, *begun("r1"), *ended("r1", 5), *begun("r2"), *ended("r2", 50))
    drop(store, 10)
    assert list(soundness.broken_logs(store.database)) == []
    with store.database.write() as hand:
        hand.execute("DELETE FROM facts WHERE log = 'engine' AND seq = 7")
    assert list(soundness.broken_logs(store.database)) == ["the log engine has 7 facts, and should have 8"]


# -- cost --------------------------------------------------------------------------------------------------------------


def test_what_is_old_is_found_by_indexes_that_hold_nothing_else(store: EngineSqlStore) -> None:
    write(store, *begun("r1"), *ended("r1", 5))
    said: list[str] = []
    with store.database.reading() as reader:
        reader.set_trace_callback(said.append)
    store.old_details(10, 10)
    drop(store, 10)
    store.left_files(10)
    store.oldest_details_us()
    with store.database.reading() as reader:
        reader.set_trace_callback(None)
    steps = [
        (step, sql)
        for sql in dict.fromkeys(said)
        if sql.startswith(("SELECT", "DELETE", "UPDATE"))
        for *_, step in store.database.read(f"EXPLAIN QUERY PLAN {sql}")
    ]
    assert len(steps) > 8
    walks = [step for step, _ in steps if step.startswith("SCAN")]
    assert {walk.rpartition(" ")[2] for walk in walks} <= {"runs_with_details", "runs_with_files"}, steps


def test_a_file_with_much_free_space_becomes_shorter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "FREE_LEAST", 8)
    store = EngineSqlStore(tmp_path / "headrace.db")
    large = "x" * PAGE_BYTES
    for n in range(60):
        failed = f.AttemptFailed(f"r{n}", "a", "", 0, 1, 1, 5, "ValueError", large)
        write(store, *begun(f"r{n}"), failed, f.RunEnded(f"r{n}", "failed", 5))
    store.checkpoint_truncate()
    before = (tmp_path / "headrace.db").stat().st_size
    drop(store, 10)
    store.tidy()
    assert (tmp_path / "headrace.db").stat().st_size < before / 2
    with sqlite3.connect(tmp_path / "headrace.db") as other:
        assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    other.close()
    store.close()
