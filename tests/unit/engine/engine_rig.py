"""An engine on a real store in memory, with workers that only remember what they were told, in the middle of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import headrace as hr
from headrace.data.facts import Part, TablePublished
from headrace.definitions import project as definitions
from headrace.engine.listener import Listener
from headrace.engine.loop import Engine
from headrace.engine.options import EngineOptions
from headrace.graph.loaded import freeze
from headrace.host.writer import Writer
from headrace.ports import Append, Committed
from headrace.runs import events as e
from headrace.runs import facts as f
from headrace.runs.effects import Effects
from headrace.runs.pool import CREDIT_US
from headrace.runs.refusal import Refusal
from headrace.store.sql.engine_store import EngineSqlStore
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


@hr.task(rate="2/s")
def slowly(n: int) -> int:
    return n


@hr.pipeline
def steady() -> list[int]:
    return slowly.map([1, 2, 3, 4, 5, 6])


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
        self.begun_last: dict[str, int] = {}  # what is said of workers that are abandoned
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

    def abandon(self) -> dict[str, int]:
        self.was_abandoned = True
        begun, self.begun_last = self.begun_last, {}
        return begun

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
        self.refusals: list[Refusal] = []

    def heard(self, facts: Sequence[Any]) -> None:
        self.facts += facts

    def troubled(self, error: Exception, then: str) -> None:
        self.troubles.append(str(error))

    def refused(self, refusal: Refusal) -> None:
        self.refusals.append(refusal)

    def kinds(self) -> list[str]:
        return [fact.kind for fact in self.facts]


class Rig:
    """An engine with two workers in the middle of a run: both tasks of `counting` are with a worker."""

    def __init__(self, store: EngineSqlStore) -> None:
        self.real, self.store, self.crew, self.told, self.clock = store, Shared(store), Crew(), Told(), FakeClock()
        project = freeze("p", [counting, follows, steady]).project
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
