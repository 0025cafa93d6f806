"""Datasets: what they declare, what acts at once through the access in force, what is a reference."""

from __future__ import annotations

from typing import Any

import pytest

import headrace as hr
from headrace.data.access import installed
from headrace.data.reference import Reference
from headrace.errors import GraphError, HeadraceError, ProjectError, RefusedError


class Noting:
    """An access that notes its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append((name, args, kwargs))

        return call


@pytest.fixture
def access():
    noting = Noting()
    with installed(noting):  # type: ignore[arg-type]
        yield noting


def test_acts_go_to_the_access_in_force(access: Noting):
    topic, table, model = hr.Topic("t", event_time="at"), hr.Table("k", known="at"), hr.Model("m", int)
    source = topic.join(table, on="id", as_of="at", tolerance="3h")
    window = hr.Window("2013-01-01", "1d")
    topic.read(window)
    topic.append([{"a": 1}])
    table.read(version=3)
    table.read(at="1970-01-02")
    table.write(None)  # type: ignore[arg-type]
    source.read(window)
    model.examples(topic, window)
    model.load()
    model.load(version=2)
    model.register(1, fit=None, test=None, predict=None)  # type: ignore[arg-type]
    hr.Secret("s").value()
    assert [name for name, _, _ in access.calls] == [
        *("read_topic", "append", "read_table", "read_table", "write_table", "read_source", "examples"),
        *("load_model", "load_model", "register", "secret"),
    ]
    assert access.calls[3][1][2] == 86_400_000_000
    assert access.calls[7][2] == {"alias": "champion", "version": None}
    assert access.calls[8][2] == {"alias": None, "version": 2}


def test_current_needs_a_running_attempt(access: Noting):
    with pytest.raises(RefusedError, match="no attempt runs here"):
        hr.current()


def test_references_name_data_and_refuse_to_be_it():
    table, model = hr.Table("k"), hr.Model("m", int)
    how = [
        (r.ref.how, r.ref.arg)
        for r in (table.latest(), table.version(2), table.at("1970-01-02"), model.champion(), model.alias("x"))
        if isinstance(r, Reference)
    ]
    assert how == [("latest", None), ("version", 2), ("at", 86_400_000_000), ("alias", "champion"), ("alias", "x")]
    with pytest.raises(GraphError, match=r"m\.champion"):
        model.champion() + 1


def test_joins_need_to_know_when_rows_were_known():
    topic = hr.Topic("t", event_time="at")
    with pytest.raises(ProjectError, match="were known"):
        topic.join(hr.Table("k"), on="id", as_of="at")
    source = topic.join(topic.running(by="origin", sums=["late"], within="3h"), on="origin", as_of="at")
    (join,) = source.definition.joins
    assert (join.known, join.running.by, join.running.within_us) == ("at", "origin", 10_800_000_000)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "make",
    [
        lambda: hr.Topic("a b"),
        lambda: hr.Topic("t", partitions=0),
        lambda: hr.Table("k", by="window", key="id"),
        lambda: hr.Table("k", by="day"),  # type: ignore[arg-type]
        lambda: hr.Model("m", int, labels=hr.Topic("t")),
        lambda: hr.Model("m", int, cooldown="soon"),
        lambda: hr.Secret("../x"),
    ],
)
def test_wrong_declarations_say_what_to_write(make):
    with pytest.raises(HeadraceError) as caught:
        make()
    assert caught.value.cure


def test_a_secret_does_not_show_itself(access: Noting):
    assert repr(hr.Secret("warehouse")) == "Secret('warehouse')"
