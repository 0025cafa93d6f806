"""One training of a model at a time, whoever asks, whatever is deployed meanwhile."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from machine_driver import Driver, ended_row, value

from headrace.data.facts import TablePublished
from headrace.definitions import project as definitions
from headrace.definitions.nodes import Graph, Node, Options
from headrace.definitions.project import ModelDef, ParamDef, PipelineDef, Project, Updated
from headrace.models.controller import ControllerState
from headrace.models.facts import AliasMoved, ControllerMoved, RetrainAsked, VersionRegistered
from headrace.ports import Append
from headrace.runs import facts as f
from headrace.runs.commands import StartAttempt
from headrace.runs.effects import Effects, RegisteredModel
from headrace.runs.events import (
    AttemptDone,
    AttemptErrored,
    CancelAsked,
    Deployed,
    Event,
    RetryAsked,
    RunAsked,
    TriggerSeen,
    UpdateSeen,
    WatermarksRead,
)
from headrace.runs.machine import Machine
from headrace.runs.restoring import restore
from headrace.runs.state import State
from headrace.store.sql.engine_store import EngineSqlStore

HOUR = 3_600_000_000
FIT = Graph((Node("fit", "task", "m:fit", options=Options(retries=0)),))
LEARN = PipelineDef("learn", "m:learn", FIT, triggers=(Updated("t"),), registers="m")
OTHER = PipelineDef("other", "m:other", FIT)
WITH = Project("p", pipelines={"learn": LEARN, "other": OTHER}, models={"m": ModelDef("m", cooldown_us=10)})
WITHOUT = Project("p", pipelines={"other": OTHER})
DONE = RegisteredModel("m", "pickle", "a", "d", 1, "m:predict", 1, 1, 1, 0, None, {}, reference=msgspec.Raw(b"null"))


class Trainer(Driver):
    """Its attempts are under way until `finish` or `fail`."""

    def __init__(self) -> None:
        super().__init__(FIT, lambda start: 1)
        self.send(Deployed("c2", WITH, b"{}"))

    def _attempt(self, start: StartAttempt) -> Event:
        return CancelAsked("none", "nobody")  # nothing comes back yet

    def finish(self, start: StartAttempt, *models: RegisteredModel) -> None:
        self.send(AttemptDone(start.worker, start.serial, value(1), 10, effects=Effects(models=models)))
        self.settle()

    def fail(self, start: StartAttempt) -> None:
        self.send(AttemptErrored(start.worker, start.serial, "ValueError: no"))
        self.settle()

    def ask(self, request: int) -> Any:
        self.send(RunAsked("learn", f"k{request}", request=request))
        self.settle()
        return next(x for x in self.of(f.RequestAnswered) if x.request == request)

    def trigger(self, seq: int) -> None:
        self.send(TriggerSeen("trigger", seq, "learn", f"event:learn:{seq}", (("ev", 0, seq, seq + 1),), seq))
        self.settle()

    @property
    def controller(self) -> ControllerState:
        return self.machine.state.desks.models.states["m"]


@pytest.fixture
def drive() -> Trainer:
    return Trainer()


@pytest.mark.parametrize("code", [WITHOUT, Project("p", models=WITH.models), Project("p", pipelines={"learn": LEARN})])
def test_a_training_goes_on_as_its_own_code_says_when_another_is_deployed(drive: Trainer, code: Project) -> None:
    drive.ask(1)
    drive.send(Deployed("c3", code, b"{}"))
    drive.finish(drive.starts[0], DONE)
    assert drive.ended.state == "succeeded"
    assert [x.version_number for x in drive.of(VersionRegistered)] == [1]
    assert [x.version_number for x in drive.of(AliasMoved)] == [1]
    assert drive.controller.phase == "cooling", "its controller heard of the verdict and of the end"
    drive.send(Deployed("c4", WITH, b"{}"))
    assert drive.ask(2).status == "done"


def test_a_controller_that_waits_for_a_run_that_has_ended_is_freed_when_its_rows_are_read() -> None:
    waits = ControllerState(phase="training", asks=1, run="r1", asked_us=1)
    history = (
        f.CodeDeployed("c1", msgspec.Raw(definitions.encode(WITH)), 1),
        f.RunCreated("r1", "learn", "c1", "retrain:m:1", "retrain", 1),
        ControllerMoved("m", msgspec.Raw(msgspec.json.encode(waits)), "it is training", 1),
        f.RunEnded("r1", "failed", 2, "it cannot go on from its rows"),
    )
    store = EngineSqlStore(":memory:")
    try:
        store.commit([Append("engine", 0, history)])
        state = State(pool_size=1)
        restore(state, store.restore("engine"))
    finally:
        store.close()
    machine = Machine(state)
    (moved,) = (x for x in machine.step((), now_us=3, mono_us=3, entropy=0).facts if isinstance(x, ControllerMoved))
    assert (moved.model, state.desks.models.states["m"].phase) == ("m", "idle")
    again = machine.step((), now_us=4, mono_us=4, entropy=0).facts
    assert not [x for x in again if isinstance(x, ControllerMoved)], "once"


def test_events_and_updates_ask_for_a_training_as_anybody_does(drive: Trainer) -> None:
    drive.trigger(1)
    drive.trigger(2)
    drive.send(UpdateSeen("run:x", 4, TablePublished("t", 1, (), 0, "r", "n", 0, 1, 1)))
    drive.settle()
    (run,) = drive.of(f.RunCreated)
    assert (run.cause, run.key, run.events) == ("retrain", "retrain:m:1", (("ev", 0, 1, 2),))
    assert [(x.by, x.accepted, x.key) for x in drive.of(RetrainAsked)] == [
        ("event", True, "event:learn:1"),
        ("event", False, "event:learn:2"),
        ("updated", False, "updated:learn:t:1"),
    ]
    suppressed = drive.of(f.TriggerSuppressed)
    assert [x.key for x in suppressed] == ["event:learn:2", "updated:learn:t:1"]
    assert all("is training" in x.why for x in suppressed)
    drive.finish(drive.starts[0], DONE)
    drive.trigger(5)
    assert "cool-down" in drive.of(f.TriggerSuppressed)[-1].why
    drive.trigger(20)
    assert len(drive.of(f.RunCreated)) == 2


def test_an_ask_is_about_the_time_of_the_event_and_its_run_about_rows_with_labels(drive: Trainer) -> None:
    learn = msgspec.structs.replace(LEARN, window="60s", params=(ParamDef("window", "json", kind="window"),))
    models = {"m": ModelDef("m", mature_us=1_000_000)}
    drive.send(Deployed("c3", Project("p", pipelines={"learn": learn}, models=models), b"{}"))
    drive.trigger(100_000_000)
    assert [x.event_us for x in drive.of(RetrainAsked)] == [100_000_000]
    assert [x.window for x in drive.of(f.RunCreated)] == [(39_000_000, 99_000_000)]


def test_a_retry_is_refused_while_another_training_runs_and_is_the_training_otherwise(drive: Trainer) -> None:
    drive.ask(1)
    drive.fail(drive.starts[0])
    first = drive.of(f.RunCreated)[0]
    drive.ask(2)
    drive.send(RetryAsked(first.run, "ann", ended_row(first.run, key=first.key, cause=first.cause), request=3))
    assert [(x.status, x.answer["code"]) for x in drive.of(f.RequestAnswered) if x.request == 3] == [
        ("refused", "HR3030")
    ]
    assert not drive.of(f.RunRetried)
    drive.fail(drive.starts[1])
    drive.send(RetryAsked(first.run, "ann", ended_row(first.run, key=first.key, cause=first.cause), request=4))
    assert [x.run for x in drive.of(f.RunRetried)] == [first.run]
    assert (drive.controller.phase, drive.controller.run) == ("training", first.run)
    assert drive.ask(5).status == "refused"


def test_a_training_by_hand_says_what_bounds_its_window() -> None:
    drive = Driver(FIT, lambda start: 1)
    learn = msgspec.structs.replace(LEARN, window="all", reads=("labels", "rides"))
    project = msgspec.structs.replace(WITH, pipelines={"learn": learn}, models={"m": ModelDef("m", mature_us=HOUR)})
    drive.send(Deployed("c3", project, b"{}"), WatermarksRead({"labels": 25 * HOUR, "rides": 26 * HOUR}))
    drive.send(RunAsked("learn", "k", why="asked by ann"))
    (run,) = drive.of(f.RunCreated)
    assert run.window == (0, 24 * HOUR)
    assert (
        run.why
        == "person: asked by ann (the topic labels is complete through 1970-01-02T01:00Z, less 1h for labels to mature)"
    )


def test_a_retry_of_what_trains_nothing_asks_no_controller(drive: Trainer) -> None:
    drive.send(RunAsked("other", "k"))
    drive.settle()
    run = drive.of(f.RunCreated)[0]
    drive.fail(drive.starts[0])
    drive.send(RetryAsked(run.run, "ann", ended_row(run.run, key=run.key, cause=run.cause)))
    assert drive.of(f.RunRetried)
    assert not drive.of(ControllerMoved)
