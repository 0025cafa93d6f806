"""How many runs of a pipeline are at work at a time, and who is next."""

from __future__ import annotations

import time
from typing import Any, cast

import msgspec

from headrace.definitions.nodes import Graph, Node
from headrace.definitions.project import PipelineDef, Project
from headrace.runs import facts as f
from headrace.runs.active import Active
from headrace.runs.commands import SpawnWorker
from headrace.runs.events import CancelAsked, Deployed, RunAsked, WatermarksRead, WorkerReady
from headrace.runs.lanes import Lanes
from headrace.runs.machine import Machine
from headrace.runs.state import State

PIPELINE = PipelineDef("p", "m:p", Graph((Node("a", "task", "m:a"),)), max_active=1)


def run(name: str, most: int | None = 1, *, has_started: bool = False) -> Active:
    definition = msgspec.structs.replace(PIPELINE, max_active=most)
    return Active(name, "p", "c1", definition, cast("Any", None), "person", {}, None, (), 5, has_started=has_started)


def lanes_with(*runs: Active) -> Lanes:
    lanes = Lanes()
    for active in runs:
        lanes.enter(active)
    return lanes


def test_the_oldest_go_first_whoever_asks_first() -> None:
    a, b, c = run("a"), run("b"), run("c")
    lanes = lanes_with(a, b, c)
    assert lanes.admit(b), "nobody older waits"
    assert not lanes.admit(c)
    assert not lanes.admit(a), "b is in, and stays"
    lanes.leave(b)
    assert lanes.first_held("p") == "a"
    assert not lanes.admit(c)
    assert lanes.admit(a)


def test_who_is_let_in_stays_let_in() -> None:
    a = run("a")
    lanes = lanes_with(a)
    assert lanes.admit(a)
    assert lanes.admit(a)


def test_runs_at_work_count_whatever_limit_they_have_themselves() -> None:
    lanes = lanes_with(run("old", None, has_started=True), new := run("new"))
    assert not lanes.admit(new)


def test_a_run_that_ends_while_it_is_held_holds_up_nobody() -> None:
    a, b, c = run("a"), run("b"), run("c")
    lanes = lanes_with(a, b, c)
    assert [lanes.admit(x) for x in (a, b, c)] == [True, False, False]
    lanes.leave(b)
    lanes.leave(a)
    assert lanes.admit(c)
    lanes.leave(c)
    assert not lanes.is_active("p")


class Held:
    """A machine whose pipeline has `max_active=2`, with one worker that never answers."""

    def __init__(self, n: int) -> None:
        self.machine = Machine(State(pool_size=1))
        pipeline = msgspec.structs.replace(PIPELINE, max_active=2)
        self.step(Deployed("c1", Project("p", pipelines={"p": pipeline}), b"{}"))
        self.made = self.step(*(RunAsked("p", f"k{i}") for i in range(n)))

    def step(self, *events: Any) -> list[str]:
        decided = self.machine.step(events, now_us=1, mono_us=1, entropy=1)
        for command in decided.commands:
            if isinstance(command, SpawnWorker):
                decided.facts += self.machine.step([WorkerReady(command.worker)], now_us=1, mono_us=1, entropy=2).facts
        return [x.run for x in decided.facts if isinstance(x, f.RunCreated)]

    def begun(self) -> list[str]:
        lane = self.machine.state.lanes._lanes["p"]
        return sorted(lane.begun, key=self.made.index)


def test_two_slots_that_come_free_at_once_are_both_given_on() -> None:
    held = Held(5)
    assert held.begun() == held.made[:2]
    first, second = held.made[:2]
    held.step(CancelAsked(second, "ann"))
    assert first in held.begun()
    assert len(held.begun()) == 2


def test_a_thousand_waiting_runs_are_not_looked_at_for_each_other() -> None:
    began = time.perf_counter()
    held = Held(1_000)
    held.step(WatermarksRead({}))
    assert time.perf_counter() - began < 60, "this took three minutes when each run looked at all the others"
    assert held.begun() == held.made[:2]
