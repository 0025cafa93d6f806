"""What an engine sees of the store: each request once, the suspects alone, and nothing where nobody has written."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import Raw

from headrace.data.facts import TopicCompleted
from headrace.definitions import project as definitions
from headrace.definitions.nodes import Graph, Node
from headrace.definitions.project import PipelineDef, Project
from headrace.engine.listener import Listener
from headrace.engine.lookout import Lookout
from headrace.ports import Append, Request
from headrace.runs.events import (
    Deployed,
    Event,
    NewsRejected,
    PauseAsked,
    RequestSettled,
    RetryAsked,
    RunAsked,
    TriggerSeen,
    WatermarksRead,
)
from headrace.runs.facts import CodeDeployed, CursorMoved, RequestAnswered, RunCreated
from headrace.runs.slot_key import slot_key
from headrace.store.sql.engine_store import EngineSqlStore
from headrace.streams.facts import TriggerFired

STATE: Any = SimpleNamespace(code="c1", project=Project("p"), desks=SimpleNamespace(watermarks={}))


class Told(Listener):
    def __init__(self) -> None:
        self.wakes, self.deploys = 0, 0

    def woken(self) -> None:
        self.wakes += 1

    def asked(self, request: Request) -> list[Event]:
        if request.verb != "deploy":
            return super().asked(request)
        self.deploys += 1
        return []


class Rig:
    def __init__(self) -> None:
        self.store, self.told, self.asked = EngineSqlStore(":memory:"), Told(), 0
        self.lookout = Lookout(self.store, self.told, None, serves=True)

    def ask(self, verb: str = "pause", **body: Any) -> int:
        body = body or {"pipeline": "p", "paused": True}
        self.asked += 1
        return self.store.ask(verb, body, key=f"k{self.asked}", at_us=1)

    def answer(self, request: int) -> None:
        head = self.store.head("engine")
        self.store.commit([Append("engine", head, (RequestAnswered(request, "done", {}, 1),))])

    def look(self) -> list[Event]:
        return self.lookout.look(STATE)


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.store.close()


def test_nobody_has_written_so_nothing_is_read(rig: Rig) -> None:
    rig.ask()
    assert len(rig.look()) == 1
    assert rig.look() == []
    assert rig.told.wakes == 1
    rig.lookout.forget()
    assert len(rig.look()) == 1, "it is not answered: whoever dropped it gets it again"


def test_a_deploy_is_begun_once_until_it_is_answered(rig: Rig) -> None:
    asked = rig.ask("deploy")
    for _ in range(3):
        rig.lookout.forget()
        assert rig.look() == []
    assert rig.told.deploys == 1
    rig.answer(asked)
    rig.ask("deploy", again=True)
    rig.look()
    assert rig.told.deploys == 2
    assert len(rig.lookout._deploying) == 1, "what is answered is forgotten"


def test_a_deploy_that_failed_is_begun_again(rig: Rig) -> None:
    asked = rig.ask("deploy")
    rig.look()
    rig.lookout.failed([Deployed("c2", Project("p"), b"", asked)], ValueError("no"))
    rig.lookout.forget()
    rig.look()
    assert rig.told.deploys == 2


def test_a_request_that_fails_is_tried_alone_and_then_answered(rig: Rig) -> None:
    bad, good = rig.ask(), rig.ask()
    both = rig.look()
    assert [getattr(event, "request", 0) for event in both] == [bad, good]
    rig.lookout.failed(both[:1], ValueError("it makes no sense"))
    rig.lookout.forget()
    (alone,) = rig.look()
    assert isinstance(alone, PauseAsked)
    rig.lookout.forget()
    assert rig.look() == [alone], "a look that came to nothing is no failure"
    rig.lookout.failed([alone], ValueError("it makes no sense"))
    rig.lookout.forget()
    settled = rig.look()[0]
    assert isinstance(settled, RequestSettled)
    assert (settled.request, settled.status) == (bad, "error")
    assert settled.answer["message"] == "ValueError: it makes no sense"


def test_what_is_malformed_or_unknown_is_refused(rig: Rig) -> None:
    rig.ask("pause", pipeline="p")
    rig.ask("dance", at=1)
    rig.ask("trigger", pipeline="p", cause="schedule")
    codes = [event.answer["code"] for event in rig.look() if isinstance(event, RequestSettled)]
    assert codes == ["HR3001", "HR3002", "HR3001"]


def test_a_key_that_a_client_gives_is_never_that_of_a_slot_or_of_another_pipeline(rig: Rig) -> None:
    slot = slot_key("p", "daily", 5)
    mine = RunCreated("r2", "p", "c1", "client:p:mine", "person", 1)
    rig.store.commit([Append("engine", 0, (RunCreated("r1", "p", "c1", slot, "schedule", 1), mine))])
    rig.ask("trigger", pipeline="p", key=slot)
    rig.ask("trigger", pipeline="q", key="mine")
    rig.ask("trigger", pipeline="p", key="mine")
    first, second, third = rig.look()
    assert isinstance(first, RunAsked), "a slot that has run is no answer"
    assert first.key == f"client:p:{slot}"
    assert isinstance(second, RunAsked)
    assert isinstance(third, RequestSettled)
    assert third.answer["run"] == "r2"


def fired(rig: Rig, log: str) -> None:
    at = rig.store.head(log)
    rig.store.commit([Append(log, at, (TriggerFired("look", "event e", f"k{at}", (), 0, 1),))])


def test_a_fact_of_another_log_that_fails_is_tried_alone_and_then_rejected_so_that_others_go_on(rig: Rig) -> None:
    asked = rig.ask()
    fired(rig, "trigger:a")
    fired(rig, "trigger:b")
    first, second, third = rig.look()
    rig.lookout.failed([first, second, third], ValueError("it makes no sense"))
    rig.lookout.forget()
    assert rig.look() == [first], "in their order, one at a time"
    rig.answer(asked)
    assert rig.look() == [second]
    rig.lookout.failed([second], ValueError("it makes no sense"))
    rig.lookout.forget()
    (rejected,) = rig.look()
    assert isinstance(rejected, NewsRejected)
    assert (rejected.log, rejected.seq, rejected.error) == ("trigger:a", 1, "ValueError: it makes no sense")
    head = rig.store.head("engine")
    rig.store.commit([Append("engine", head, (CursorMoved("trigger:a", 1),))])
    assert rig.look() == [third]


def test_what_was_dropped_for_a_full_disk_is_under_no_suspicion(rig: Rig) -> None:
    rig.ask("deploy")
    fired(rig, "trigger:a")
    for _ in range(3):
        (seen,) = rig.look()
        assert isinstance(seen, TriggerSeen)
        rig.lookout.dropped([seen, Deployed("c2", Project("p"), b"", 1)])
        rig.lookout.forget()
    assert rig.told.deploys == 3


def complete_through(rig: Rig, us: int) -> None:
    rig.store.commit([Append("clients", None, (TopicCompleted("clicks", us, 1),))])


def test_the_watermarks_are_heard_before_anything_is_decided_on_requests(rig: Rig) -> None:
    rig.ask()
    complete_through(rig, 7)
    assert [type(event) for event in rig.look()] == [WatermarksRead, PauseAsked]


def test_an_engine_that_begins_again_hears_the_watermarks_before_it_tries_a_suspect(rig: Rig) -> None:
    rig.ask()
    complete_through(rig, 7)
    events = rig.look()
    rig.lookout.failed(events, ValueError("it makes no sense"))
    rig.lookout.forget()
    (heard,) = rig.look()
    assert heard == WatermarksRead({"clicks": 7})
    assert not rig.lookout.has_looked, "so it looks again at once"
    state: Any = SimpleNamespace(code="c1", project=Project("p"), desks=SimpleNamespace(watermarks={"clicks": 6}))
    assert [type(event) for event in rig.lookout.look(state)] == [PauseAsked], "one suspect alone"


def test_a_retry_is_asked_with_the_run_and_both_graphs_as_the_rows_have_them(rig: Rig) -> None:
    def code(name: str, task: str) -> CodeDeployed:
        project = Project("p", pipelines={"p": PipelineDef("p", "m:p", Graph((Node(task, "task", f"m:{task}"),)))})
        return CodeDeployed(name, Raw(definitions.encode(project)), 1)

    made = (code("c0", "a"), RunCreated("r1", "p", "c0", "k", "person", 1), code("c1", "b"))
    rig.store.commit([Append("engine", 0, made)])
    for how in ({}, {"code": "current"}, {"code": "c0"}):
        rig.ask("retry", run="r1", **how)
    rig.ask("retry", run="nobody")
    elsewhere = RunCreated("r2", "p", "never deployed", "k2", "process", 1)
    rig.store.commit([Append("run:1-a", 0, (elsewhere,))])
    rig.ask("retry", run="r2")
    asked = [event for event in rig.look() if isinstance(event, RetryAsked)]
    assert [event.row and event.row.run for event in asked] == ["r1", "r1", "r1", None, "r2"]
    assert [event.code for event in asked] == [None, "c1", "c0", None, None]
    names = [[graph and graph.nodes[0].name for graph in event.graphs] for event in asked]
    assert names == [["a", None], ["a", "b"], ["a", "a"], [None, None], [None, None]]
