"""A topic without `schema=` takes its columns from its first rows, whoever writes them, and keeps them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from access_rig import Rig

from headrace.connectors.appends import append
from headrace.connectors.log import Log
from headrace.connectors.shapes import Shapes
from headrace.data.facts import TopicShaped
from headrace.definitions.project import TopicDef
from headrace.errors import ConflictError, SchemaError, StoreError
from headrace.ports import Append
from headrace.store.sql.reads import topics
from headrace.store.sql.store import SqlStore

LOOSE = TopicDef(name="loose", key="id", event_time="at", known="at")
ROW = {"id": 1, "at": "2013-01-01T00:00Z", "x": 1.5}


@pytest.fixture
def store():
    opened = SqlStore(":memory:")
    yield opened
    opened.close()


def test_the_first_rows_give_the_columns_in_the_same_commit(store: SqlStore) -> None:
    append(store, "clients", LOOSE, [ROW], at_us=7)
    append(store, "clients", LOOSE, [{"id": 2, "at": "2013-01-02", "x": 2}], at_us=8)
    assert store.topic_columns("loose") == {"id": "int", "at": "datetime", "x": "float"}
    kinds = [stored.fact.kind for stored in store.facts("clients", after=0)]
    assert sorted(kinds[:2]) == ["TopicAppended", "TopicShaped"]
    assert kinds[2:] == ["TopicAppended"]
    assert Log(store.database, topics).read(LOOSE).rows() == [
        (1, datetime(2013, 1, 1, tzinfo=UTC), 1.5),
        (2, datetime(2013, 1, 2, tzinfo=UTC), 2.0),
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({**ROW, "x": "late"}, "row 0, column 'x': expected float, got 'late'"),
        ({**ROW, "new": True}, "column 'new' is not declared; the topic has id, at, x"),
        ({"at": ROW["at"], "x": 1.0}, r"row 0, column 'id': expected int \(never null\)"),
    ],
)
def test_later_rows_that_do_not_fit_are_refused_as_under_a_schema(store: SqlStore, row: Any, message: str) -> None:
    append(store, "clients", LOOSE, [ROW], at_us=1)
    with pytest.raises(SchemaError, match=message):
        append(store, "clients", LOOSE, [row], at_us=2)
    assert sum(topics.heads(store.database, "loose").values()) == 1


def test_a_column_may_be_left_out_later(store: SqlStore) -> None:
    append(store, "clients", LOOSE, [ROW], at_us=1)
    append(store, "clients", LOOSE, [{"id": 2, "at": "2013-01-02"}], at_us=2)
    assert Log(store.database, topics).read(LOOSE)["x"].to_list() == [1.5, None]


def test_a_column_of_nulls_gets_its_type_with_its_first_value(store: SqlStore) -> None:
    append(store, "clients", LOOSE, [{**ROW, "x": None}], at_us=1)
    assert store.topic_columns("loose") == {"id": "int", "at": "datetime", "x": "null"}
    append(store, "clients", LOOSE, [{**ROW, "x": None}, {**ROW, "x": True}], at_us=2)
    assert store.topic_columns("loose") == {"id": "int", "at": "datetime", "x": "bool"}
    with pytest.raises(SchemaError, match="column 'x': expected bool, got 1"):
        append(store, "clients", LOOSE, [{**ROW, "x": 1}], at_us=3)
    assert Log(store.database, topics).read(LOOSE)["x"].to_list() == [None, None, True]


def test_what_no_schema_can_name_is_refused_at_once(store: SqlStore) -> None:
    with pytest.raises(SchemaError, match=r"column 'x': .* is not a type that a column can have"):
        append(store, "clients", LOOSE, pl.DataFrame([{**ROW, "x": timedelta(1)}]), at_us=1)
    assert store.topic_columns("loose") is None


def test_an_empty_append_shapes_nothing(store: SqlStore) -> None:
    append(store, "clients", LOOSE, pl.DataFrame(schema={"id": pl.String, "at": pl.Date}), at_us=1)
    assert store.topic_columns("loose") is None


def test_an_empty_window_has_the_columns(store: SqlStore) -> None:
    append(store, "clients", LOOSE, [ROW], at_us=1)
    assert Log(store.database, topics).read(LOOSE, pins={}).schema == {
        "id": pl.Int64,
        "at": pl.Datetime("us", "UTC"),
        "x": pl.Float64,
    }


def test_another_shape_is_refused_by_the_store(store: SqlStore) -> None:
    append(store, "clients", LOOSE, [ROW], at_us=1)
    same = TopicShaped("loose", {"id": "int", "at": "datetime", "x": "float"}, 2)
    store.commit([Append("clients", None, (same,))])
    for schema in ({"id": "str", "at": "datetime", "x": "float"}, {"id": "int", "at": "datetime"}):
        with pytest.raises(StoreError, match="the topic loose has the columns"):
            store.commit([Append("clients", None, (TopicShaped("loose", schema, 2),))])


def test_a_client_that_comes_second_has_to_fit_what_the_first_has_made_meanwhile(store: SqlStore) -> None:
    class Late(SqlStore):
        """Somebody shapes the topic between this client's look and its commit."""

        def commit(self, appends: Any) -> Any:
            if store.topic_columns("loose") is None:
                append(store, "clients", LOOSE, [{**ROW, "x": 1}], at_us=1)
            return store.commit(appends)

        def topic_columns(self, topic: str) -> Any:
            return store.topic_columns(topic)

    late = Late(":memory:")
    append(late, "clients", LOOSE, [{**ROW, "x": 2.0}], at_us=2)
    assert Log(store.database, topics).read(LOOSE)["x"].to_list() == [1, 2]
    assert store.topic_columns("loose") == {"id": "int", "at": "datetime", "x": "int"}
    late.close()


def test_a_commit_that_went_through_and_raised_is_not_appended_again(store: SqlStore, monkeypatch: Any) -> None:
    commit = store.commit

    def unsure(appends: Any) -> Any:
        commit(appends)
        raise StoreError("it may be written or not", code="HR4080")

    monkeypatch.setattr(store, "commit", unsure)
    with pytest.raises(StoreError, match="may be written"):
        append(store, "clients", LOOSE, [ROW], at_us=1)
    assert len(Log(store.database, topics).read(LOOSE)) == 1


def test_a_client_that_always_comes_second_gives_up(store: SqlStore, monkeypatch: Any) -> None:
    def faster(appends: Any) -> Any:
        raise ConflictError("the topic loose has other columns")

    monkeypatch.setattr(store, "commit", faster)
    with pytest.raises(ConflictError):
        append(store, "clients", LOOSE, [ROW], at_us=1)


def test_an_attempt_tells_the_columns_once_and_its_next_append_has_to_fit(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    access = rig.access()
    access.append(LOOSE, [ROW])
    access.append(LOOSE, [{**ROW, "id": 2}])
    with pytest.raises(SchemaError, match="column 'x'"):
        access.append(LOOSE, [{**ROW, "x": "late"}])
    assert [write.schema for write in access.effects.topics] == [{"id": "int", "at": "datetime", "x": "float"}, None]


def test_what_was_not_committed_is_no_shape() -> None:
    shapes = Shapes(lambda _: None)
    assert shapes.shape(LOOSE, [ROW], 1).fact is not None
    assert shapes.shape(LOOSE, [ROW], 1).fact is None
    shapes.forget()
    assert shapes.shape(LOOSE, [ROW], 1).fact is not None
    shapes.settle()
    assert shapes.shape(LOOSE, [ROW], 1).fact is None


def test_an_attempt_that_writes_to_many_partitions_tells_the_columns_once(tmp_path: Path) -> None:
    access = Rig(tmp_path).access()
    access.append(LOOSE, [{**ROW, "id": n} for n in range(40)])
    told = [write.schema is not None for write in access.effects.topics]
    assert told == [True, False, False, False]


@pytest.mark.parametrize(
    ("first", "second"), [([1], [0.5]), ({"a": 1}, {"b": 1}), ({"a": 1}, "text"), (None, {"a": [1]}), ((1, 2), None)]
)
def test_nested_values_are_kept_whole_whatever_the_first_was(store: SqlStore, first: Any, second: Any) -> None:
    loose = TopicDef("nested", partitions=1)
    append(store, "clients", loose, [{"c": first}], 1)
    append(store, "clients", loose, [{"c": second}], 2)
    read = Log(store.database, topics).read(loose)["c"].to_list()
    whole = [None if text is None else msgspec.json.decode(text) for text in read]
    assert whole == [list(first) if isinstance(first, tuple) else first, second]


@pytest.mark.parametrize("values", [[0.5, False], [1, True], ["a", True], [True, 1.5]])
def test_truth_values_are_no_numbers(store: SqlStore, values: list[Any]) -> None:
    with pytest.raises(SchemaError, match="mixes types"):
        append(store, "clients", TopicDef("mixed"), [{"c": value} for value in values], 1)
