"""Many small blobs are decoded together: as if each had been read by itself."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import msgspec
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.base.instants import to_us
from headrace.connectors import blob
from headrace.connectors.appends import append, appends, prepare, prepare_fitted, prepare_json
from headrace.connectors.fitting import fit
from headrace.connectors.log import Log
from headrace.definitions.project import TopicDef
from headrace.errors import SchemaError, StoreError
from headrace.store.sql.reads import topics
from headrace.store.sql.store import SqlStore

FIRST = TopicDef(name="t", schema={"id": "str", "n": "int"}, required=("id",), key="id", partitions=1)
SECOND = TopicDef(name="t", schema={"id": "str", "n": "float", "more": "str"}, required=("id",), key="id", partitions=1)


def append_json(store: SqlStore, topic: TopicDef, lines: list[bytes], at_us: int) -> None:
    store.commit([appends("clients", prepare_json(topic, lines, at_us))])


def test_neighbours_of_any_encoding_and_schema_are_one_frame_in_order(store, log):
    append(store, "clients", FIRST, [{"id": "a", "n": 1}], at_us=1)
    append(store, "clients", FIRST, [{"id": "b", "n": 2}], at_us=2)
    append_json(store, FIRST, [b'{"id":"c","n":3}', b"{broken", b'{"id":"d"}'], at_us=3)
    append(store, "clients", SECOND, [{"id": "e", "n": 0.5, "more": "x"}], at_us=4)
    rows = log.rows(SECOND, 0, 0, 6)
    assert rows.frame.select("id", "n", "more", "_partition", "_offset").rows() == [
        ("a", 1.0, None, 0, 0),
        ("b", 2.0, None, 0, 1),
        ("c", 3.0, None, 0, 2),
        ("d", None, None, 0, 4),
        ("e", 0.5, "x", 0, 5),
    ]
    assert rows.frame["_appended"].dt.microsecond().to_list() == [1, 2, 3, 3, 4]
    assert [(bad.partition, bad.offset, bad.payload) for bad in rows.misfits] == [(0, 3, "{broken")]


def test_a_blob_that_does_not_fit_what_is_declared_is_named(store, log):
    words = TopicDef(name="t", schema={"id": "str", "n": "str"}, key="id", partitions=1)
    append(store, "clients", FIRST, [{"id": "a", "n": 1}], at_us=1)
    append(store, "clients", words, [{"id": "b", "n": "many"}], at_us=2)
    append(store, "clients", FIRST, [{"id": "c", "n": 3}], at_us=3)
    with pytest.raises(
        SchemaError, match="column 'n' was appended as String and is declared as int, which 'many' is not"
    ) as caught:
        log.rows(FIRST, 0, 0, 3)
    assert caught.value.where == "topic t/0 at 1"
    assert log.rows(FIRST, 0, 2, 3).frame["n"].to_list() == [3]


def test_a_blob_that_was_overwritten_in_the_middle_is_named_and_the_others_are_read(store, log):
    for at in range(3):
        append(store, "clients", FIRST, [{"id": f"{at}-{n}", "n": n} for n in range(10)], at_us=at)
    body = prepare(FIRST, [{"id": "forged", "n": 1}] * 10, 1)[0][1]
    with store.database.write() as connection:
        connection.execute("UPDATE topic_bodies SET body = ? WHERE id = 2", (body[:8][::-1] + body[8:],))
    with pytest.raises(StoreError, match="checksum") as caught:
        log.rows(FIRST, 0, 5, 30)
    assert caught.value.where == "topic t/0 at 10"
    assert len(log.rows(FIRST, 0, 0, 10).frame) == len(log.rows(FIRST, 0, 20, 30).frame) == 10


def test_bytes_that_are_gone_are_missing_rows_and_never_skipped(store, log):
    for at in range(3):
        append(store, "clients", FIRST, [{"id": "a", "n": at}], at_us=at)
    with store.database.write() as connection:
        connection.execute("DELETE FROM topic_bodies WHERE id = 2")
    with pytest.raises(StoreError, match="the bytes of the rows of t/0 from offset 1 on are gone"):
        log.rows(FIRST, 0, 0, 3)
    with store.database.write() as connection:
        connection.execute("DELETE FROM topic_bodies")
    with pytest.raises(StoreError, match="from offset 2 on are gone") as caught:  # the last one: nothing comes after it
        log.rows(FIRST, 0, 2, 3)
    assert caught.value.code == "HR4040"


def test_a_blob_in_which_the_last_batch_ended_is_not_read_again(store, log):
    append(store, "clients", FIRST, [{"id": "a", "n": n} for n in range(10)], at_us=1)
    assert log.rows(FIRST, 0, 0, 4).frame["n"].to_list() == [0, 1, 2, 3]
    with store.database.write() as connection:
        connection.execute("DELETE FROM topic_bodies")
    assert log.rows(FIRST, 0, 4, 9).frame["n"].to_list() == [4, 5, 6, 7, 8]
    assert log.rows(FIRST, 0, 9, 10).frame["n"].to_list() == [9]
    with pytest.raises(StoreError, match="the bytes of the rows of t/0 from offset 0 on are gone"):
        log.rows(FIRST, 0, 0, 4)


def test_several_partitions_are_read_together_in_the_order_asked_for(store, log):
    spread = TopicDef(name="t", schema={"id": "str", "n": "int"}, key="id", partitions=4)
    append(store, "clients", spread, [{"id": f"e{n}", "n": n} for n in range(100)], at_us=1)
    heads = log.heads("t")
    places = [(number, end // 2, end) for number, end in reversed(heads.items())]
    together = log.rows_at(spread, places).frame
    assert together.equals(pl.concat([log.rows(spread, *place).frame for place in places]))


LINES = st.one_of(
    st.builds(lambda n: msgspec.json.encode({"id": f"e{n}", "n": n}), st.integers(0, 99)),
    st.sampled_from([b"", b"{", b'{"id":"x"},{"id":"y"}', b'{"id":1}', b'{"id":"x","n":"1"}', b"\xff", b"null"]),
)


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(st.lists(LINES, max_size=7), min_size=1, max_size=6), st.integers(1, 9), st.data())
def test_any_split_into_appends_and_any_range_decodes_as_record_by_record(monkeypatch, groups, slice_rows, data):
    monkeypatch.setattr(blob, "_SLICE", slice_rows)
    store = SqlStore(":memory:")
    for at, lines in enumerate(groups):
        store.commit([appends("clients", prepare_json(FIRST, lines, at))])
    flat = [line for lines in groups for line in lines]
    first = data.draw(st.integers(0, len(flat)))
    end = data.draw(st.integers(first, len(flat)))
    found = Log(store.database, topics).rows(FIRST, 0, first, end)
    good = {o: line for o, line in enumerate(flat) if line.startswith(b'{"id":"e')}
    expected = [(o, msgspec.json.decode(line)["id"]) for o, line in good.items() if first <= o < end]
    assert found.frame.select("_offset", "id").rows() == expected
    bad = [(o, line.decode("utf-8", "replace")) for o, line in enumerate(flat) if o not in good and first <= o < end]
    assert [(misfit.offset, misfit.payload) for misfit in found.misfits] == bad
    store.close()


def test_parts_that_are_fitted_together_are_the_appends_of_each():
    topic = TopicDef(name="t", schema={"id": "str", "at": "datetime"}, key="id", event_time="at", partitions=3)
    rows = [{"id": f"e{n}", "at": datetime(2013, 1, 1, n, tzinfo=UTC)} for n in range(12)]
    sizes = [5, 0, 7]
    alone = [prepare(topic, rows[:5], 9), [], prepare(topic, rows[5:], 9)]
    assert prepare_fitted(topic, fit(topic, rows), sizes, 9) == alone


def test_small_blobs_are_plain_and_large_ones_are_packed():
    small, large = pl.DataFrame({"n": [0] * 10}), pl.DataFrame({"n": [0] * 100_000})
    assert blob.unpack(blob.pack(small), "here").equals(small)
    assert blob.unpack(blob.pack(large), "here").equals(large)
    assert len(blob.pack(large)) < 100_000


TIMED = TopicDef("timed", schema={"id": "int", "at": "datetime"}, event_time="at", partitions=1)


@pytest.mark.parametrize(
    ("days", "first"),
    [
        (["1:1", "2:bad", "3:3", "4:4"], 1),  # a misfit names its time: it is a dead letter of who starts there
        (["1:1", "1:bad 3:3", "4:4"], 2),  # an early one is not read
        (["1:1 2:bad 3:3", "4:4"], 1),
        (["1:1", "1:1"], 2),
    ],
)
def test_a_start_time_finds_the_first_late_record_also_behind_misfits(store, log, days, first):
    for text in days:
        lines = [
            json.dumps({"id": int(number) if number.isdigit() else number, "at": f"2026-01-0{day}T00:00Z"}).encode()
            for day, number in (record.split(":") for record in text.split())
        ]
        append_json(store, TIMED, lines, 1)
    head = log.heads("timed")[0]
    assert log.first_at(TIMED, 0, to_us("2026-01-02T00:00Z"), head) == first
