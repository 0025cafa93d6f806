"""A stream over real topics: every row exactly once, whatever its function does."""

from __future__ import annotations

import asyncio
import os
import threading

import msgspec
import polars as pl
import pytest

from headrace.connectors.appends import appends, prepare_json
from headrace.connectors.log import read_source
from headrace.data.facts import TopicCompleted
from headrace.data.model import Model
from headrace.data.topic import Source, Topic
from headrace.graph.stream import stream
from headrace.models.facts import AliasMoved, VersionRegistered
from headrace.ports import Append
from headrace.shards import sides
from headrace.shards.batch import News
from headrace.streams.facts import ModelHeld, ProgressMade, ShardHeld
from headrace.streams.place import Place

EVENT = {"id": str, "at": "datetime", "x": int}
LATER = 2_000_000_000_000_000  # after all rows


def source(**more) -> Topic:
    return Topic("events", schema=EVENT, key="id", event_time="at", **{"partitions": 1, **more})


def output(**more) -> Topic:
    return Topic("out", key="id", **{"partitions": 1, **more})


def row(n: int, x: int | None = None) -> dict[str, object]:
    return {
        "id": f"e{n}",
        "at": f"2013-01-01T00:{n // 60 % 60:02}:{n % 60:02}Z",
        "x": n if x is None else x,
    }


def rows(n: int) -> list[dict[str, object]]:
    return [row(i) for i in range(n)]


def doubled(batch: pl.DataFrame) -> pl.DataFrame:
    return batch.select("id", y=pl.col("x") * 2)


def test_every_row_comes_out_once_over_all_shards(harness):
    events, out = source(partitions=4), output(partitions=4)
    twice = stream(events, to=out, name="twice", start="earliest")(doubled)
    h = harness(twice)
    h.append(events, rows(3000))
    h.start(*(Place("twice", k) for k in range(4)))
    h.settle()
    h.append(events, rows(100))
    h.settle()
    assert sorted(h.read(out).rows()) == sorted((f"e{i}", i * 2) for i in [*range(3000), *range(100)])
    for k in range(4):
        for batch in h.batches("twice", k):
            assert batch.rows_in == batch.rows_out + batch.filtered + batch.dead == batch.end - batch.first


def test_batches_follow_each_other_without_gap_over_restarts(harness):
    events, out = source(), output()
    h = harness(stream(events, to=out, name="twice", start="earliest")(doubled))
    h.start(Place("twice", 0))
    for size in (10, 2000, 1):
        h.append(events, rows(size))
        h.settle()
        h.restart()
    h.settle()
    batches = h.batches("twice")
    assert [b.n for b in batches] == list(range(len(batches)))
    assert [b.first for b in batches] == [0, *(b.end for b in batches[:-1])]
    assert batches[-1].end == 2011 == len(h.read(out))


def test_now_means_what_is_appended_after_the_deploy_though_the_clock_was_set_back(harness):
    events, out = source(), output()
    h = harness(stream(events, to=out, name="twice")(doubled))
    h.clock.us = 5_000_000
    h.append(events, rows(5))
    h.clock.us = 1_000_000
    h.deploy()
    h.append(events, [row(7)])
    h.start(Place("twice", 0))
    h.settle()
    assert h.read(out)["id"].to_list() == ["e7"]


def test_a_start_time_skips_to_the_first_row_at_or_after_it(harness):
    events, out = source(), output()
    h = harness(stream(events, to=out, name="twice", start="2013-01-01T00:00:30Z")(doubled))
    h.append(events, rows(40))
    h.start(Place("twice", 0))
    h.settle()
    assert sorted(h.read(out)["id"]) == [f"e{i}" for i in range(30, 40)]


def test_the_row_that_raises_is_one_dead_letter_and_all_others_come_out(harness):
    def fragile(batch: pl.DataFrame) -> pl.DataFrame:
        if 137 in batch["x"]:
            raise ValueError("137 is evil")
        return doubled(batch)

    events, out = source(), output()
    h = harness(stream(events, to=out, name="fragile", start="earliest")(fragile))
    h.append(events, rows(500))
    h.start(Place("fragile", 0))
    h.settle()
    (letter,) = h.dead("fragile")
    assert (letter.offset, letter.reason) == (137, "error")
    assert letter.error.startswith("ValueError: 137 is evil")
    assert '"x":137' in letter.payload
    assert len(h.read(out)) == 499
    assert h.shard("fragile").dead == 1


def test_a_row_that_does_not_fit_the_output_is_a_dead_letter_of_the_contract(harness):
    def some_null(batch: pl.DataFrame) -> pl.DataFrame:
        return batch.select("id", y=pl.when(pl.col("x") != 5).then("x"))

    events, out = source(), Topic("out", schema={"id": str, "y": int}, key="id", partitions=1)
    h = harness(stream(events, to=out, name="fit", start="earliest")(some_null))
    h.append(events, rows(20))
    h.start(Place("fit", 0))
    h.settle()
    (letter,) = h.dead("fit")
    assert (letter.offset, letter.reason) == (5, "contract")
    assert "column 'y': expected int (never null)" in letter.error


def test_too_many_dead_rows_stop_the_stream(harness):
    def broken(batch: pl.DataFrame) -> pl.DataFrame:
        raise ValueError("no")

    events, out = source(), output()
    h = harness(stream(events, to=out, name="broken", start="earliest")(broken))
    h.append(events, rows(400))
    h.start(Place("broken", 0))
    h.settle()
    shard = h.shard("broken")
    assert shard.is_stopped
    assert "51 of 51 rows are dead letters" in (shard.why or "")
    assert shard.next_offset == 51
    h.restart()
    h.settle()
    assert h.shard("broken").next_offset == 56, "nothing was mended: five more rows say so, not fifty"


def test_a_named_exception_holds_the_shard_and_kills_no_row(harness):
    failures = [TimeoutError("the service sleeps")] * 2

    def remote(batch: pl.DataFrame) -> pl.DataFrame:
        if failures:
            raise failures.pop()
        return doubled(batch)

    events, out = source(), output()
    h = harness(stream(events, to=out, name="remote", start="earliest", retry_on=[TimeoutError])(remote))
    h.append(events, rows(10))
    h.start(Place("remote", 0))
    h.settle()
    held = h.shard("remote")
    assert (held.why, held.until_us) == ("TimeoutError: the service sleeps", h.clock.us + 1_000_000)
    h.clock.pass_us(1_000_000)
    h.settle()
    assert h.shard("remote").until_us == h.clock.us + 2_000_000
    h.clock.pass_us(2_000_000)
    h.settle()
    assert (len(h.read(out)), h.dead("remote"), h.shard("remote").why) == (10, [], None)


def test_a_wall_clock_that_is_moved_neither_ends_nor_prolongs_the_rest_of_a_shard(harness):
    failures = [TimeoutError("the service sleeps")]

    def remote(batch: pl.DataFrame) -> pl.DataFrame:
        if failures:
            raise failures.pop()
        return doubled(batch)

    events, out = source(), output()
    h = harness(stream(events, to=out, name="remote", start="earliest", retry_on=[TimeoutError])(remote))
    h.append(events, rows(10))
    h.start(Place("remote", 0))
    h.settle()
    for moved_us in (3_600_000_000, -7_200_000_000):
        h.clock.us += moved_us
        h.settle()
        assert h.read(out).is_empty()
    h.clock.monotonic += 1_000_000
    h.settle()
    assert len(h.read(out)) == 10


def test_why_the_last_process_stood_still_is_taken_back_once_the_next_one_gets_on(harness):
    events, out = source(), output()
    h = harness(stream(events, to=out, name="twice", start="earliest")(doubled))
    h.append(events, rows(10))
    h.start(Place("twice", 0))
    h.settle()
    h.runner.close()
    h.store.commit([Append("shard:twice:0", None, (ShardHeld("twice", 0, "its process dies", 1),))])
    runner = h.start()
    runner.tick()
    assert h.shard("twice").why == "its process dies", "that it has come up says nothing yet"
    h.settle()
    assert h.shard("twice").why is None, "it has read all that there is"
    h.restart()
    h.settle()
    assert len(h.facts("shard:twice:0", "ShardHeld")) == 2, "said once"


@pytest.mark.parametrize(
    ("promise", "broken", "why"),
    [
        ("each", lambda b: doubled(b.head(9)), "promises 10 rows for 10, the function gave 9"),
        ("each", lambda b: doubled(b.reverse()), "the keys 'id' are not the same"),
        ("some", lambda b: doubled(b).drop("id"), "the output has no such column"),
        ("some", lambda b: doubled(b).with_columns(id=pl.lit("e0")), "rows that did not go in"),
    ],
)
def test_a_broken_promise_stops_the_stream_and_shows_the_batch(harness, promise, broken, why):
    def odd(batch: pl.DataFrame) -> pl.DataFrame:
        return broken(batch)

    events, out = source(), output()
    h = harness(stream(events, to=out, name="odd", start="earliest", rows=promise)(odd))
    h.append(events, rows(10))
    h.start(Place("odd", 0))
    h.settle()
    shard = h.shard("odd")
    assert shard.is_stopped
    assert why in shard.why
    assert "first row in: id e0, at 2013-01-01 00:00:00+00:00, x 0" in shard.why
    assert (shard.next_offset, h.log.heads("out")) == (0, {})


def test_left_out_rows_are_counted(harness):
    def few(batch: pl.DataFrame) -> pl.DataFrame:
        return doubled(batch.filter(pl.col("x") > 6))

    events, out = source(), output()
    h = harness(stream(events, to=out, name="few", start="earliest", rows="some")(few))
    h.append(events, rows(10))
    h.start(Place("few", 0))
    h.settle()
    (batch,) = h.batches("few")
    assert (batch.rows_in, batch.rows_out, batch.filtered) == (10, 3, 7)


def test_raw_records_that_do_not_decode_are_dead_letters_and_do_not_break_the_batch(harness):
    events, out = source(), output()
    h = harness(stream(events, to=out, name="twice", start="earliest")(doubled))
    lines = [b'{"id":"a","at":"2013-01-01T00:00:00Z","x":1}', b"{", b'{"id":"c","at":"2013-01-01T00:00:00Z","x":3}']
    h.store.commit([appends("clients", prepare_json(events.definition, lines, 1))])
    h.start(Place("twice", 0))
    h.settle()
    letters = h.dead("twice")
    assert [(x.reason, x.payload) for x in letters] == [("decode", "{")]
    assert sorted(h.read(out).rows()) == [("a", 2), ("c", 6)]


def test_a_dead_letter_names_its_offset_past_records_that_are_no_rows(harness):
    def picky(rows: pl.DataFrame) -> pl.DataFrame:
        if 3 in rows["x"]:
            raise ValueError("no threes")
        return rows.select("id", y=pl.col("x") * 2)

    events, out = source(), output()
    h = harness(stream(events, to=out, name="picky", start="earliest")(picky))
    lines = [msgspec.json.encode(row(i)) for i in range(5)]
    lines.insert(1, b"no JSON")
    h.store.commit([appends("clients", prepare_json(events.definition, lines, 1))])
    h.start(Place("picky", 0))
    h.settle()
    assert [(letter.reason, letter.offset) for letter in h.dead("picky")] == [("decode", 1), ("error", 4)]


def test_a_function_that_changes_its_batch_in_place_changes_it_for_nobody_else(harness):
    def renamed(rows: pl.DataFrame) -> pl.DataFrame:
        rows.drop_in_place("at")
        rows.replace_column(0, pl.Series("id", [f"{name}!" for name in rows["id"]]))
        return rows.select("id")

    events, out = source(), output()
    h = harness(stream(events, to=out, name="renamed", rows="some", start="earliest")(renamed))
    h.append(events, rows(2))
    h.start(Place("renamed", 0))
    h.settle()
    why = h.shard("renamed").why or ""
    assert "the output has rows that did not go in" in why, "what came out is compared with what went in"


def test_a_function_of_a_row_kills_only_its_own_row(harness):
    def per_row(row: dict) -> dict:
        return {"id": row["id"], "y": 10 // row["x"]}

    events, out = source(), output()
    h = harness(stream(events, to=out, name="per_row", start="earliest")(per_row))
    h.append(events, rows(4))
    h.start(Place("per_row", 0))
    h.settle()
    assert sorted(h.read(out).rows()) == [("e1", 10), ("e2", 5), ("e3", 3)]
    assert [x.error.partition("\n")[0] for x in h.dead("per_row")] == [
        "ZeroDivisionError: integer division or modulo by zero"
    ]
    assert len(h.batches("per_row")) == 1


async def looked_up(row: dict) -> dict:
    return {"id": row["id"], "y": row["x"] + 1}


def squares(x: pl.Series) -> pl.Series:
    return (x * x).alias("y")


@pytest.mark.parametrize(("fn", "wanted"), [(looked_up, [1, 2, 3, 4]), (squares, [0, 1, 4, 9])])
def test_other_forms_of_functions(harness, fn, wanted):
    events, out = source(), output()
    h = harness(stream(events, to=out, name="form", start="earliest")(fn))
    h.append(events, rows(4))
    h.start(Place("form", 0))
    h.settle()
    assert h.read(out).sort("id")["y"].to_list() == wanted


# -- models ------------------------------------------------------------------------------------------------------------


def registered(h, version: int) -> None:
    fact = VersionRegistered(
        "delay", version, "json", "p", "d", 1, "r", "n", "c1", "m:f", 0, h.clock.now_us(), evidence={}
    )
    alias = AliasMoved("delay", "champion", version, version - 1, "test", "better", h.clock.now_us())
    h.store.commit([Append("engine", None, (fact, alias))])


def scored(batch: pl.DataFrame, model: int) -> pl.DataFrame:
    return batch.select("id", y=pl.lit(model))


def scoring(harness):
    events, out = source(), output()
    delay = Model("delay", int)
    h = harness(stream(events, to=out, name="score", bind={"model": delay.champion()})(scored))
    h.start(Place("score", 0))
    return h, events, out


def wait_for_models(h) -> None:
    """Models are loaded in a thread: go on until it has."""
    h.settle()
    for thread in threading.enumerate():
        if thread.name.startswith("load "):
            thread.join()
    h.settle()


def test_a_stream_waits_for_its_first_champion_and_starts_there(harness):
    h, events, out = scoring(harness)
    h.append(events, rows(3))
    h.settle()
    assert h.shard("score").why == "waits for the first champion of model delay"
    h.clock.pass_us(10)
    h.models["delay", 1] = 11
    registered(h, 1)
    h.clock.pass_us(10)
    h.append(events, [row(9)])
    wait_for_models(h)
    assert h.read(out).rows() == [("e9", 11)]
    assert h.facts("shard:score:0", "ShardHeld")[0] == ShardHeld(
        "score", 0, "waits for the first champion of model delay", 1_000_000
    )


def test_a_new_champion_serves_from_the_next_batch_and_is_reported(harness):
    h, events, out = scoring(harness)
    for version in (1, 2):
        h.models["delay", version] = version
        registered(h, version)
        wait_for_models(h)
        h.clock.pass_us(10)
        h.append(events, [row(version)])
        h.settle()
    assert h.read(out).sort("y").rows() == [("e1", 1), ("e2", 2)]
    held = h.facts("shard:score:0", "ModelHeld")
    assert [(f.version_number, f.n) for f in held] == [(1, 0), (2, 1)]
    assert [b.bound[0].version_number for b in h.batches("score")] == [1, 2]


def test_a_champion_that_does_not_load_leaves_the_old_one_serving(harness):
    h, events, out = scoring(harness)
    h.models["delay", 1] = 1
    registered(h, 1)
    wait_for_models(h)
    registered(h, 2)
    wait_for_models(h)
    h.clock.pass_us(10)
    h.append(events, [row(1)])
    h.settle()
    assert h.read(out).rows() == [("e1", 1)]
    problem = h.facts("shard:score:0", "ModelHeld")[-1]
    assert isinstance(problem, ModelHeld)
    assert (problem.version_number, problem.problem) == (1, "version 2 does not load: KeyError: ('delay', 2)")
    h.restart()
    wait_for_models(h)
    h.append(events, [row(2)])
    h.settle()
    assert h.read(out).sort("id")["y"].to_list() == [1, 1]


# -- several shards in one call ----------------------------------------------------------------------------------------


def test_small_batches_of_all_shards_are_one_call_and_each_shard_keeps_its_own_record(harness):
    calls: list[int] = []

    def counted(batch: pl.DataFrame) -> pl.DataFrame:
        calls.append(len(batch))
        return doubled(batch)

    events, out = source(partitions=4), output(partitions=3)
    h = harness(stream(events, to=out, name="counted", start="earliest")(counted))
    h.start(*(Place("counted", k) for k in range(4)))
    h.settle()
    good = b'{"id":"e%d","at":"2013-01-01T00:00:00Z","x":%d}'
    lines = [good % (n, n) if n % 10 else b"{broken %d" % n for n in range(100)]
    h.store.commit([appends("clients", prepare_json(events.definition, lines, 1))])
    h.settle()
    assert calls == [90]
    assert sorted(h.read(out).rows()) == sorted((f"e{n}", 2 * n) for n in range(100) if n % 10)
    for k in range(4):
        (batch,) = h.batches("counted", k)
        letters = [letter for letter in h.dead("counted") if letter.shard == k]
        assert batch.rows_in == batch.rows_out + len(letters) == h.log.heads("events")[k]
        stored = h.log.rows(events.definition, k, 0, batch.end)
        assert {(x.offset, x.payload) for x in letters} == {(x.offset, x.payload) for x in stored.misfits}
        assert sum(fact.rows for fact in h.facts(f"shard:counted:{k}", "TopicAppended")) == batch.rows_out


def test_a_promise_broken_in_a_call_for_several_stops_the_shard_that_breaks_it_and_no_other(harness):
    def odd(batch: pl.DataFrame) -> pl.DataFrame:
        return doubled(batch.head(len(batch) - 1) if batch["x"].is_in([7]).any() else batch)

    events, out = source(partitions=4), output()
    h = harness(stream(events, to=out, name="odd", start="earliest", rows="each")(odd))
    h.start(*(Place("odd", k) for k in range(4)))
    h.settle()
    h.append(events, rows(40))
    h.settle()
    stopped = [k for k in range(4) if h.shard("odd", k).is_stopped]
    assert len(stopped) == 1
    assert len(h.read(out)) == 40 - h.log.heads("events")[stopped[0]]


# -- joins, watermarks -------------------------------------------------------------------------------------------------


def test_the_live_join_is_the_join_over_history(harness):
    events, out = source(), output()
    weather = Topic("weather", schema={"id": str, "known": "datetime", "temp": float}, key="id", known="known")
    both = events.join(weather, on="id", as_of="at", tolerance="1h")
    flat = Source(events).join(weather.running(by="id", sums=["temp"], within="10s"), on="id", as_of="at")

    def kept(batch: pl.DataFrame) -> pl.DataFrame:
        return batch

    h = harness(
        stream(both, to=out, name="joined", start="earliest")(kept),
        stream(flat, to=Topic("sums", key="id", partitions=1), name="summed", start="earliest")(kept),
    )
    h.start(Place("joined", 0), Place("summed", 0))
    for n in range(0, 60, 7):
        known = [{"id": f"e{i % 5}", "known": row(i)["at"], "temp": i / 4} for i in range(n, n + 7)]
        h.append(weather, known)
        h.append(events, [{**row(i), "id": f"e{i % 5}"} for i in range(n, n + 7)])
        h.settle()
    defs = {"events": events.definition, "weather": weather.definition}
    assert h.read(out).sort("at", "id").equals(read_source(h.log, both.definition, defs).sort("at", "id"))
    sums = h.log.read(h.loaded.topics["sums"].definition).sort("at", "id")
    assert sums.equals(read_source(h.log, flat.definition, defs).sort("at", "id"))
    assert h.batches("joined")[-1].sides == {f"weather:{p}": n for p, n in h.log.heads("weather").items()}


def test_declared_completeness_moves_the_watermark_without_rows_and_never_back(harness):
    events, out = source(partitions=2), output()
    h = harness(stream(events, to=out, name="twice", start="earliest")(doubled))
    h.start(Place("twice", 0), Place("twice", 1))
    h.append(events, [row(1)])
    h.store.commit([Append("clients", None, (TopicCompleted("events", LATER, 1),))])
    h.settle()
    assert [h.shard("twice", k).watermark_us for k in (0, 1)] == [LATER, LATER]
    h.store.commit([Append("clients", None, (TopicCompleted("events", LATER + 9, 1),))])
    h.settle()
    assert [h.shard("twice", k).watermark_us for k in (0, 1)] == [LATER + 9, LATER + 9]
    assert isinstance(h.facts("shard:twice:1", "ProgressMade")[-1], ProgressMade)
    assert h.store.watermarks(h.loaded.project)["out"] == LATER + 9


def test_no_watermark_is_told_over_rows_that_are_still_unread(harness):
    events, out = source(), output()
    h = harness(stream(events, to=out, name="twice", start="earliest")(doubled))
    h.append(events, rows(1_500))
    h.store.commit([Append("clients", None, (TopicCompleted("events", LATER, 1),))])
    h.start(Place("twice", 0))
    h.settle()
    told = [(batch.end, batch.watermark_us) for batch in h.facts("shard:twice:0", "BatchCommitted")]
    assert told == [(1_024, None), (1_500, LATER)]


def test_a_long_history_lets_go_of_what_no_row_can_see_any_more(harness, monkeypatch):
    monkeypatch.setattr(sides, "EVICT_ROWS", 5)
    events = source()
    weather = Topic("weather", schema={"id": str, "known": "datetime", "temp": float}, key="id", known="known")
    both = events.join(weather, on="id", as_of="at", tolerance="10s")
    h = harness(events, weather)
    held = sides.Sides(h.log)
    topics = {"events": events.definition, "weather": weather.definition}
    for n in range(0, 60, 10):
        h.append(weather, [{"id": "a", "known": row(i)["at"], "temp": i / 4} for i in range(n, n + 10)])
        h.append(events, [{**row(n + 9), "id": "a"}])
        news = News({"weather": h.log.heads("weather")})
        last = h.log.read(events.definition).tail(1)
        joined, _ = held.join(last, both.definition.joins, topics, news)
        assert joined["temp"].to_list() == [(n + 9) / 4]
    (side,) = held._held.values()
    assert len(side.rows) < 25


def test_a_join_that_cannot_be_made_stops_the_stream_without_killing_a_row(harness):
    events, out = source(), output()
    weather = Topic("weather", schema={"place": str, "known": "datetime"}, key="place", known="known")

    def kept(batch: pl.DataFrame) -> pl.DataFrame:
        return batch

    h = harness(stream(events.join(weather, on="id", as_of="at"), to=out, name="joined", start="earliest")(kept))
    h.append(events, rows(3))
    h.start(Place("joined", 0))
    h.settle()
    assert h.shard("joined").is_stopped
    assert "needs the column 'id' of topic 'weather'" in h.shard("joined").why
    assert h.dead("joined") == []


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), asyncio.CancelledError(), ValueError(os.fsdecode(b"caf\xe9.csv"))]
)
def test_whatever_user_code_lets_out_is_about_its_row_and_stops_nobody_else(harness, error):
    events, out = source(), output()

    def picky(batch: pl.DataFrame) -> pl.DataFrame:
        if 7 in batch["x"]:
            raise error
        return doubled(batch)

    h = harness(stream(events, to=out, name="picky", start="earliest")(picky))
    h.append(events, rows(20))
    h.start(Place("picky", 0))
    h.settle()
    assert len(h.read(out)) == 19
    (letter,) = h.dead("picky")
    assert (letter.offset, letter.reason) == (7, "error")


def test_a_process_that_was_told_to_leave_puts_no_blame_on_the_row_it_had_in_hand(harness):
    events, out = source(), output()
    told: list[bool] = []

    def slow(batch: pl.DataFrame) -> pl.DataFrame:
        if not told:
            told.append(True)
            h.runner.forget_hands()  # what the signal handler does while user code runs
            assert h.runner._owned[0].owner.hand.left() is None
        return doubled(batch)

    h = harness(stream(events, to=out, name="slow", start="earliest")(slow))
    h.append(events, rows(3))
    h.start(Place("slow", 0))
    h.settle()
    assert told
    assert len(h.read(out)) == 3
