"""A stream whose output has no schema gives it its columns with its first rows."""

from __future__ import annotations

from typing import Any

import polars as pl

import headrace as hr
from headrace.errors import StoreError
from headrace.streams.place import Place


def doubling(source: Any, out: Any) -> Any:
    @hr.stream(source, to=out, rows="any", start="earliest")
    def doubled(batch: pl.DataFrame) -> pl.DataFrame:
        if batch["x"].is_in([-1]).any():
            return batch.select("id", y=pl.lit("text"))
        return batch.select("id", y=pl.col("x") * 2)

    return doubled


def test_all_shards_write_the_same_columns_and_what_does_not_fit_is_a_dead_letter(harness) -> None:
    source = hr.Topic("source", schema={"id": str, "x": int}, key="id", partitions=3)
    out = hr.Topic("out", key="id", partitions=2)
    bench = harness(source, out, doubling(source, out))
    bench.append(source, [{"id": f"e{n}", "x": n} for n in range(30)])
    bench.start(Place("doubled", 0), Place("doubled", 1), Place("doubled", 2))
    bench.settle()
    assert bench.store.topic_columns("out") == {"id": "str", "y": "int"}
    shaped = [fact for n in range(3) for fact in bench.facts(f"shard:doubled:{n}", "TopicShaped")]
    assert len(shaped) == 1
    bench.append(source, [{"id": "bad", "x": -1}])
    bench.settle()
    (letter,) = bench.dead("doubled")
    assert (letter.reason, "expected int, got 'text'" in letter.error) == ("contract", True)
    assert len(bench.read(out)) == 30


def test_the_columns_are_told_again_after_a_commit_that_failed(harness) -> None:
    source = hr.Topic("source", schema={"id": str, "x": int}, key="id", partitions=1)
    out = hr.Topic("out", key="id", partitions=1)
    bench = harness(source, out, doubling(source, out))
    bench.append(source, [{"id": "a", "x": 1}])
    runner = bench.start(Place("doubled", 0))
    commit, full = bench.store.commit, [True]

    def failing(appends: Any) -> Any:
        if full[0] and any(fact.kind == "TopicShaped" for append in appends for fact in append.facts):
            full[0] = False
            raise StoreError("the disk is full", code="HR4020")
        return commit(appends)

    bench.store.commit = failing
    try:
        bench.settle()
    except StoreError:
        assert bench.store.topic_columns("out") is None
        runner.tick()
    bench.settle()
    assert not full[0]
    assert bench.store.topic_columns("out") == {"id": "str", "y": "int"}
    assert len(bench.read(out)) == 1
