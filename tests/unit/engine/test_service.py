"""The service around an engine: deploys that are refused, repeated or new, and runs whose process died."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from headrace.definitions.nodes import Graph
from headrace.definitions.project import PipelineDef, Problem, Project, TopicDef
from headrace.engine import service
from headrace.engine.loader import LoadedCode
from headrace.engine.loading import Loading
from headrace.engine.service import Service, ServiceListener
from headrace.engine.supervisor import Death
from headrace.errors import ProjectError, RefusedError, StoreError
from headrace.host.rights import take_right
from headrace.ports import LogState, Request
from headrace.runs.events import RequestSettled
from headrace.runs.rows import OpenRun, Running
from headrace.store.sql.engine_store import EngineSqlStore
from headrace.store.sql.reads import streams
from headrace.streams.owner import Hand
from headrace.testing.clock import FakeClock

PROJECT = Project("p", pipelines={"a": PipelineDef("a", "m:a", Graph(())), "b": PipelineDef("b", "m:b", Graph(()))})
PROBLEM = Problem("HR1101", "raw is not known", "flow.py:7", "use hr.map")


class Rig:
    """A service whose engine, store and stream processes only remember what they were told."""

    def __init__(self, folder: Path) -> None:
        self.said: list[str] = []
        self.given: list[Any] = []
        self.deployed: list[str] = []
        self.committed: list[Any] = []
        self.open: list[OpenRun] = []
        self.has_ended = False
        self.next: LoadedCode | Exception = LoadedCode("c1", folder, PROJECT, b"{}", ())
        self.text = "c1"
        self.state = SimpleNamespace(code="", project=PROJECT)
        self.clock = FakeClock()
        self.logs = {"run:1-a": LogState(3, 1, "here")}
        store = SimpleNamespace(log=self.logs.get, commit=self.commit, open_run=self.open_run)
        self.is_full = False
        engine: Any = SimpleNamespace(
            is_working=True,
            machine=SimpleNamespace(state=self.state),
            give=self.give,
            start=lambda: None,
            clock=self.clock,
            store=store,
            owner="engine 7",
        )
        self.stored: dict[str, int] = {}
        shared: Any = SimpleNamespace(
            open_runs=lambda prefix: self.open, partitions=lambda: self.stored, refuse_elsewhere=self.look_at_store
        )
        self.deaths: list[Death] = []
        self.is_elsewhere = False
        supervisor: Any = SimpleNamespace(
            deploy=lambda code, path, groups: self.deployed.append(code), tend=lambda: self.deaths
        )
        self.locks = folder / "locks"
        self.hands: dict[str, Hand] = {}
        self.loading = Loading(self.load, lambda: None, lambda: self.text)
        self.service = Service(
            engine, shared, supervisor, self.loading, code_folder=folder, locks=self.locks,
            lock_of=lambda log: self.locks / log, hand_of=self.hands.get, stream_processes=1, notice=self.said.append,
        )  # fmt: skip
        self.listener = ServiceListener(lambda facts: None, self.said.append, supervisor, self.loading)

    def look_at_store(self) -> None:
        if self.is_elsewhere:
            raise StoreError("the store was deleted or moved", code="HR4031")

    def load(self) -> LoadedCode:
        if isinstance(self.next, Exception):
            raise self.next
        return self.next

    def give(self, events: list[Any]) -> None:
        self.given += events
        self.state.code = getattr(events[0], "code", self.state.code)

    def open_run(self, run: str) -> OpenRun | None:
        return next((found for found in self.open if found.run == run and not self.has_ended), None)

    @property
    def answers(self) -> list[tuple[int, str, Any]]:
        return [(x.request, x.status, x.answer) for x in self.given if isinstance(x, RequestSettled)]

    def commit(self, appends: list[Any]) -> None:
        if self.is_full:
            raise StoreError("the disk is full", code="HR4020")
        self.committed += appends

    def deploy(self, request: int | None = None) -> None:
        """What a changed file, or a request, leads to: without its thread."""
        self.loading._put(request)
        self.tend()

    def tend(self) -> None:
        self.clock.advance("3s")
        self.service._tend()


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_a_new_version_is_deployed_and_served(rig: Rig) -> None:
    rig.deploy(request=5)
    assert [(event.code, event.request) for event in rig.given] == [("c1", 5)]
    assert rig.deployed == ["c1"]
    assert rig.said == ["deployed c1: 2 pipelines"]


def test_the_same_version_again_leaves_the_streams_alone(rig: Rig) -> None:
    rig.deploy()
    rig.deploy(request=6)
    assert rig.deployed == ["c1"]
    assert len(rig.said) == 1
    assert rig.given[-1].request == 6, "it is answered all the same"


def test_a_mistake_is_said_and_the_last_good_version_stays(rig: Rig, tmp_path: Path) -> None:
    rig.deploy()
    rig.next = LoadedCode("c2", tmp_path, PROJECT, b"{}", (PROBLEM,))
    rig.deploy(request=7)
    assert rig.state.code == "c1"
    assert rig.deployed == ["c1"]
    assert rig.said[-1] == "flow.py:7: raw is not known\n    use hr.map\nnot deployed; version c1 stays in force"
    ((request, status, answer),) = rig.answers
    assert (request, status, answer["code"]) == (7, "refused", "HR1000")


def test_a_mistake_that_was_taken_back_is_said_once(rig: Rig, tmp_path: Path) -> None:
    rig.deploy()
    good, rig.next = rig.next, LoadedCode("c2", tmp_path, PROJECT, b"{}", (PROBLEM,))
    rig.deploy()
    rig.next = good
    rig.deploy()
    rig.deploy()
    assert rig.said[-1] == "clean again: the files are version c1, which is in force"
    assert len(rig.said) == 3


def test_a_project_that_cannot_be_read_is_said_too(rig: Rig) -> None:
    rig.next = ProjectError("there is no package 'flow'", code="HR1001")
    rig.deploy()
    assert rig.said == ["there is no package 'flow'\nnot deployed; nothing is deployed yet"]


def test_what_was_deployed_goes_on_at_once_where_the_files_are_the_same(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "c1").mkdir()
    rig.state.code = "c1"
    rig.service._begin()
    assert rig.deployed == ["c1"]
    assert rig.said == ["serves c1, deployed before: 2 pipelines"]


def test_files_that_have_changed_since_are_loaded_before_anything_is_served(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "c0").mkdir()
    rig.state.code = "c0"
    rig.service._begin()
    assert rig.deployed == ["c1"]
    assert rig.said == [
        "the files have changed since c0 was deployed: they are loaded first",
        "deployed c1: 2 pipelines",
    ]


def test_files_that_do_not_load_leave_what_was_deployed(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "c0").mkdir()
    rig.state.code = "c0"
    rig.next = LoadedCode("c1", tmp_path, PROJECT, b"{}", (PROBLEM,))
    rig.service._begin()
    assert rig.deployed == ["c0"]
    assert rig.said[-1].endswith("not deployed; version c0 stays in force")


def test_a_request_that_nobody_knows_is_refused(rig: Rig) -> None:
    with pytest.raises(RefusedError, match="does not know the request 'dance'"):
        rig.listener.asked(Request(1, "k", "dance", {}, 0))


# -- runs in other processes -------------------------------------------------------------------------------------------


def run_alone() -> OpenRun:
    return OpenRun("r1", "run:1-a", "a", (Running("t", "", 1, 1, 1),))


def test_a_run_whose_process_died_is_taken_over_and_closed(rig: Rig) -> None:
    rig.open = [run_alone()]
    rig.tend()
    (append,) = rig.committed
    assert (append.log, append.expected_seq) == ("run:1-a", 3)
    assert [fact.kind for fact in append.facts] == ["LogTaken", "AttemptLost", "RunEnded"]
    assert append.facts[0].epoch == 2
    assert (append.facts[1].item, append.facts[1].ends) == (1, True)
    assert append.facts[2].state == "lost"
    assert rig.said == ["run r1 of a is lost: the process that ran it died"]
    assert list(rig.locks.iterdir()) == []


def test_a_run_that_ended_before_its_process_let_go_is_left_alone(rig: Rig) -> None:
    rig.open, rig.has_ended = [run_alone()], True
    rig.tend()
    assert not rig.committed
    assert not rig.said


def test_a_run_whose_process_lives_is_left_alone(rig: Rig) -> None:
    rig.open = [run_alone()]
    with take_right(rig.locks / "run-1-a.lock"):  # pyright: ignore[reportOptionalContextManager]
        rig.tend()
    assert not rig.committed


def test_a_store_that_refuses_is_asked_again_later(rig: Rig) -> None:
    rig.open = [run_alone()]
    rig.is_full = True
    rig.tend()
    assert rig.said == ["the disk is full"]
    rig.is_full = False
    rig.tend()
    assert [append.log for append in rig.committed] == ["run:1-a"]


@pytest.mark.parametrize("declared", [1, 8])
def test_a_topic_with_rows_keeps_its_number_of_partitions(rig: Rig, declared: int) -> None:
    """Fewer would leave rows unread; with more, the rows of one key would lie in two partitions."""
    project = Project("p", topics={"clicks": TopicDef("clicks", partitions=declared)})
    rig.next = LoadedCode("c2", Path("c2"), project, b"{}", ())
    rig.stored = {"clicks": 4}
    rig.deploy(request=7)
    assert not rig.deployed
    assert f"HR1247 the topic clicks has rows in 4 partitions and declares {declared}" in rig.said[0]
    assert "write  partitions=4,  or use a new topic" in rig.said[0]
    ((request, status, answer),) = rig.answers
    assert (request, status, answer["code"]) == (7, "refused", "HR1247")


@pytest.mark.parametrize("stored", [{}, {"clicks": 4}, {"gone": 1}])
def test_a_topic_without_rows_or_with_the_same_number_is_deployed(rig: Rig, stored: dict[str, int]) -> None:
    project = Project("p", topics={"clicks": TopicDef("clicks", partitions=4)})
    rig.next, rig.stored = LoadedCode("c2", Path("c2"), project, b"{}", ()), stored
    rig.deploy()
    assert rig.deployed == ["c2"]


# -- shards whose process does not live ----------------------------------------------------------------------------------

DIES = Death("stream-1 died (exit code 1: no x)", (("score", 0), ("score", 1)), "exit code 1: no x", "stream-1.log")


@pytest.fixture
def store(rig: Rig) -> Iterator[EngineSqlStore]:
    opened = EngineSqlStore(":memory:")
    rig.service.engine.store = opened
    yield opened
    opened.close()


def whys(store: EngineSqlStore) -> list[str | None]:
    return [row.why for row in streams.shards(store.database, "score")]


def test_why_a_process_dies_again_and_again_stands_at_its_shards(rig: Rig, store: EngineSqlStore) -> None:
    rig.deaths = [DIES]
    rig.tend()
    assert whys(store) == ["its process dies as soon as it starts (exit code 1: no x); its log: stream-1.log"] * 2
    assert rig.said == [DIES.words]
    assert store.log("shard:score:0") == LogState(2, 1, "engine 7")


def test_what_stands_there_already_is_not_said_again(rig: Rig, store: EngineSqlStore) -> None:
    rig.deaths = [DIES]
    rig.tend()
    rig.tend()
    assert store.head("shard:score:0") == 2
    rig.deaths = [replace(DIES, how="killed")]
    rig.tend()
    assert whys(store) == ["its process dies as soon as it starts (killed); its log: stream-1.log"] * 2


def test_a_shard_whose_rows_kill_is_named_and_the_others_of_its_process_are_not_blamed(
    rig: Rig, store: EngineSqlStore
) -> None:
    rig.hands["shard:score:1"] = Hand(7, 15)
    rig.deaths = [replace(DIES, how="killed by SIGKILL")]
    rig.tend()
    innocent, guilty = whys(store)
    assert innocent == "it shares a process with score, whose rows kill it: it goes on when those are found"
    assert guilty.startswith("its rows 7 to 14 killed its process (killed by SIGKILL): they are cut down until the one")


def test_a_shard_that_another_process_owns_is_left_alone(rig: Rig, store: EngineSqlStore) -> None:
    right = take_right(rig.locks / "shard:score:0")
    assert right is not None
    with right:
        rig.deaths = [DIES]
        rig.tend()
    assert store.head("shard:score:0") == 0
    assert store.head("shard:score:1") == 2


def test_a_death_that_was_no_habit_leaves_the_shards_alone(rig: Rig, store: EngineSqlStore) -> None:
    rig.deaths = [Death("stream-1 died (killed by SIGKILL)")]
    rig.tend()
    assert whys(store) == []


# -- the edges of its life -----------------------------------------------------------------------------------------------


def test_a_run_that_was_taken_for_dead_and_lives_is_no_end_of_the_engine(rig: Rig) -> None:
    rig.open = [run_alone()]
    rig.logs["run:1-a"] = LogState(3, 1, rig.service.engine.owner)

    def another_has_it(appends: list[Any]) -> None:
        rig.logs["run:1-a"] = LogState(4, 2, "it lives")
        raise StoreError("the append does not fit")

    rig.service.engine.store.commit = another_has_it  # pyright: ignore[reportAttributeAccessIssue]
    rig.tend()
    assert "another process has taken this log" in rig.said[0]


@pytest.mark.parametrize("is_child", [True, False])
def test_who_holds_the_store_too_long_is_told_to_leave_then_ended_or_only_named(
    rig: Rig, is_child: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "WATCH_S", 0)
    held = [None, (4711, 1.0), (4711, 3.0), (4711, 4.0)]
    let_go: list[tuple[int, bool]] = []

    def holder() -> tuple[int, float] | None:
        if len(held) == 1:
            rig.service._is_over.set()
        return held.pop(0)

    rig.service.shared.holder = holder
    rig.service.supervisor.is_child = lambda pid: is_child
    rig.service.supervisor.let_go = lambda pid, at_once: let_go.append((pid, at_once))
    rig.service._watch_lock()
    assert let_go == ([(4711, False), (4711, True)] if is_child else [])
    (said,) = rig.said
    assert ("process 4711 holds the store for 3 s: it is ended" if is_child else "headrace doctor says more") in said


def test_an_engine_that_does_not_get_going_leaves_no_process_behind(rig: Rig) -> None:
    closed: list[str] = []
    engine: Any = rig.service.engine
    engine.start = lambda: None
    engine.workers = SimpleNamespace(close=lambda: closed.append("workers"))
    rig.service.supervisor.stop = lambda: closed.append("streams")
    rig.service.loading.now = lambda request=None: 1 / 0
    with pytest.raises(ZeroDivisionError):
        rig.service.run(lambda: True)
    assert closed == ["streams", "workers"]


def test_a_store_that_is_not_where_it_was_ends_the_service(rig: Rig) -> None:
    rig.tend()
    rig.is_elsewhere = True
    with pytest.raises(StoreError, match="deleted or moved"):
        rig.tend()
