"""An engine and another process that writes at the same moment: whoever is second reads again, and nobody loses work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

import headrace as hr
from headrace.data.facts import Part, TablePublished
from headrace.definitions import project as definitions
from headrace.engine.listener import Listener
from headrace.engine.loop import Engine, EngineOptions
from headrace.errors import StoreError
from headrace.graph.loaded import freeze
from headrace.host.writer import Writer
from headrace.ports import Append, Committed
from headrace.runs import events as e
from headrace.runs import facts as f
from headrace.runs.effects import Effects
from headrace.runs.pool import CREDIT_US
from headrace.store.sql.engine_store import EngineSqlStore
from headrace.store.sql.reads import tables
from headrace.testing.clock import FakeClock

counts = hr.Table("counts")


@hr.task(to=counts, timeout="10s")
def count() -> int:
    return 1


@hr.task
def other() -> int:
    return 1


@hr.pipeline
def counting() -> None:
    count()
    other()


@hr.pipeline(triggers=[hr.updated(counts)])
def follows() -> None:
    other()


class Shared:
    """One process's way to the store. `before`: what happens between its decisions and its next commits, one by one."""

    def __init__(self, store: EngineSqlStore) -> None:
        self.store = store
        self.before: list[Callable[[], None]] = []

    def commit(self, appends: Sequence[Append]) -> Committed:
        if self.before:
            self.before.pop(0)()
        return self.store.commit(appends)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


class Crew:
    """Workers that only remember what they were told."""

    def __init__(self) -> None:
        self.spawned: list[str] = []
        self.started: dict[str, tuple[str, int]] = {}  # node → (worker, serial)
        self.was_abandoned = False
        self.killed: list[str] = []
        self.told: list[e.Event] = []

    def spawn(self, worker: str, code: str) -> None:
        self.spawned.append(worker)
        self.told.append(e.WorkerReady(worker))

    def start(self, worker: str, attempts: Any) -> None:
        for start, _ in attempts:
            self.started[start.node.name] = (worker, start.serial)

    def events(self) -> list[e.Event]:
        told, self.told = self.told, []
        return told

    def begun(self, workers: Sequence[str]) -> dict[str, tuple[int, int]]:
        return {worker: (serial, 0) for worker, serial in self.started.values() if worker in workers}

    def done(self, node: str, effects: Effects | None = None) -> None:
        worker, serial = self.started[node]
        self.told.append(e.AttemptDone(worker, serial, f.Value("json", "1"), CREDIT_US, effects=effects or Effects()))

    def kill(self, worker: str, why: str) -> None:
        self.killed.append(worker)

    def abandon(self) -> None:
        self.was_abandoned = True

    def end_strangers(self) -> dict[str, int]:
        return {}

    def stop(self, worker: str) -> None: ...
    def cancel(self, worker: str, serial: int) -> None: ...
    def answer_pin(self, worker: str, serial: int, dataset: str, pin: Any) -> None: ...
    def wait(self, timeout_s: float, *others: int) -> None: ...
    def close(self) -> None: ...


class Told(Listener):
    def __init__(self) -> None:
        self.facts: list[Any] = []
        self.troubles: list[str] = []

    def heard(self, facts: Sequence[Any]) -> None:
        self.facts += facts

    def troubled(self, error: Exception, then: str) -> None:
        self.troubles.append(str(error))

    def kinds(self) -> list[str]:
        return [fact.kind for fact in self.facts]


class Rig:
    """An engine with two workers in the middle of a run: both tasks of `counting` are with a worker."""

    def __init__(self, store: EngineSqlStore) -> None:
        self.real, self.store, self.crew, self.told, self.clock = store, Shared(store), Crew(), Told(), FakeClock()
        project = freeze("p", [counting, follows]).project
        way: Any = self.store
        self.engine = Engine(
            way, self.crew, self.clock, options=EngineOptions(), read_file=lambda path: b"", listener=self.told
        )
        self.engine.start()
        self.engine.give([e.Deployed("c1", project, definitions.encode(project))])
        store.ask("trigger", {"pipeline": "counting"}, key="k", at_us=1)
        self.turns()
        assert set(self.crew.started) == {"count", "other"}

    def turns(self) -> None:
        while self.engine.turn(wait=False):
            pass

    def publish_elsewhere(self, version: int, log: str = "run:x") -> None:
        """A run in a process of its own publishes the next version of the table."""
        place = (f"r-{log}", "count", "", 0, 1, 1)
        writer = Writer(self.real, log, "elsewhere")
        writer.look()
        writer.take(
            5,
            (
                f.RunCreated(place[0], "counting", "local", log, "here", 5),
                f.AttemptStarted(*place, "w1-1#1", 5),
                f.AttemptSucceeded(*place, 5, 1, f.Value("json", "1")),
                TablePublished("counts", version, (Part("p", 1, 1, ""),), 1, place[0], "count", 0, 1, 5),
                f.RunEnded(place[0], "succeeded", 5),
            ),
        )


WRITES = Effects(tables=(f.TableWrite("counts", "whole", "q", 1, 1, ""),))


@pytest.fixture
def rig() -> Iterator[Rig]:
    store = EngineSqlStore(":memory:")
    yield Rig(store)
    store.close()


def versions(rig: Rig) -> list[int]:
    return [row.version for row in tables.versions(rig.real.database, "counts")]


def test_a_race_for_a_version_costs_nothing(rig: Rig) -> None:
    rig.store.before = [lambda: rig.publish_elsewhere(1)]
    rig.crew.done("count", WRITES)
    rig.turns()
    assert versions(rig) == [2, 1]
    assert not rig.crew.was_abandoned
    assert not rig.told.troubles
    assert rig.told.kinds().count("AttemptSucceeded") == 1
    rig.crew.done("other")
    rig.turns()
    assert [fact.state for fact in rig.told.facts if fact.kind == "RunEnded"] == ["succeeded"]
    assert "AttemptLost" not in rig.told.kinds()


def test_both_versions_start_who_waits_for_them_once(rig: Rig) -> None:
    rig.store.before = [lambda: rig.publish_elsewhere(1)]
    rig.crew.done("count", WRITES)
    rig.turns()
    keys = [fact.key for fact in rig.told.facts if fact.kind == "RunCreated" and fact.pipeline == "follows"]
    assert sorted(keys) == ["updated:follows:counts:1", "updated:follows:counts:2"]
    assert not rig.real.news()


def test_a_race_may_be_lost_several_times_in_a_row(rig: Rig) -> None:
    def publish(version: int) -> Callable[[], None]:
        return lambda: rig.publish_elsewhere(version, f"run:{version}")

    rig.store.before = [publish(version) for version in (1, 2, 3)]
    rig.crew.done("count", WRITES)
    rig.turns()
    assert versions(rig) == [4, 3, 2, 1]
    assert not rig.told.troubles


def test_after_a_race_no_worker_gets_a_name_twice(rig: Rig) -> None:
    rig.store.before = [lambda: rig.publish_elsewhere(1)]
    rig.crew.done("count", WRITES)
    rig.turns()
    rig.engine.give([e.WorkerDied(name, 1 << 62, "killed") for name in tuple(rig.engine.machine.state.pool.workers)])
    rig.turns()
    assert len(set(rig.crew.spawned)) == len(rig.crew.spawned) > 2


def test_after_a_race_a_timeout_still_counts_from_the_begin(rig: Rig) -> None:
    rig.store.before = [lambda: rig.publish_elsewhere(1)]
    rig.crew.done("other", WRITES)
    rig.turns()
    worker, _ = rig.crew.started["count"]
    rig.clock.advance("11s")
    rig.turns()
    assert rig.crew.killed == [worker]
    assert [fact.error[:12] for fact in rig.told.facts if fact.kind == "AttemptFailed"] == ["TimeoutError"]


def test_a_request_that_was_decided_in_the_lost_race_is_answered_once(rig: Rig) -> None:
    asked = rig.real.ask("cancel", {"run": "nobody"}, key="c", at_us=2)
    rig.store.before = [lambda: rig.publish_elsewhere(1)]
    rig.crew.done("count", WRITES)
    rig.turns()
    assert rig.real.answer(asked) is not None
    assert [fact.request for fact in rig.told.facts if fact.kind == "RequestAnswered"].count(asked) == 1


def test_a_store_that_refuses_is_still_trouble(rig: Rig) -> None:
    def full() -> None:
        raise StoreError("the disk is full", code="HR4020")

    rig.store.before = [full]
    rig.crew.done("count", WRITES)
    rig.turns()
    assert rig.told.troubles == ["the disk is full"]
    assert rig.crew.was_abandoned


def test_an_engine_alone_leaves_the_requests_to_the_one_that_serves(rig: Rig) -> None:
    asked = rig.real.ask("pause", {"pipeline": "counting", "paused": True}, key="p", at_us=2)
    way: Any = rig.real
    project = freeze("p", [counting]).project
    options = EngineOptions(log="run:y", name="here", pool_size=1, serves=False, local=("local", project))
    alone = Engine(way, Crew(), FakeClock(), options=options, read_file=lambda path: b"")
    alone.start()
    alone.give([e.RunAsked("counting", "here:y", "here")])
    while alone.turn(wait=False):
        pass
    assert rig.real.answer(asked) is None
