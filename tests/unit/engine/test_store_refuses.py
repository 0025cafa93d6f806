"""A store that refuses for a moment: no deploy and no request is lost by it, and nothing is decided meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from headrace.definitions import project as definitions
from headrace.definitions.nodes import Graph
from headrace.definitions.project import PipelineDef, Project
from headrace.engine.listener import Listener
from headrace.engine.loader import LoadedCode
from headrace.engine.loading import Loading
from headrace.engine.loop import Engine
from headrace.engine.options import EngineOptions
from headrace.engine.service import Service
from headrace.errors import StoreError
from headrace.runs.desks import Desks
from headrace.runs.events import Deployed, PauseAsked
from headrace.runs.machine import TaintedStepError
from headrace.store.sql.engine_store import EngineSqlStore
from headrace.testing.clock import FakeClock

PROJECT = Project("p", pipelines={"a": PipelineDef("a", "m:a", Graph(()))})


class Way:
    """One process's way to the store; the next calls of `refused` fail, so often as it says."""

    def __init__(self, store: EngineSqlStore) -> None:
        self.store = store
        self.refused: dict[str, int] = {}
        self.code = "HR4080"

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.store, name)
        return self._guarded(name, found) if callable(found) else found

    def _guarded(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **named: Any) -> Any:
            if self.refused.get(name, 0):
                self.refused[name] -= 1
                raise StoreError("the disk refuses", code=self.code)
            return call(*args, **named)

        return guarded


class Nobody:
    """Workers that are never needed."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: {} if name in ("begun", "end_strangers", "abandon") else []


class Told(Listener):
    def __init__(self) -> None:
        self.troubles: list[str] = []

    def troubled(self, error: Exception, then: str) -> None:
        self.troubles.append(str(error))


class Rig:
    """An engine in its service, which has started on an empty store."""

    def __init__(self, store: EngineSqlStore, folder: Path) -> None:
        self.store, self.told, self.served = store, Told(), list[str]()
        self.way: Any = Way(store)
        workers: Any = Nobody()
        self.engine = Engine(
            self.way, workers, FakeClock(), options=EngineOptions(), read_file=lambda path: b"", listener=self.told
        )
        supervisor: Any = SimpleNamespace(deploy=lambda code, path, groups: self.served.append(code), tend=list)
        code = LoadedCode("c1", folder, PROJECT, definitions.encode(PROJECT), ())
        self.service = Service(
            self.engine, store, supervisor, Loading(lambda: code, lambda: None, lambda: "c1"), code_folder=folder, locks=folder,
            lock_of=lambda log: folder / log, hand_of=lambda log: None, stream_processes=1, notice=lambda notice: None,
        )  # fmt: skip
        self.engine.start()

    @property
    def code(self) -> str:
        return self.engine.machine.state.code

    def load(self) -> None:
        self.service._take(self.service.loading.now())

    def round(self) -> None:
        self.service._tend()
        while self.engine.turn(wait=False):
            pass

    def facts(self) -> Sequence[str]:
        return [type(stored.fact).__name__ for stored in self.store.facts("engine", after=0)]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    store = EngineSqlStore(":memory:")
    yield Rig(store, tmp_path)
    store.close()


def test_a_deploy_that_the_store_refuses_comes_again_before_the_requests_that_need_it(rig: Rig) -> None:
    asked = rig.store.ask("trigger", {"pipeline": "a"}, key="k", at_us=1)
    rig.way.refused = {"commit": 1}
    rig.load()
    assert (rig.code, rig.served) == ("", []), "what is not deployed is not served"
    rig.round()
    assert (rig.code, rig.served) == ("c1", ["c1"])
    answer = rig.store.answer(asked)
    assert answer is not None
    assert answer[0] == "done"


def test_a_store_error_is_no_answer_to_a_request(rig: Rig) -> None:
    rig.load()
    asked = rig.store.ask("trigger", {"pipeline": "a"}, key="k", at_us=1)
    rig.way.refused = {"run_of_key": 1}
    rig.engine.turn(wait=False)
    assert rig.store.answer(asked) is None
    rig.round()
    answer = rig.store.answer(asked)
    assert answer is not None
    assert answer[0] == "done"


def test_nothing_is_decided_while_the_store_refuses(rig: Rig) -> None:
    rig.way.refused = {"commit": 1, "restore": 1}
    rig.load()  # neither written nor read again
    before = rig.facts()
    rig.engine.give([Deployed("c1", PROJECT, definitions.encode(PROJECT))])
    assert rig.facts() == before
    rig.engine.turn(wait=False)
    rig.round()
    assert rig.code == "c1"


def test_an_idle_engine_lives_on_where_the_file_cannot_be_put_in_order(rig: Rig) -> None:
    rig.load()
    rig.way.refused = {"tidy": 1}
    rig.round()
    assert rig.told.troubles == ["the disk refuses"]
    rig.store.ask("pause", {"pipeline": "a", "paused": True}, key="p", at_us=1)
    rig.round()
    assert rig.facts()[-1] == "RequestAnswered"


def test_a_recovery_that_fails_after_its_commit_begins_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.load()
    carry_out, failures = rig.engine._carry_out, [StoreError("the disk refuses")]

    def refused_once(*args: Any) -> None:
        if failures:
            raise failures.pop()
        carry_out(*args)

    monkeypatch.setattr(rig.engine, "_carry_out", refused_once)
    rig.way.refused = {"commit": 1}
    rig.store.ask("pause", {"pipeline": "a", "paused": True}, key="p", at_us=1)
    rig.engine.turn(wait=False)
    assert not rig.engine.is_working, "what was decided on is not carried out"
    rig.round()
    assert rig.engine.is_working
    assert rig.facts()[-1] == "RequestAnswered"


def test_what_was_decided_and_not_committed_is_nowhere_in_memory(rig: Rig) -> None:
    rig.load()
    rig.way.refused = {"commit": 1, "restore": 1}
    rig.engine.give([PauseAsked("a", True, "ann")])
    assert not rig.engine.is_working
    with pytest.raises(StoreError, match="has not read its rows"):
        _ = rig.engine.machine
    rig.engine.turn(wait=False)
    assert rig.engine.machine.state.desks.paused == set()


def test_what_was_loaded_waits_until_the_engine_knows_its_rows(rig: Rig) -> None:
    rig.way.refused = {"commit": 1, "restore": 2}
    rig.load()
    rig.service.loading._put(None)
    rig.service._tend()
    assert rig.served == []
    rig.engine.turn(wait=False)
    rig.engine.turn(wait=False)
    rig.service._tend()
    assert rig.served == ["c1"]
    assert rig.facts().count("CodeDeployed") == 1


@pytest.mark.parametrize("code", ["HR4000", "HR4020", "HR4050", "HR4080"])
def test_a_good_request_is_done_however_often_the_store_refused_before(rig: Rig, code: str) -> None:
    rig.load()
    asked = rig.store.ask("trigger", {"pipeline": "a"}, key="k", at_us=1)
    rig.way.code = code
    for _ in range(3):
        rig.way.refused = {"commit": 1}
        rig.round()
    answer = rig.store.answer(asked)
    assert answer is not None
    assert answer[0] == "done"


def test_a_fault_that_no_run_is_to_blame_for_closes_none(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.load()
    rig.store.ask("trigger", {"pipeline": "a"}, key="k", at_us=1)
    rig.round()

    def broken(*_: Any) -> Any:
        raise ValueError("in a desk")

    monkeypatch.setattr(Desks, "due", broken)
    before = rig.facts().count("RunEnded")
    with pytest.raises(TaintedStepError, match="in a desk"):
        rig.engine.start()
    assert rig.facts().count("RunEnded") == before
