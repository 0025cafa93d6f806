"""What is known of workers that ended outlives a store that refuses: what never began is not lost by it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from engine_rig import Rig

from headrace.engine.deaths import ABANDONED, STRANGER, Deaths
from headrace.errors import StoreError
from headrace.runs import events as e
from headrace.runs import facts as f
from headrace.store.sql.engine_store import EngineSqlStore


@pytest.fixture
def rig(store: EngineSqlStore) -> Rig:
    made = Rig(store)
    made.told.facts.clear()
    return made


def refuse() -> None:
    raise StoreError("the disk refuses")


def pause(rig: Rig) -> None:
    """Something to be committed."""
    rig.engine.give([e.PauseAsked("counting", True, "ann")])


def of_nodes(rig: Rig, kind: str) -> dict[str, str]:
    """Node → why, of the facts of this kind."""
    return {fact.node: getattr(fact, "why", "") for fact in rig.told.facts if fact.kind == kind}


def test_what_waited_unbegun_when_the_store_refused_is_returned_and_what_ran_is_lost_for_that_reason(rig: Rig) -> None:
    (counter, serial), (other, _) = rig.crew.started["count"], rig.crew.started["other"]
    rig.crew.begun_last = {counter: serial, other: 0}
    rig.store.before = [refuse]
    pause(rig)
    assert of_nodes(rig, "AttemptLost") == {"count": ABANDONED}
    assert set(of_nodes(rig, "AttemptReturned")) == {"other"}


def test_how_far_they_were_is_not_forgotten_however_often_the_engine_fails_to_begin(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.crew.begun_last = {worker: 0 for worker, _ in rig.crew.started.values()}
    rig.store.before = [refuse, refuse, refuse]  # the pause, and whoever takes the log after it
    pause(rig)
    rig.engine.turn(wait=False)
    assert not rig.engine.is_working
    rig.turns()
    assert rig.engine.is_working
    assert (of_nodes(rig, "AttemptLost"), set(of_nodes(rig, "AttemptReturned"))) == ({}, {"count", "other"})


def test_a_death_that_could_not_be_committed_is_remembered_with_its_reason(rig: Rig) -> None:
    (counter, serial), (other, _) = rig.crew.started["count"], rig.crew.started["other"]
    rig.store.before = [refuse]
    rig.engine.give([e.WorkerDied(counter, serial, "out of memory"), e.WorkerDied(other, 0, "out of memory")])
    assert of_nodes(rig, "AttemptLost") == {"count": "out of memory"}
    assert set(of_nodes(rig, "AttemptReturned")) == {"other"}


def test_one_that_did_not_end_at_once_is_counted_as_far_as_it_came() -> None:
    deaths = Deaths()
    deaths.abandoned({"w1": 3})
    deaths.strangers({"w1": 4, "w2": 1})
    assert deaths.of(["w1", "w2"]) == [e.WorkerDied("w1", 4, ABANDONED), e.WorkerDied("w2", 1, STRANGER)]


def test_of_one_that_nobody_knows_everything_may_have_begun() -> None:
    deaths = Deaths()
    deaths.heard([e.WorkerReady("w1"), e.WorkerDied("w2", 1, "x")])
    deaths.forget()
    assert deaths.of(["w1", "w2"]) == [e.WorkerDied(name, e.ALL_BEGUN, STRANGER) for name in ("w1", "w2")]


def test_with_no_loss_allowed_a_task_that_never_began_does_not_fail(rig: Rig, store: EngineSqlStore) -> None:
    rig.crew.begun_last = {worker: 0 for worker, _ in rig.crew.started.values()}
    with store.database.write() as connection:
        connection.execute("UPDATE runs SET max_lost = 0")
    rig.store.before = [refuse]
    pause(rig)
    assert not [fact for fact in rig.told.facts if isinstance(fact, f.AttemptLost)]
