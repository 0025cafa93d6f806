"""The engine's round: what it tells of a store that refuses, what it does at rest, and what it looks for anew."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from engine_rig import Rig

from headrace.errors import StoreError
from headrace.runs import events as e
from headrace.store.sql.engine_store import EngineSqlStore


@pytest.fixture
def rig(store: EngineSqlStore) -> Rig:
    return Rig(store)


def refuse() -> int:
    raise StoreError("the disk refuses")


def test_an_outage_is_told_once_and_the_next_one_again(rig: Rig, store: EngineSqlStore) -> None:
    for _ in range(2):
        rig.store.change_count = refuse
        for _ in range(3):
            rig.engine.turn(wait=False)
        rig.store.change_count = store.change_count
        rig.turns()
    assert rig.told.troubles == ["the disk refuses"] * 2


def test_a_file_that_could_not_be_put_in_order_is_tried_again_a_minute_later(rig: Rig) -> None:
    tried: list[int] = []

    def full() -> None:
        tried.append(rig.clock.monotonic_us())
        raise StoreError("the disk is full")

    rig.store.tidy = full
    rig.clock.advance("90s")  # since it was tried, and found in order
    rig.engine.give([e.PauseAsked("counting", True, "ann")])
    rig.turns()
    assert len(tried) == 1
    rig.clock.advance("59s")
    rig.engine.give([e.PauseAsked("counting", False, "ann")])
    rig.turns()
    assert len(tried) == 1, "what is written meanwhile makes it no more urgent"
    rig.clock.advance("1s")
    rig.turns()
    assert len(tried) == 2
    rig.store.tidy = lambda: tried.append(0)
    for _ in range(2):
        rig.clock.advance("60s")
        rig.turns()
    assert len(tried) == 3, "it is in order, and nobody has written since"


def test_what_was_found_and_could_not_be_committed_is_found_by_the_next_look(rig: Rig, store: EngineSqlStore) -> None:
    rig.turns()
    rig.store.change_count = lambda: 7  # as in a file: what an engine itself writes is no change
    rig.turns()
    asked = store.ask("pause", {"pipeline": "counting", "paused": True}, key="p", at_us=2)
    rig.store.change_count = lambda: 8
    rig.store.before = [refuse]
    rig.turns()
    assert rig.crew.was_abandoned
    answer = store.answer(asked)
    assert answer is not None
    assert answer[0] == "done"


def test_a_run_that_goes_again_is_taken_in_once_where_the_engine_begins_again_meanwhile(
    rig: Rig, store: EngineSqlStore
) -> None:
    run = next(iter(rig.engine.machine.state.runs))
    for node in ("count", "other"):
        worker, serial = rig.crew.started[node]
        rig.crew.told.append(e.AttemptErrored(worker, serial, "ValueError: no", retryable=False))
    rig.turns()
    rig.told.facts.clear()
    store.ask("retry", {"run": run}, key="r", at_us=3)
    rig.engine.turn(wait=False)
    assert "RunRetried" in rig.told.kinds()
    rig.store.before = [refuse]
    rig.engine.give([e.PauseAsked("counting", True, "ann")])
    assert rig.told.troubles == ["the disk refuses"]
    rig.engine.give(rig.crew.events())  # there are workers again, and they have work before anything is looked for
    rig.turns()
    for node in ("count", "other"):
        rig.crew.done(node)
    rig.turns()
    assert rig.told.troubles == ["the disk refuses"]
    assert rig.told.kinds().count("AttemptStarted") == 2
    assert rig.told.kinds().count("RunEnded") == 1


def test_what_no_row_waits_for_is_refused_with_the_reason(rig: Rig) -> None:
    rig.engine.give([e.RunAsked("nothing of that name", "k9")])
    assert [refusal.code for refusal in rig.told.refusals] == ["HR2010"]
    assert not rig.told.troubles
