"""What a stream process does when a commit goes wrong: nothing is lost, nothing is doubled, a zombie writes nothing."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.connectors.shapes import Shapes
from headrace.connectors.tables import write_part
from headrace.data.facts import Part, TablePublished
from headrace.data.table import Table
from headrace.data.topic import Topic
from headrace.errors import StoreError, SupersededError
from headrace.graph.stream import stream
from headrace.ports import Append
from headrace.runs.facts import LogTaken
from headrace.shards.runner import POLL_S
from headrace.shards.shard import ShardOwner
from headrace.shards.stream import ProjectStream
from headrace.streams.place import Place


def reading(harness):
    events = Topic("events", schema={"id": str, "x": int}, key="id", partitions=2)
    out = Topic("out", key="id", partitions=1)

    @stream(events, to=out, start="earliest")
    def twice(batch: pl.DataFrame) -> pl.DataFrame:
        return batch.select("id", y=pl.col("x") * 2)

    h = harness(twice)
    h.start(Place("twice", 0), Place("twice", 1))
    h.settle()
    return h, events, out


def failing(h, *, after: bool):
    """Let the next commit raise, before or after it has happened."""
    commit = h.store.commit

    def once(appends):
        h.store.commit = commit
        if after:
            commit(appends)
        raise StoreError("the disk did not answer", code="HR4020")

    h.store.commit = once


@pytest.mark.parametrize("after", [False, True])
def test_an_unknown_outcome_is_settled_by_the_head_of_the_log(harness, after):
    h, events, out = reading(harness)
    h.append(events, [{"id": f"e{i}", "x": i} for i in range(20)])
    failing(h, after=after)
    if after:
        h.settle()
    else:
        with pytest.raises(StoreError, match="did not answer"):
            h.settle()
    h.settle()
    assert sorted(h.read(out).rows()) == sorted((f"e{i}", 2 * i) for i in range(20))


def test_a_process_whose_log_was_taken_writes_nothing_more(harness):
    h, events, _ = reading(harness)
    head = h.store.head("shard:twice:0")
    h.store.commit([Append("shard:twice:0", head, (LogTaken(head + 1, "another", 1),))])
    h.append(events, [{"id": f"e{i}", "x": i} for i in range(20)])
    with pytest.raises(SupersededError):
        h.settle()
    assert h.log.heads("out") == {}


def test_one_tick_commits_the_batches_of_all_shards_together(harness):
    h, events, _ = reading(harness)
    commits: list[int] = []
    commit = h.store.commit

    def counted(appends):
        commits.append(len(appends))
        return commit(appends)

    h.append(events, [{"id": f"e{i}", "x": i} for i in range(20)])
    h.store.commit = counted
    h.settle()
    assert commits[0] == 2


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["", "restart", "before", "after"])), max_size=8))
def test_over_any_appends_restarts_and_lost_commits_the_output_is_that_of_one_batch(harness, story):
    h, events, out = reading(harness)
    n = 0
    for rows, fault in story:
        h.append(events, [{"id": f"e{i % 7}", "x": i} for i in range(n, n + rows)])
        n += rows
        commit = h.store.commit
        if fault in ("before", "after"):
            failing(h, after=fault == "after")
        try:
            h.settle()
        except StoreError:
            h.restart()
        h.store.commit = commit
        if fault == "restart":
            h.restart()
    h.settle()
    done = h.read(out)
    assert sorted(done.rows()) == sorted((f"e{i % 7}", 2 * i) for i in range(n)) if n else done.is_empty()
    for key in done["id"].unique() if n else []:
        placed = h.log.read(out.definition, hidden=True).filter(pl.col("id") == key).sort("_offset")
        assert placed["y"].is_sorted()  # order holds per key
    h.close()


def publish(h, table: Table, version: int, rows: pl.DataFrame) -> None:
    written = write_part(h.holdings, table.definition, rows, path=f"t/{version}.parquet", window=None)
    part = Part(written.path, written.rows, written.size_bytes, written.digest)
    fact = TablePublished("rates", version, (part,), len(rows), "r", "n", 0, 1, h.clock.now_us())
    h.store.commit([Append("engine", None, (fact,))])


def test_a_bound_table_is_the_newest_version_at_each_batch_and_is_recorded(harness):
    events = Topic("events", schema={"id": str, "x": int}, key="id", partitions=1)
    out, rates = Topic("out", key="id", partitions=1), Table("rates")

    @stream(events, to=out, bind={"rates": rates.latest()}, start="earliest")
    def priced(batch: pl.DataFrame, rates: pl.DataFrame) -> pl.DataFrame:
        return batch.select("id", y=pl.col("x") * rates["rate"].item())

    h = harness(priced)
    h.start(Place("priced", 0))
    h.append(events, [{"id": "a", "x": 1}])
    h.settle()
    assert h.shard("priced").why == "waits for the first version of table rates"
    for version in (1, 2):
        publish(h, rates, version, pl.DataFrame({"rate": [10 * version]}))
        h.append(events, [{"id": f"b{version}", "x": 1}])
        h.settle()
    assert h.read(out).rows() == [("a", 10), ("b1", 10), ("b2", 20)]
    assert [b.bound[0].version_number for b in h.batches("priced")] == [1, 2]


def test_a_bound_table_that_is_damaged_stops_the_stream_and_kills_no_row(harness):
    events = Topic("events", schema={"id": str, "x": int}, key="id", partitions=1)
    rates = Table("rates")

    @stream(events, to=Topic("out", key="id"), bind={"rates": rates.latest()}, start="earliest")
    def priced(batch: pl.DataFrame, rates: pl.DataFrame) -> pl.DataFrame:
        return batch

    h = harness(priced)
    publish(h, rates, 1, pl.DataFrame({"rate": [10]}))
    h.holdings.files.locate("t/1.parquet").write_bytes(b"no")
    h.start(Place("priced", 0))
    h.append(events, [{"id": "a", "x": 1}])
    h.settle()
    assert h.shard("priced").is_stopped
    assert h.dead("priced") == []


def two_streams(harness):
    made = []
    for name in ("hurt", "sound"):
        topic, out = Topic(name, schema={"id": int}, partitions=1), Topic(f"{name}_out", partitions=1)

        @stream(topic, to=out, name=f"of_{name}", start="earliest")
        def same(batch: pl.DataFrame) -> pl.DataFrame:
            return batch

        made += [same, topic, out]
    hurts, hurt, _, sounds, sound, out = made
    h = harness(hurts, sounds)
    h.append(hurt, [{"id": 1}])
    h.append(sound, [{"id": 2}])
    h.start(Place("of_hurt", 0), Place("of_sound", 0))
    return h, out


def test_rows_that_are_damaged_stop_the_shard_that_reads_them_and_no_other(harness):
    h, out = two_streams(harness)
    with h.store.database.write() as connection:
        connection.execute(
            "UPDATE topic_bodies SET body = zeroblob(length(body))"
            " WHERE id = (SELECT body_id FROM topic_blobs WHERE topic = 'hurt')"
        )
    h.settle()
    assert h.shard("of_hurt").is_stopped
    assert "HR4040: the checksum" in h.shard("of_hurt").why
    assert h.dead("of_hurt") == []
    assert h.read(out)["id"].to_list() == [2]


def test_a_store_that_refuses_one_shard_does_not_take_the_work_of_the_others_along(harness, monkeypatch):
    h, out = two_streams(harness)
    read = ProjectStream.read

    def refused(self, parts):
        if parts[0].shard.stream == "of_hurt":
            raise StoreError("the disk does not answer", code="HR4080")
        return read(self, parts)

    with monkeypatch.context() as patch:
        patch.setattr(ProjectStream, "read", refused)
        for _ in range(5):
            with pytest.raises(StoreError, match="does not answer"):
                h.settle()
        assert h.read(out)["id"].to_list() == [2]
    assert h.shard("of_hurt").why is None
    h.settle()
    assert h.shard("of_hurt").next_offset == 1


def test_a_store_that_refuses_while_the_output_is_packed_makes_no_dead_letters(harness, monkeypatch):
    h, events, out = reading(harness)
    h.append(events, [{"id": f"e{i}", "x": i} for i in range(20)])

    def full(*_):
        raise StoreError("the disk is full", code="HR4020")

    with monkeypatch.context() as patch:
        patch.setattr(Shapes, "shape", full)
        with pytest.raises(StoreError, match="disk is full"):
            h.settle()
    h.settle()
    assert h.dead("twice") == []
    assert len(h.read(out)) == 20


def asked_owners(h, monkeypatch):
    """The names of owners that are asked for a step from here on."""
    asked = []
    work = ShardOwner.work

    def counted(self, news, *, is_idle):
        asked.append(self.state.shard)
        return work(self, news, is_idle=is_idle)

    monkeypatch.setattr(ShardOwner, "work", counted)
    return asked


def test_what_concerns_no_shard_here_costs_one_look_however_many_there_are(harness, monkeypatch):
    h, _, _ = reading(harness)
    other = Topic("other", schema={"id": str}, key="id", partitions=1)
    h.append(other, [{"id": "a"}])
    h.settle()
    asked = asked_owners(h, monkeypatch)
    h.append(other, [{"id": "b"}])
    assert not h.runner.tick()
    assert asked == []
    h.append(other, [{"id": "c"}])
    h.clock.monotonic += int(POLL_S * 1e6)  # somebody who writes all the time does not keep them from their deadlines
    h.runner.tick()
    assert sorted(asked) == [0, 1]


def test_rows_for_one_of_them_wake_it_at_once(harness, monkeypatch):
    h, events, out = reading(harness)
    h.append(events, [{"id": "e1", "x": 1}])
    assert h.runner.tick()
    h.settle()
    assert h.read(out).height == 1
