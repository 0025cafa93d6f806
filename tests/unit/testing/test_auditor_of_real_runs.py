"""The auditor on stores of real runs: what they may read and how topics are stored differs from the simulator's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import headrace as hr
from headrace.definitions.project import Project
from headrace.ports import Append
from headrace.runs import facts as f
from headrace.store.sql.engine_store import EngineSqlStore
from headrace.testing import audit_store
from headrace.testing.auditor import audit
from headrace.testing.auditor.evidence import Evidence

numbers = hr.Table("numbers", schema={"x": int})
ITEM = ("r", "sum_up", "", 0, 1, 1)


@pytest.fixture
def store() -> Iterator[EngineSqlStore]:
    made = EngineSqlStore(":memory:")
    yield made
    made.close()


def broken(store: EngineSqlStore, read: f.Read) -> list[str]:
    """What the auditor says of a run, started by the event `rows` 0/5, that has read this."""
    store.commit([Append("run:x", 0, (
        f.LogTaken(1, "here", 1),
        f.RunCreated("r", "p", "c", "k", "event", 1, events=(("rows", 0, 5, 6),)),
        f.InputPinned("r", "topic:rows", {"0": 9}),
        f.AttemptStarted(*ITEM, "w#1", 1),
        f.AttemptSucceeded(*ITEM, 2, 1, f.Value("json", "1"), None, (read,)),
        f.RunEnded("r", "succeeded", 3),
    ))])  # fmt: skip
    return [v.number for v in audit(Evidence(store.database, {"c": Project("p")})) if v.number == "E15"]


@pytest.mark.parametrize("pin", [{"0": 9}, [[0, 5, 6]]])
def test_a_run_reads_what_is_pinned_and_its_own_events(store: EngineSqlStore, pin: object) -> None:
    assert broken(store, f.Read("topic", "rows", pin)) == []


@pytest.mark.parametrize("pin", [{"0": 8}, [[0, 5, 7]]])
def test_other_rows_are_a_violation(store: EngineSqlStore, pin: object) -> None:
    assert broken(store, f.Read("topic", "rows", pin)) == ["E15"]


def test_a_table_may_be_read_by_its_number() -> None:
    @hr.task
    def read_twice() -> int:
        return numbers.read().height + numbers.read(version=1).height

    @hr.pipeline
    def reading() -> int:
        return read_twice()

    @hr.task(to=numbers)
    def write() -> object:
        import polars as pl

        return pl.DataFrame({"x": [1, 2]})

    @hr.pipeline
    def writing() -> None:
        write()

    writing.run()
    assert reading.run().result() == 4
    assert audit_store() == []
