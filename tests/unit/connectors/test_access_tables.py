"""Tables as tasks write and read them: whole, by window, by key, with history."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import polars as pl
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from access_rig import DAY_US, FLIGHTS, WEATHER, Rig, at

from headrace.definitions.project import TableDef, TopicDef
from headrace.errors import CodecError, NotFoundError, RefusedError, SchemaError
from headrace.runs.facts import Read
from headrace.store.sql.reads import topics

WHOLE = TableDef("plain")
DAILY = TableDef("daily", schema={"day": "int", "n": "int"}, mode="window")
ORDERS = TableDef("orders", schema={"id": "str", "n": "int"}, mode="key", key="id")


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def write(rig: Rig, table: TableDef, rows: pl.DataFrame, window: tuple[int, int] | None = None) -> None:
    rig.clock += 1
    access = rig.access(f"writer{rig.clock}", window=window)
    access.write_table(table, rows)
    rig.accept(access)


def day(number: int) -> tuple[int, int]:
    return at(number), at(number + 1)


def test_a_whole_table_is_its_last_version(rig: Rig) -> None:
    write(rig, WHOLE, pl.DataFrame({"a": [1, 2]}))
    write(rig, WHOLE, pl.DataFrame({"a": [3]}))
    access = rig.access()
    assert access.read_table(WHOLE, None, None)["a"].to_list() == [3]
    assert access.read_table(WHOLE, 1, None)["a"].to_list() == [1, 2]
    assert access.reads == (Read("table", "plain", 2), Read("table", "plain", 1))


def test_the_same_window_again_gives_the_same_table(rig: Rig) -> None:
    for number, n in ((1, 10), (0, 5), (1, 11)):
        write(rig, DAILY, pl.DataFrame({"day": [number], "n": [n]}), day(number))
    assert rig.access().read_table(DAILY, None, None).rows() == [(0, 5), (1, 11)]


def test_a_window_that_covers_others_replaces_them(rig: Rig) -> None:
    for number in (0, 1, 2):
        write(rig, DAILY, pl.DataFrame({"day": [number], "n": [1]}), day(number))
    write(rig, DAILY, pl.DataFrame({"day": [0, 1], "n": [7, 7]}), (at(0), at(2)))
    assert rig.access().read_table(DAILY, None, None).rows() == [(0, 7), (1, 7), (2, 1)]


def test_what_one_run_writes_of_a_window_stands_together(rig: Rig) -> None:
    for run, n in (("r1", 1), ("r1", 2), ("r2", 3), ("r2", 4)):
        access = rig.access(run, window=day(0))
        access.write_table(DAILY, pl.DataFrame({"day": [0], "n": [n]}))
        rig.accept(access)
    assert rig.access().read_table(DAILY, None, None)["n"].to_list() == [3, 4]


def test_a_table_by_window_refuses_a_run_without_one(rig: Rig) -> None:
    with pytest.raises(RefusedError, match="this run has no window"):
        rig.access().write_table(DAILY, pl.DataFrame({"day": [1], "n": [1]}))


def test_by_key_the_last_row_of_each_key_wins_over_parts_and_within_one(rig: Rig) -> None:
    write(rig, ORDERS, pl.DataFrame({"id": ["a", "b", "a"], "n": [1, 2, 3]}))
    write(rig, ORDERS, pl.DataFrame({"id": ["c", "b"], "n": [4, 5]}))
    rows = rig.access().read_table(ORDERS, None, None)
    assert sorted(rows.rows()) == [("a", 3), ("b", 5), ("c", 4)]


def test_a_table_reads_as_it_was_at_a_time(rig: Rig) -> None:
    write(rig, WHOLE, pl.DataFrame({"a": [1]}))
    rig.clock += 100
    write(rig, WHOLE, pl.DataFrame({"a": [2]}))
    assert rig.access().read_table(WHOLE, None, 50)["a"].to_list() == [1]
    with pytest.raises(NotFoundError, match="at that time"):
        rig.access().read_table(WHOLE, None, 0)


def test_a_run_reads_one_version_to_its_end(rig: Rig) -> None:
    write(rig, WHOLE, pl.DataFrame({"a": [1]}))
    rig.access().read_table(WHOLE, None, None)
    write(rig, WHOLE, pl.DataFrame({"a": [2]}))
    assert rig.access().read_table(WHOLE, None, None)["a"].to_list() == [1]
    assert rig.access("r2").read_table(WHOLE, None, None)["a"].to_list() == [2]


def test_without_a_version_a_declared_table_is_empty_and_another_not_found(rig: Rig) -> None:
    assert rig.access().read_table(ORDERS, None, None).schema == {"id": pl.String(), "n": pl.Int64()}
    with pytest.raises(NotFoundError, match="has no version yet"):
        rig.access().read_table(WHOLE, None, None)
    with pytest.raises(NotFoundError, match="has no version 7"):
        rig.access().read_table(ORDERS, 7, None)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (pl.DataFrame({"id": ["a"]}), "column 'n' is missing"),
        (pl.DataFrame({"id": ["a"], "n": [1], "z": [1]}), "column 'z' is not declared"),
        (pl.DataFrame({"id": ["a", "b"], "n": [1.0, 1.5]}), r"row 1, column 'n': expected int, got 1\.5"),
        (pl.DataFrame({"id": ["a", None], "n": [1, 2]}), "1 of 2 rows have no key 'id'"),
    ],
)
def test_rows_that_do_not_fit_are_named_and_nothing_is_written(rig: Rig, rows: pl.DataFrame, message: str) -> None:
    access = rig.access()
    with pytest.raises(SchemaError, match=message):
        access.write_table(ORDERS, rows)
    assert access.effects.tables == ()


def test_a_task_that_returns_no_frame_is_told_so(rig: Rig) -> None:
    with pytest.raises(SchemaError, match="expected a polars DataFrame, got dict"):
        rig.access().write_table(WHOLE, {"a": [1]})  # type: ignore[arg-type]


def test_a_damaged_part_is_found_before_it_is_read(rig: Rig) -> None:
    write(rig, WHOLE, pl.DataFrame({"a": [1]}))
    row = rig.holdings.table_version("plain")
    assert row is not None
    file = rig.holdings.files.locate(row.parts[0].path)
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(CodecError, match="expected 1 rows with xxh3:"):
        rig.access().read_table(WHOLE, None, None)


def test_a_table_with_history_grows_and_reads_as_of_a_time(rig: Rig) -> None:
    times = pl.Series([at(0), at(1)], dtype=pl.Datetime("us", "UTC"))
    write(rig, WEATHER, pl.DataFrame({"origin": ["JFK", "JFK"], "temp": [1.0, 2.0], "known": times}))
    assert rig.holdings.table_version("weather") is None
    assert rig.access().read_table(WEATHER, None, at(0) + 1)["temp"].to_list() == [1.0]
    assert rig.access().read_table(WEATHER, None, None)["temp"].to_list() == [1.0, 2.0]
    keyed = TableDef("weather", schema=WEATHER.schema, known="known", key="origin")
    assert rig.access().read_table(keyed, None, None)["temp"].to_list() == [2.0]
    with pytest.raises(RefusedError, match="by time"):
        rig.access().read_table(WEATHER, 1, None)


def test_what_a_task_appends_is_there_when_it_is_accepted_and_not_before(rig: Rig) -> None:
    access = rig.access("writer")
    row = {"announced": "2013-01-01", "flight_id": "f1", "origin": "JFK", "x": 1.0}
    assert access.append(FLIGHTS, [row, {**row, "flight_id": "f2"}]) == ()
    assert rig.access().read_topic(FLIGHTS, None).is_empty()
    rig.accept(access)
    assert rig.access("r2").read_topic(FLIGHTS, None)["flight_id"].to_list() == ["f1", "f2"]


def test_rows_without_a_time_of_their_own_get_that_of_the_acceptance(rig: Rig) -> None:
    from headrace.data.window import Window

    plain = TopicDef("plain_topic", schema={"a": "int"}, partitions=1)
    access = rig.access("writer")
    access.append(plain, [{"a": 1}])
    rig.clock = at(2)
    rig.accept(access)
    assert len(rig.access().read_topic(plain, Window.of(at(2), at(2) + DAY_US))) == 1
    (part,) = topics.parts(rig.holdings.database, "plain_topic")
    assert (part.reaches_us, part.max_known_us) == (at(2), at(2)), "so its windows can be complete"


def test_outside_a_run_no_version_of_a_table_is_published(rig: Rig) -> None:
    with pytest.raises(RefusedError, match="published by a run"):
        rig.here().write_table(ORDERS, pl.DataFrame({"id": ["a"], "n": [1]}))


def test_a_table_that_no_module_declares_is_said_with_the_near_one(rig: Rig) -> None:
    rig.holdings = replace(rig.holdings, project=msgspec.structs.replace(rig.holdings.project, modules=("flow",)))
    with pytest.raises(NotFoundError, match=r"has no table 'wether' \(did you mean 'weather'\?\)") as caught:
        rig.access().read_table(TableDef("wether"), None, None)
    assert caught.value.code == "HR2050"
