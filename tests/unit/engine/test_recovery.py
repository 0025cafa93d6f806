"""How an engine begins: what was running is lost, a run that makes no sense is ended, and nobody else pays for it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from engine_rig import Crew, Rig, Told, counting, follows, other, steady

import headrace as hr
from headrace.definitions import project as definitions
from headrace.engine.loop import Engine
from headrace.engine.options import EngineOptions
from headrace.engine.service import DEAD, close_dead
from headrace.errors import DamagedError
from headrace.graph.loaded import freeze
from headrace.host.writer import Writer
from headrace.models.controller import ControllerState
from headrace.runs import events as e
from headrace.runs import facts as f
from headrace.runs import machine
from headrace.runs.active import Active
from headrace.runs.desks import Desks
from headrace.runs.machine import TaintedStepError
from headrace.runs.state import State
from headrace.store.sql.engine_store import EngineSqlStore
from headrace.testing.clock import FakeClock


@hr.pipeline(schedule="@daily", catchup=True, start="1969-12-01")
def daily() -> None:
    other()


@pytest.fixture
def rig(store: EngineSqlStore) -> Rig:
    """Besides the run of `counting` there are two healthy ones."""
    made = Rig(store)
    for key in ("s", "t"):
        store.ask("trigger", {"pipeline": "steady"}, key=key, at_us=1)
    made.turns()
    made.told.facts.clear()
    return made


def change(store: EngineSqlStore, sql: str, *given: Any) -> None:
    with store.database.write() as connection:
        connection.execute(sql, given)


def first(rig: Rig) -> str:
    return next(iter(rig.engine.machine.state.runs))


def runs(store: EngineSqlStore) -> dict[str, list[str]]:
    """Pipeline → the states of its runs."""
    found: dict[str, list[str]] = {}
    for pipeline, state in store.database.read("SELECT pipeline, state FROM runs ORDER BY run"):
        found.setdefault(pipeline, []).append(state)
    return found


def end_of(store: EngineSqlStore, run: str) -> tuple[str, str]:
    ((state, why),) = store.database.read("SELECT state, end_why FROM runs WHERE run = ?", (run,))
    return state, why


def test_what_was_running_may_have_begun_where_nobody_says_how_far_its_worker_was(rig: Rig) -> None:
    rig.engine.start()
    kinds = rig.told.kinds()
    assert (kinds.count("AttemptLost"), kinds.count("AttemptReturned")) == (2, 0)


DAMAGE = {
    "UPDATE runs SET params = '{' WHERE run = ?": "DecodeError",
    "UPDATE runs SET pipeline = 'gone' WHERE run = ?": "no pipeline 'gone'",
    "UPDATE items SET worker = 'w1#x' WHERE run = ?": "ValueError",
    "UPDATE items SET path = 'x' WHERE run = ?": "ValueError",
    "UPDATE items SET item = 7 WHERE run = ?": "IndexError",
    "UPDATE items SET node = node || 'x' WHERE run = ?": "KeyError",
    "UPDATE runs SET code = 'c0' WHERE run = ?": "code version c0 cannot be read",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_rows_that_make_no_sense_end_their_run_and_no_other(rig: Rig, store: EngineSqlStore, damage: str) -> None:
    bad = first(rig)
    change(store, "PRAGMA foreign_keys = OFF")
    change(store, damage, bad)
    rig.engine.start()
    state, why = end_of(store, bad)
    assert state == "failed"
    assert "it cannot go on from its rows" in why
    assert DAMAGE[damage] in why
    assert runs(store)["steady"] == ["running", "running"]
    assert not store.database.read("SELECT 1 FROM items WHERE run = ? AND state = 'running'", (bad,))
    assert "RunEnded" in rig.told.kinds(), "whoever watches hears of it"
    assert not rig.engine.machine.state.pool.workers.keys() & {"w1", ""}, "nobody holds what it had running"


def test_whoever_waits_for_a_run_whose_rows_make_no_sense_hears_of_its_end(rig: Rig, store: EngineSqlStore) -> None:
    bad = first(rig)
    waits = msgspec.json.encode(ControllerState(phase="training", run=bad)).decode()
    change(store, "INSERT INTO controllers (model, state, why, at_us) VALUES ('m', ?, '', 1)", waits)
    change(store, "UPDATE runs SET params = '{' WHERE run = ?", bad)
    rig.engine.start()
    (moved,) = [fact for fact in rig.told.facts if fact.kind == "ControllerMoved"]
    assert moved.model == "m"
    assert rig.engine.machine.state.desks.models.states["m"].run != bad


def test_rows_of_the_project_that_make_no_sense_are_named(rig: Rig, store: EngineSqlStore) -> None:
    change(store, "INSERT INTO controllers (model, state, why, at_us) VALUES ('m', '{}', '', 1)")
    change(store, "INSERT INTO topics (name) VALUES ('t')")
    for damage, why in (
        ("UPDATE controllers SET state = '{\"phase\": 7}'", "what the policies know cannot be read"),
        ("UPDATE codes SET project = '{'", "code version c1 cannot be read"),
        ("UPDATE topics SET schema = '{'", "not what was written"),
    ):
        change(store, damage)
        with pytest.raises(DamagedError, match=why):
            rig.engine.start()
    assert "failed" not in str(runs(store)), "no run is to blame"


def misfit(monkeypatch: pytest.MonkeyPatch, bad: str) -> None:
    follow = machine.follow

    def odd(state: State, active: Active) -> Any:
        if active.run == bad:
            state.touched[bad] = None  # it is still to be looked at, in whatever is decided next
            raise ValueError("it fits nothing")
        return follow(state, active)

    monkeypatch.setattr(machine, "follow", odd)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_run_on_which_nothing_can_be_decided_ends_alone_whatever_else_is_due(
    rig: Rig, store: EngineSqlStore, monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    project = freeze("p", [counting, follows, steady, daily]).project
    off = Engine(store, Crew(), FakeClock(), options=EngineOptions(fires_schedules=False), read_file=lambda path: b"")
    off.start()
    off.give([e.Deployed("c2", project, definitions.encode(project))])
    change(store, "DELETE FROM schedules")
    ids = [run for (run,) in store.database.read("SELECT run FROM runs ORDER BY run")]
    misfit(monkeypatch, ids[which])
    told = Told()
    engine = Engine(store, Crew(), FakeClock(), options=EngineOptions(), read_file=lambda path: b"", listener=told)
    engine.start()
    assert end_of(store, ids[which]) == (
        "failed", "it cannot go on from its rows: TaintedStepError: ValueError: it fits nothing while deciding on what follows"
    )  # fmt: skip
    assert [end_of(store, run)[0] for run in ids if run != ids[which]] == ["running", "running"]
    kinds = told.kinds()
    assert kinds.index("RunEnded") < kinds.index("SlotsSkipped"), "policies decide when all runs are in their place"
    assert not told.troubles


def test_a_fault_that_is_there_without_any_run_ends_none(
    rig: Rig, store: EngineSqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise ValueError("in a desk")

    monkeypatch.setattr(Desks, "due", broken)
    with pytest.raises(TaintedStepError, match="in a desk"):
        rig.engine.start()
    assert runs(store) == {"counting": ["running"], "steady": ["running", "running"]}


def test_a_run_that_goes_again_and_cannot_be_read_ends_again_and_the_engine_lives(
    rig: Rig, store: EngineSqlStore
) -> None:
    bad = first(rig)
    store.ask("cancel", {"run": bad}, key="c", at_us=2)
    rig.turns()
    for node in ("count", "other"):
        worker, serial = rig.crew.started[node]
        rig.crew.told.append(e.AttemptErrored(worker, serial, "cancelled", retryable=False))
    rig.turns()
    assert end_of(store, bad)[0] == "cancelled"
    change(store, "UPDATE items SET path = 'x' WHERE run = ?", bad)
    asked = store.ask("retry", {"run": bad}, key="r", at_us=3)
    rig.turns()
    assert "it cannot go on from its rows" in end_of(store, bad)[1]
    answer = store.answer(asked)
    assert answer is not None
    assert answer[0] == "done"
    assert runs(store)["steady"] == ["running", "running"]


def test_a_dead_run_elsewhere_that_cannot_be_read_is_closed_like_any_other(rig: Rig, store: EngineSqlStore) -> None:
    writer = Writer(store, "run:x", "elsewhere")
    writer.look()
    place = ("rx", "count", "", 0, 1, 1)
    started = (f.RunCreated("rx", "counting", "here", "k", "here", 5), f.AttemptStarted(*place, "w1-1#1", 5))
    writer.take(5, started)
    change(store, "UPDATE runs SET params = '{' WHERE run = 'rx'")
    assert [close_dead(rig.engine, run) for run in store.open_runs("run:")] == [True]
    assert end_of(store, "rx") == ("lost", DEAD)
    assert [type(stored.fact) for stored in store.facts("run:x", after=3)] == [f.LogTaken, f.AttemptLost, f.RunEnded]
