"""The embedded log: what is appended is what is read, at the offsets that the store gave."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.connectors.appends import BLOB_ROWS, append, appends, partitions, prepare, prepare_json
from headrace.connectors.blob import unpack
from headrace.connectors.fitting import fit
from headrace.connectors.log import Log, read_source
from headrace.data.events import OffsetRange
from headrace.data.window import Window
from headrace.definitions.project import JoinDef, SourceDef, TopicDef
from headrace.errors import SchemaError, StoreError
from headrace.store.sql.reads import topics
from headrace.store.sql.store import SqlStore

FLIGHTS = TopicDef(
    name="flights",
    schema={"id": "str", "announced": "datetime", "delay": "float", "seats": "int"},
    required=("id",),
    key="id",
    event_time="announced",
    known="announced",
)


def flight(n: int, minute: int = 0, **more: object) -> dict[str, object]:
    return {"id": f"UA-{n}", "announced": datetime(2013, 1, 1, 0, minute, tzinfo=UTC), "delay": n / 2, **more}


def test_rows_come_back_in_order_of_event_time_and_key_whatever_the_partitions(store, log):
    append(store, "clients", FLIGHTS, [flight(n, 59 - n) for n in range(40)], at_us=1)
    one = msgspec.structs.replace(FLIGHTS, name="one", partitions=1)
    append(store, "clients", one, [flight(n, 59 - n) for n in range(40)], at_us=1)
    rows = log.read(FLIGHTS)
    assert rows["announced"].is_sorted()
    assert rows.equals(log.read(one))
    assert rows.columns == ["id", "announced", "delay", "seats"]


def test_a_key_has_one_partition_and_offsets_go_on_where_they_ended(store, log):
    first = append(store, "clients", FLIGHTS, [flight(1)], at_us=1)
    second = append(store, "clients", FLIGHTS, [flight(1), flight(1)], at_us=2)
    partition = first[0].partition
    assert first == (OffsetRange("flights", partition, 0, 1),)
    assert second == (OffsetRange("flights", partition, 1, 3),)
    assert log.heads("flights") == {partition: 3}


def test_rows_without_a_key_go_to_one_partition_per_append(store):
    keyless = TopicDef(name="ticks", schema={"n": "int"})
    places = {append(store, "clients", keyless, [{"n": 1}, {"n": 2}], at_us=at)[0].partition for at in range(40)}
    assert places == {0, 1, 2, 3}


def test_a_window_takes_its_start_and_leaves_its_end(store, log):
    append(store, "clients", FLIGHTS, [flight(n, n) for n in range(10)], at_us=1)
    window = Window("2013-01-01T00:02Z", "2013-01-01T00:05Z")
    assert sorted(log.read(FLIGHTS, window)["id"]) == ["UA-2", "UA-3", "UA-4"]


def test_pins_hold_a_read_where_it_was(store, log):
    append(store, "clients", FLIGHTS, [flight(n) for n in range(20)], at_us=1)
    pins, before = log.heads("flights"), log.read(FLIGHTS)
    append(store, "clients", FLIGHTS, [flight(n) for n in range(20, 60)], at_us=2)
    assert log.read(FLIGHTS, pins=pins).equals(before)
    assert len(log.read(FLIGHTS)) == 60
    assert log.read(FLIGHTS, pins={}).is_empty()
    inside = {partition: end - 1 for partition, end in pins.items()}
    assert len(log.read(FLIGHTS, pins=inside)) == 20 - len(pins)


def test_exact_offsets_are_read_out_of_the_middle_of_a_blob(store, log):
    (place,) = append(store, "clients", FLIGHTS, [flight(1, n) for n in range(10)], at_us=1)
    rows = log.read_ranges(FLIGHTS, [OffsetRange("flights", place.partition, 3, 6)], hidden=True)
    assert rows["_offset"].to_list() == [3, 4, 5]
    assert rows["announced"].dt.minute().to_list() == [3, 4, 5]
    with pytest.raises(StoreError, match="expected rows up to offset 12, found them up to 10"):
        log.read_ranges(FLIGHTS, [OffsetRange("flights", place.partition, 8, 12)])


def test_event_time_is_the_append_where_no_column_is_named(store, log):
    keyless = TopicDef(name="ticks", schema={"n": "int"})
    append(store, "clients", keyless, [{"n": 1}], at_us=1_000_000)
    append(store, "clients", keyless, [{"n": 2}], at_us=2_000_000)
    assert log.read(keyless, Window.of(1_000_001, 3_000_000))["n"].to_list() == [2]
    assert log.read(keyless, hidden=True)["_time"].to_physical().to_list() == [1_000_000, 2_000_000]


def test_a_topic_that_holds_nothing_reads_as_its_empty_columns(log):
    assert log.read(FLIGHTS).schema == {
        "id": pl.String,
        "announced": pl.Datetime("us", "UTC"),
        "delay": pl.Float64,
        "seats": pl.Int64,
    }


def test_times_of_other_zones_are_the_same_instants(store, log):
    tokyo = datetime(2013, 1, 1, 9, tzinfo=timezone(timedelta(hours=9)))
    frame = pl.DataFrame({"id": ["b"], "announced": [tokyo]}).with_columns(
        pl.col("announced").dt.convert_time_zone("Asia/Tokyo")
    )
    append(store, "clients", FLIGHTS, [{"id": "a", "announced": tokyo}], at_us=1)
    append(store, "clients", FLIGHTS, frame, at_us=1)
    assert log.read(FLIGHTS)["announced"].to_list() == [datetime(2013, 1, 1, tzinfo=UTC)] * 2


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([flight(1), {**flight(2), "seats": 1.5}], "row 1, column 'seats': expected int, got 1.5"),
        ([flight(1), {**flight(2), "seats": True}], "row 1, column 'seats': expected int, got True"),
        ([flight(1), {**flight(2), "delay": "late"}], "row 1, column 'delay': expected float, got 'late'"),
        ([flight(1), {**flight(2), "id": None}], r"row 1, column 'id': expected str \(never null\)"),
        ([flight(1), {"id": "x"}], r"row 1, column 'announced': expected datetime \(never null\)"),
        ([{**flight(1), "announced": datetime(2013, 1, 1)}], "row 0, column 'announced': expected datetime"),  # noqa: DTZ001
        ([{**flight(1), "gate": 4}], "row 0, column 'gate' is not declared; the topic has id, announced, delay, seats"),
        ([{**flight(1), "seats": 2**70}], "row 0, column 'seats': expected int"),
        (
            pl.DataFrame({"id": ["a"], "announced": ["soon"]}),
            "row 0, column 'announced': expected datetime, got 'soon'",
        ),
        (
            pl.DataFrame({"id": ["a", "b"], "announced": ["2013-01-01"] * 2, "seats": [1.0, 1.5]}),
            "row 1, column 'seats': expected int, got 1.5",
        ),
    ],
)
def test_the_first_misfit_is_named_and_nothing_is_appended(store, log, rows, message):
    with pytest.raises(SchemaError, match=message):
        append(store, "clients", FLIGHTS, rows, at_us=1)
    assert log.heads("flights") == {}


def test_raw_records_become_rows_and_misfits_keep_their_text_and_place(store, log):
    one = TopicDef(
        name="raw", schema={"id": "str", "at": "datetime", "n": "int"}, key="id", event_time="at", partitions=1
    )
    lines = [
        b'{"id":"a","at":"2013-01-01T00:00:00Z","n":1,"more":[1,2]}',
        b"{broken",
        b'{"id":"b","at":"2013-01-01T01:00:00+01:00","n":null}',
        b'{"id":"c","at":"never","n":1}',
        b'{"id":"d","at":"2013-01-01T00:00Z","n":"1"}',
        b"\xff\xfe",
    ]
    store.commit([appends("clients", prepare_json(one, lines, 5))])
    found = log.rows(one, 0, 0, 6)
    assert found.frame.select("id", "n", "_offset").rows() == [("a", 1, 0), ("b", None, 2)]
    assert [(m.offset, m.payload) for m in found.misfits][:2] == [(1, "{broken"), (3, lines[3].decode())]
    assert [m.offset for m in found.misfits] == [1, 3, 4, 5]
    assert len(log.read(one, Window("2013-01-01", "1h"))) == 2


def test_raw_and_typed_appends_of_a_key_share_its_partition():
    typed = prepare(FLIGHTS, [flight(7)], 1)[0][0]
    raw = prepare_json(FLIGHTS, [b'{"id":"UA-7","announced":"2013-01-01T00:00:00Z"}'], 1)[0][0]
    assert (typed.partition, typed.min_time_us, typed.max_known_us) == (
        raw.partition,
        raw.min_time_us,
        raw.max_known_us,
    )


def test_a_large_append_is_cut_into_blobs_and_is_one_range(store, log):
    one = TopicDef(name="one", schema={"n": "int"}, partitions=1)
    n = 2 * BLOB_ROWS + 5
    rows = pl.DataFrame({"n": range(n)})
    assert append(store, "clients", one, rows, at_us=1) == (OffsetRange("one", 0, 0, n),)
    assert [blob.rows for blob in topics.blobs(store.database, "one", 0, 0)] == [BLOB_ROWS, BLOB_ROWS, 5]
    assert log.read(one).equals(rows)


@pytest.mark.parametrize("is_raw", [False, True])
def test_rows_ahead_of_the_clock_keep_their_place_and_do_not_say_how_far_their_topic_is(store, log, is_raw):
    now = datetime(2026, 1, 1, tzinfo=UTC)
    one = msgspec.structs.replace(FLIGHTS, name="one", partitions=1)
    ahead = {3, 4, 8}
    rows = [flight(n) | {"announced": now + timedelta(hours=n + 100 if n in ahead else 0, minutes=n)} for n in range(9)]
    at_us = round(now.timestamp() * 1e6)
    prepared = prepare_json(one, [msgspec.json.encode(r) for r in rows], at_us) if is_raw else prepare(one, rows, at_us)
    assert [(f.rows, f.reaches_us) for f, _ in prepared] == [(9, at_us + 7 * 60_000_000)]
    store.commit([appends("clients", prepared)])
    assert [part.reaches_us for part in topics.parts(store.database, "one")] == [at_us + 7 * 60_000_000]
    assert log.read(one, Window("2026-01-05T00:00Z", "2026-01-06T00:00Z"))["id"].to_list() == ["UA-3", "UA-4", "UA-8"]


def test_a_flipped_bit_is_found():
    ((_, body),) = prepare(FLIGHTS, [flight(1)], 1)
    damaged = bytearray(body)
    damaged[len(body) // 2] ^= 1
    assert len(unpack(body, "here")) == 1
    with pytest.raises(StoreError, match="checksum"):
        unpack(bytes(damaged), "here")


@settings(deadline=None, max_examples=25)
@given(st.lists(st.lists(st.tuples(st.text(max_size=3), st.integers(0, 50)), max_size=6), max_size=6))
def test_every_appended_row_is_read_exactly_once(batches):
    store = SqlStore(":memory:")
    topic = TopicDef(name="t", schema={"k": "str", "n": "int"}, key="k")
    for at, rows in enumerate(batches):
        append(store, "clients", topic, [{"k": k, "n": n} for k, n in rows], at_us=at)
    log = Log(store.database, topics)
    assert sorted(log.read(topic).rows()) == sorted(row for rows in batches for row in rows)
    by_partition = [log.rows(topic, partition, 0, end).frame for partition, end in log.heads("t").items()]
    assert sum(map(len, by_partition)) == sum(map(len, batches))
    store.close()


def test_a_source_reads_as_known_with_history_in_any_partition(store, log):
    weather = TopicDef(
        name="weather", schema={"origin": "str", "known": "datetime", "temp": "float"}, key="origin", known="known"
    )
    departures = TopicDef(
        name="dep", schema={"id": "str", "origin": "str", "at": "datetime"}, key="id", event_time="at", known="at"
    )
    append(
        store, "clients", weather, [{"origin": "EWR", "known": f"2013-01-01T0{h}:00Z", "temp": h} for h in range(9)], 1
    )
    append(store, "clients", departures, [{"id": "a", "origin": "EWR", "at": "2013-01-01T05:30Z"}], 1)
    join = JoinDef(topic="weather", on="origin", as_of="at", known="known", tolerance_us=3_600_000_000)
    source = SourceDef(topic="dep", joins=(join,))
    both = {"dep": departures, "weather": weather}
    assert read_source(log, source, both)["temp"].to_list() == [5.0]
    pinned = read_source(log, source, both, pins={"weather": {}})
    assert pinned["temp"].to_list() == [None]
    assert read_source(log, source, both, Window("2014-01-01", "1d")).is_empty()


def test_partitions_do_not_change_between_releases():
    assert partitions(pl.Series(["EWR", "JFK", "LGA", "é"]), 4).to_list() == [2, 3, 2, 3]


@pytest.mark.parametrize("rows", [[{"_offset": 3}], [{}]])
def test_rows_that_no_reader_could_read_are_refused(rows):
    with pytest.raises(SchemaError, match="nothing was appended"):
        prepare(TopicDef("t"), rows, 1)


@pytest.mark.parametrize(
    "rows",
    [
        [{"j": {"a": 1, "b": None}}, {"j": {"a": [1.0, float("nan")]}}],
        [{"j": None}, {"j": float("inf")}],
        pl.DataFrame({"j": [[1.0], [float("nan")]]}),
    ],
)
def test_json_without_a_word_for_nan_refuses_it_instead_of_storing_null(rows):
    with pytest.raises(SchemaError, match="row 1, column 'j': expected json"):
        fit(TopicDef("t", schema={"j": "json"}), rows)
