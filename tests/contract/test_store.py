"""What every store promises, on `:memory:` and on a file."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from headrace.data.facts import Part, TablePublished, TopicAppended, TopicCompleted, TopicShaped
from headrace.errors import ConflictError, StoreError, SupersededError
from headrace.ports import Append, LogState
from headrace.runs.facts import (
    CursorMoved,
    LogTaken,
    RequestAnswered,
    RunCancelled,
    RunCreated,
    RunEnded,
    SlotsSkipped,
)
from headrace.store.sql.engine_store import EngineSqlStore
from headrace.store.sql.reads import project, runs, tables, topics
from headrace.store.sql.store import SqlStore
from headrace.streams.facts import TriggerFired


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlStore]:
    opened = EngineSqlStore(":memory:" if request.param == "memory" else tmp_path / "store.db")
    yield opened
    opened.close()


def taken(epoch: int = 1, owner: str = "me") -> LogTaken:
    return LogTaken(epoch, owner, 1)


def created(run: str = "r1", key: str = "k1", cause: str = "person") -> RunCreated:
    return RunCreated(run=run, pipeline="daily", code="c1", key=key, cause=cause, at_us=2)


def appended(rows: int, partition: int = 0, first: int = -1) -> TopicAppended:
    return TopicAppended("flights", partition, rows, at_us=3, first=first, size_bytes=4)


def test_a_log_begins_at_0_and_its_first_fact_is_number_1(store: SqlStore) -> None:
    assert store.head("engine") == 0
    assert store.commit([Append("engine", 0, (taken(), created()))]).heads == {"engine": 2}
    assert [(s.seq, type(s.fact)) for s in store.facts("engine", after=0)] == [(1, LogTaken), (2, RunCreated)]


def test_facts_come_back_as_they_were(store: SqlStore) -> None:
    facts = (taken(), created())
    store.commit([Append("engine", 0, facts)])
    assert tuple(s.fact for s in store.facts("engine", after=0)) == facts


def test_facts_are_read_in_pages_and_by_kind(store: SqlStore) -> None:
    store.commit([Append("engine", 0, (taken(1), created(), taken(2), taken(3)))])
    assert [s.seq for s in store.facts("engine", after=1, limit=2)] == [2, 3]
    assert [s.seq for s in store.facts("engine", after=0, kinds=["LogTaken"], limit=2)] == [1, 3]


def test_heads_are_found_by_prefix(store: SqlStore) -> None:
    store.commit(
        [Append("shard:a", 0, (taken(),)), Append("shard:b", 0, (taken(), taken(2))), Append("x", 0, (taken(),))]
    )
    assert store.heads("shard:") == {"shard:a": 1, "shard:b": 2}


def test_an_old_owner_is_refused_and_writes_nothing_anywhere(store: SqlStore) -> None:
    store.commit([Append("engine", 0, (taken(1, "old"),))])
    store.commit([Append("engine", 1, (taken(2, "new"),))])
    with pytest.raises(SupersededError, match="its owner is new"):
        store.commit([Append("other", 0, (taken(),)), Append("engine", 1, (created(),))])
    assert store.head("engine") == 2
    assert store.head("other") == 0
    assert runs.run(store.database, "r1") is None


def test_a_second_first_append_is_refused(store: SqlStore) -> None:
    store.commit([Append("engine", 0, (taken(),))])
    with pytest.raises(SupersededError):
        store.commit([Append("engine", 0, (taken(2),))])


def test_a_writer_ahead_of_its_log_is_refused(store: SqlStore) -> None:
    with pytest.raises(SupersededError):
        store.commit([Append("engine", 5, (taken(),))])


def test_an_epoch_is_taken_once(store: SqlStore) -> None:
    store.commit([Append("engine", 0, (taken(3),))])
    with pytest.raises(StoreError, match="disagree"):
        store.commit([Append("engine", 1, (taken(3),))])


def test_a_log_with_many_writers_appends_at_its_head(store: SqlStore) -> None:
    for n in (1, 2, 3):
        done = store.commit([Append("clients", None, (TopicCompleted("flights", n, 1),))])
        assert done.heads == {"clients": n}


def test_two_appends_to_one_log_follow_each_other(store: SqlStore) -> None:
    done = store.commit([Append("engine", 0, (taken(),)), Append("engine", 1, (created(),))])
    assert done.heads == {"engine": 2}
    assert done.facts["engine"] == (taken(), created())


def test_a_fact_that_does_not_fit_the_rows_rolls_everything_back(store: SqlStore) -> None:
    with pytest.raises(StoreError) as caught:
        store.commit([Append("engine", 0, (taken(), RunEnded("nobody", "failed", 3)))])
    assert caught.value.code == "HR4060"
    assert "RunEnded" in str(caught.value)
    assert store.head("engine") == 0


def test_after_an_error_the_store_goes_on(store: SqlStore) -> None:
    with pytest.raises(StoreError):
        store.commit([Append("engine", 0, (RunEnded("nobody", "failed", 3),))])
    assert store.commit([Append("engine", 0, (taken(),))]).heads == {"engine": 1}


def test_a_run_key_is_used_once(store: SqlStore) -> None:
    store.commit([Append("engine", 0, (created("r1", "same"),))])
    with pytest.raises(StoreError, match="key"):
        store.commit([Append("engine", 1, (created("r2", "same"),))])


def test_an_ended_run_stays_ended(store: SqlStore) -> None:
    store.commit([Append("engine", 0, (created(), RunEnded("r1", "succeeded", 3)))])
    for late in (RunEnded("r1", "failed", 4), RunCancelled("r1", 4, "ann")):
        with pytest.raises(StoreError, match="disagree"):
            store.commit([Append("engine", 2, (late,))])
    found = runs.run(store.database, "r1")
    assert found is not None
    assert found.state == "succeeded"


def test_offsets_are_given_in_commit_order_within_and_across_commits(store: SqlStore) -> None:
    facts = (appended(3), appended(2, partition=1), appended(4))
    done = store.commit([Append("clients", None, facts, {0: b"a", 1: b"b", 2: b"c"})])
    assert [f.first for f in done.facts["clients"]] == [0, 0, 3]  # type: ignore[attr-defined]
    done = store.commit([Append("clients", None, (appended(1),), {0: b"d"})])
    assert done.facts["clients"] == (appended(1, first=7),)
    assert [s.fact for s in store.facts("clients", after=3)] == [appended(1, first=7)]
    assert topics.heads(store.database, "flights") == {0: 8, 1: 2}


def test_a_blob_is_found_by_any_offset_in_it_and_keeps_its_bytes(store: SqlStore) -> None:
    store.commit([Append("clients", None, (appended(3), appended(2)), {0: b"first", 1: b"second"})])
    blob = topics.blob_at(store.database, "flights", 0, 3)
    assert blob is not None
    assert (blob.first, blob.rows, blob.log, blob.seq) == (3, 2, "clients", 2)
    assert topics.bodies(store.database, [blob]) == [b"second"]
    assert topics.blob_at(store.database, "flights", 0, 5) is None


def test_rows_at_a_wrong_offset_are_refused(store: SqlStore) -> None:
    store.commit([Append("clients", None, (appended(3),), {0: b"a"})])
    for first in (0, 2, 4):
        with pytest.raises(StoreError, match="not the next"):
            store.commit([Append("clients", None, (appended(1, first=first),), {0: b"b"})])


def test_an_append_without_its_bytes_is_refused(store: SqlStore) -> None:
    with pytest.raises(StoreError, match="bytes"):
        store.commit([Append("clients", None, (appended(3),))])


def test_the_watermark_of_a_topic_never_falls(store: SqlStore) -> None:
    store.commit([Append("clients", None, (TopicCompleted("flights", 10, 1), TopicCompleted("flights", 10, 1)))])
    with pytest.raises(StoreError, match="disagree"):
        store.commit([Append("clients", None, (TopicCompleted("flights", 9, 1),))])
    assert topics.watermark(store.database, "flights") == 10


@pytest.mark.parametrize("number", [0, 1, 3])
def test_a_table_version_that_is_not_the_next_is_refused(store: SqlStore, number: int) -> None:
    def version(n: int) -> TablePublished:
        return TablePublished("weather", n, (), 0, "r1", "load", 0, 1, at_us=5)

    store.commit([Append("engine", 0, (version(1),))])
    with pytest.raises(StoreError, match="not the next"):
        store.commit([Append("engine", 1, (version(number),))])
    store.commit([Append("engine", 1, (version(2),))])
    assert [row.version for row in tables.versions(store.database, "weather")] == [2, 1]


def test_a_slot_is_used_up_by_a_run_or_a_skip_and_only_once(store: SqlStore) -> None:
    slot = created(key="schedule:daily:at:noon:100", cause="schedule")
    store.commit([Append("engine", 0, (slot,))])
    assert project.schedules(store.database) == {("daily", "at:noon"): 100}
    store.commit([Append("engine", 1, (SlotsSkipped("daily", "at:noon", 100, 300, 2, "paused", 1),))])
    again = created("r2", "schedule:daily:at:noon:200", "schedule")
    with pytest.raises(StoreError, match="disagree"):
        store.commit([Append("engine", 2, (again,))])
    assert project.schedules(store.database) == {("daily", "at:noon"): 300}


def test_a_cursor_grows_and_never_passes_the_log_it_follows(store: SqlStore) -> None:
    store.commit([Append("shard:a", 0, (taken(), taken(2)))])
    store.commit([Append("engine", 0, (CursorMoved("shard:a", 2),))])
    for seq in (1, 2, 3):
        with pytest.raises(StoreError, match="disagree"):
            store.commit([Append("engine", 1, (CursorMoved("shard:a", seq),))])
    assert store.database.read("SELECT owner, log, seq FROM cursors") == [("engine", "shard:a", 2)]


def test_news_is_there_until_the_cursor_has_passed_it(store: EngineSqlStore) -> None:
    fired = TriggerFired("react", "event", "0:1", (("clicks", 0, 0, 1),), 5, 5)
    elsewhere = TablePublished("weather", 1, (Part("p", 1, 1, ""),), 1, "r9", "load", 0, 1, 5)
    store.commit([Append("trigger:react:event", 0, (taken(), fired, fired))])
    store.commit([Append("run:x", 0, (taken(), elsewhere))])
    store.commit([Append("engine", 0, (msgspec.structs.replace(elsewhere, version_number=2),))])
    assert [(s.log, s.seq) for s in store.news()] == [
        ("run:x", 2), ("trigger:react:event", 2), ("trigger:react:event", 3)
    ]  # fmt: skip
    assert [s.fact for s in store.news(limit=1)] == [elsewhere]
    store.commit([Append("engine", 1, (CursorMoved("trigger:react:event", 2), CursorMoved("run:x", 2)))])
    assert [(s.log, s.seq) for s in store.news()] == [("trigger:react:event", 3)]


def test_a_number_that_another_writer_took_is_a_conflict(store: SqlStore) -> None:
    published = TablePublished("weather", 1, (Part("p", 1, 1, ""),), 1, "r9", "load", 0, 1, 5)
    store.commit([Append("run:x", 0, (published,))])
    with pytest.raises(ConflictError, match="faster: version 1 is not the next of table 'weather'"):
        store.commit([Append("engine", 0, (published,))])
    assert store.log("engine") == LogState(0)


def test_an_unfinished_run_knows_who_has_replaced_its_rows(store: EngineSqlStore) -> None:
    store.commit([Append("engine", 0, (created(), created("r2", "k2"), created("r3", "k3")))])
    facts = [
        TablePublished(
            table, n, (Part(f"{run}.parquet", 1, 1, "", (0, 9), run),), 1, run, "load", 0, n, 5, replaced=gone
        )
        for table, n, run, gone in (
            *(("daily", 1, "r3", ()), ("daily", 2, "r1", ("r3",)), ("daily", 3, "r2", ("r1",))),
            *(("weekly", 1, "r2", ()), ("weekly", 2, "r1", ())),
        )
    ]
    store.commit([Append("engine", 3, (*facts, RunEnded("r3", "succeeded", 6)))])
    assert {rows.run.run: rows.replaced_by for rows in store.restore("engine").runs} == {
        "r1": {"daily": "r2"},
        "r2": {},
    }
    assert [v.replaced for v in tables.versions(store.database, "daily")] == [("r1",), ("r3",), ()]


def test_columns_that_another_writer_gave_are_a_conflict(store: SqlStore) -> None:
    store.commit([Append("run:x", 0, (TopicShaped("clicks", {"id": "str"}, 5),))])
    with pytest.raises(ConflictError, match=r"the topic clicks has the columns \{'id': 'str'\}"):
        store.commit([Append("engine", 0, (TopicShaped("clicks", {"id": "int"}, 5),))])
    assert store.log("engine") == LogState(0)


def test_a_log_has_the_head_and_the_owner_that_its_facts_say(store: SqlStore) -> None:
    assert store.log("engine") == LogState(0)
    store.commit([Append("engine", 0, (taken(), CursorMoved("engine", 1)))])
    assert store.log("engine") == LogState(2, 1, taken().owner)


def test_what_the_database_refuses_is_said_in_plain_words(store: SqlStore) -> None:
    with pytest.raises(StoreError, match="no such table: nowhere") as read:
        store.database.read("SELECT * FROM nowhere")
    with pytest.raises(StoreError, match="no such table: nowhere") as written, store.database.write() as connection:
        connection.execute("DELETE FROM nowhere")
    assert read.value.code == written.value.code == "HR4000"
    assert store.head("engine") == 0, "it goes on"


def test_the_same_key_is_the_same_request(store: SqlStore) -> None:
    first = store.ask("run", {"pipeline": "daily"}, key="a", at_us=1)
    other = store.ask("run", {"pipeline": "daily"}, key="b", at_us=2)
    assert store.ask("run", {"pipeline": "else"}, key="a", at_us=3) == first != other
    assert [(r.id, r.body) for r in store.requests()] == [
        (first, {"pipeline": "daily"}),
        (other, {"pipeline": "daily"}),
    ]


def test_a_request_is_answered_once_and_leaves_the_queue(store: SqlStore) -> None:
    asked = store.ask("run", None, key="a", at_us=1)
    assert store.answer(asked) is None
    store.commit([Append("engine", 0, (RequestAnswered(asked, "done", {"run": "r1"}, 5),))])
    assert store.answer(asked) == ("done", {"run": "r1"})
    assert store.requests() == []
    with pytest.raises(StoreError, match="disagree"):
        store.commit([Append("engine", 1, (RequestAnswered(asked, "done", {"run": "r2"}, 6),))])


def test_16_threads_share_one_store_and_offsets_have_no_gap(store: SqlStore) -> None:
    errors: list[BaseException] = []

    def write(who: int) -> None:
        try:
            for n in range(20):
                store.commit(
                    [
                        Append(f"own:{who}", n, (taken(n + 1),)),
                        Append("clients", None, (appended(who + 1),), {0: bytes([who])}),
                    ]
                )
                store.ask("run", who, key=f"{who}/{n}", at_us=n)
                assert store.head(f"own:{who}") == n + 1
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(who,)) for who in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    blobs = topics.blobs(store.database, "flights", 0, 0)
    assert [blob.seq for blob in blobs] == list(range(1, 321))
    assert [blob.first for blob in blobs] == [sum(b.rows for b in blobs[:i]) for i in range(320)]
    assert [body[0] + 1 for body in topics.bodies(store.database, blobs)] == [blob.rows for blob in blobs]
    assert len(store.requests(limit=1000)) == 320


@pytest.mark.parametrize("is_committed", [True, False])
def test_after_an_unknown_outcome_the_head_says_what_happened(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch, is_committed: bool
) -> None:
    store.commit([Append("engine", 0, (taken(),))])
    whole = store.database.write

    @contextmanager
    def the_line_is_cut() -> Iterator[sqlite3.Connection]:
        with whole() as connection:
            yield connection
            if not is_committed:
                raise StoreError("the line was cut")
        raise StoreError("the line was cut")

    monkeypatch.setattr(store.database, "write", the_line_is_cut)
    with pytest.raises(StoreError, match="cut"):
        store.commit([Append("engine", 1, (created(),))])
    assert store.head("engine") == (2 if is_committed else 1)
    assert (runs.run(store.database, "r1") is not None) is is_committed


def test_a_closed_store_says_so(store: SqlStore) -> None:
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.head("engine")
    with pytest.raises(StoreError, match="closed"):
        store.commit([Append("engine", 0, (taken(),))])


def test_memory_stores_are_apart() -> None:
    one, other = SqlStore(":memory:"), SqlStore(":memory:")
    one.commit([Append("engine", 0, (taken(),))])
    assert other.head("engine") == 0
    one.close()
    other.close()


def test_a_file_is_what_the_next_one_opens(tmp_path: Path) -> None:
    one = SqlStore(tmp_path / "store.db")
    one.commit([Append("engine", 0, (taken(),))])
    other = SqlStore(tmp_path / "store.db")
    assert other.head("engine") == 1
    one.close()
    assert other.commit([Append("engine", 1, (taken(2),))]).heads == {"engine": 2}
    other.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["store.db", "store.db.lock"]


def test_a_database_of_a_newer_headrace_is_refused_with_the_cure(tmp_path: Path) -> None:
    SqlStore(tmp_path / "store.db").close()
    with sqlite3.connect(tmp_path / "store.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(StoreError, match="pip install --upgrade headrace") as caught:
        SqlStore(tmp_path / "store.db")
    assert caught.value.code == "HR4010"


def test_a_fact_of_a_newer_headrace_is_refused_with_the_cure(store: SqlStore) -> None:
    with store.database.write() as connection:
        connection.execute("INSERT INTO facts VALUES ('engine', 1, 'PlanetMoved', 1, 0, x'5b5d')")
    with pytest.raises(StoreError, match="PlanetMoved") as caught:
        store.facts("engine", after=0)
    assert caught.value.code == "HR4010"
