"""Rows that were appended under another schema read as the values that they are, or not at all."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from headrace.connectors.appends import append, appends, prepare_json
from headrace.definitions.project import TopicDef
from headrace.errors import SchemaError


def declared(word: str) -> TopicDef:
    return TopicDef("t", schema={"v": word}, partitions=1)


@pytest.mark.parametrize(
    ("before", "value", "now"),
    [
        ("float", 1.5, "int"),
        ("float", -0.9, "int"),
        ("float", float("nan"), "int"),
        ("float", 1.0, "bool"),
        ("int", 1, "datetime"),
        ("int", 2**60 + 1, "datetime"),
        ("int", 2**60 + 1, "float"),
        ("int", 1, "bool"),
        ("datetime", "2026-01-01T12:00Z", "date"),
        ("bool", True, "float"),
        ("str", "1", "int"),
    ],
)
def test_an_old_value_that_is_not_of_the_new_type_is_named_and_never_cut(store, log, before, value, now):
    append(store, "clients", declared(before), [{"v": None}, {"v": value}], at_us=1)
    with pytest.raises(SchemaError, match=f"is declared as {now}, which .* is not") as caught:
        log.read(declared(now))
    assert (caught.value.code, caught.value.where) == ("HR1212", "topic t/0 at 1")


@pytest.mark.parametrize(
    ("before", "value", "now", "read"),
    [
        ("float", 3.0, "int", 3),
        ("int", 2**53, "float", 2.0**53),
        ("date", date(2026, 1, 1), "datetime", datetime(2026, 1, 1, tzinfo=UTC)),
        ("str", "2026-01-01T05:00Z", "datetime", datetime(2026, 1, 1, 5, tzinfo=UTC)),
        ("str", "2026-01-01", "date", date(2026, 1, 1)),
    ],
)
def test_an_old_value_that_is_of_the_new_type_as_well_is_read(store, log, before: str, value: Any, now: str, read: Any):
    append(store, "clients", declared(before), [{"v": None}, {"v": value}], at_us=1)
    assert log.read(declared(now))["v"].to_list() == [None, read]


def test_the_misfit_is_named_by_its_own_place_among_many_appends(store, log):
    for at in range(4):
        append(store, "clients", declared("float"), [{"v": 1.0}, {"v": 2.5 if at == 2 else 2.0}], at_us=at)
    with pytest.raises(SchemaError, match=r"which 2\.5 is not") as caught:
        log.read(declared("int"))
    assert caught.value.where == "topic t/0 at 5"


def test_raw_dates_are_read_and_what_is_none_is_a_misfit(store, log):
    days = declared("date")
    store.commit([appends("clients", prepare_json(days, [b'{"v":"2026-01-05"}', b'{"v":"12345-01-01"}'], 1))])
    found = log.rows(days, 0, 0, 2)
    assert found.frame["v"].to_list() == [date(2026, 1, 5)]
    assert [bad.offset for bad in found.misfits] == [1]
