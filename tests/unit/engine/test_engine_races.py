"""An engine and another process that writes at the same moment: whoever is second reads again, and nobody loses work."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from engine_rig import Crew, Rig, Told, counting

from headrace.data.facts import TopicCompleted, TopicShaped
from headrace.definitions import project as definitions
from headrace.definitions.project import ModelDef
from headrace.engine.loop import Engine
from headrace.engine.options import EngineOptions
from headrace.errors import ConflictError, StoreError
from headrace.graph.loaded import freeze
from headrace.ports import Append
from headrace.runs import events as e
from headrace.runs import facts as f
from headrace.runs.desks import Desks
from headrace.runs.effects import Effects
from headrace.store.sql.engine_store import EngineSqlStore
from headrace.store.sql.reads import project as project_rows
from headrace.store.sql.reads import tables
from headrace.streams.facts import TriggerFired
from headrace.testing.clock import FakeClock

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


def test_a_race_for_the_columns_of_a_topic_costs_only_the_attempt_whose_rows_do_not_fit(rig: Rig) -> None:
    def shape_elsewhere() -> None:
        rig.real.commit([Append("clients", None, (TopicShaped("clicks", {"id": "str"}, 5),))])

    rig.store.before = [shape_elsewhere]
    write = f.TopicWrite("clicks", 0, 1, "file", schema={"id": "int"}, partitions=1)
    rig.crew.done("count", Effects(topics=(write,)))
    rig.turns()
    assert not rig.told.troubles
    assert not rig.crew.was_abandoned
    (lost,) = [fact for fact in rig.told.facts if fact.kind == "AttemptLost"]
    assert (lost.node, lost.ends, lost.why) == (
        "count", False, "another writer gave the topic clicks its columns meanwhile"
    )  # fmt: skip
    for node in ("count", "other"):  # the second attempt has read the columns; the neighbour went on undisturbed
        rig.crew.done(node)
        rig.turns()
    assert [fact.state for fact in rig.told.facts if fact.kind == "RunEnded"] == ["succeeded"]


def test_after_a_race_no_worker_gets_a_name_twice(rig: Rig) -> None:
    rig.store.before = [lambda: rig.publish_elsewhere(1)]
    rig.crew.done("count", WRITES)
    rig.turns()
    rig.engine.give(
        [e.WorkerDied(name, e.ALL_BEGUN, "killed") for name in tuple(rig.engine.machine.state.pool.workers)]
    )
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


@pytest.mark.parametrize("is_new_engine", [False, True])
def test_a_rate_counts_the_starts_from_before_a_race_or_a_restart(rig: Rig, is_new_engine: bool) -> None:
    for node in ("count", "other"):
        rig.crew.done(node)
        rig.turns()
    rig.told.facts.clear()
    rig.real.ask("trigger", {"pipeline": "steady"}, key="s", at_us=1)
    rig.turns()

    def starts() -> int:
        return len([fact for fact in rig.told.facts if fact.kind == "AttemptStarted" and fact.node == "slowly"])

    assert starts() == 2, "two in a second"
    if is_new_engine:
        rig.engine._go_on()
    else:
        rig.store.before = [lambda: rig.publish_elsewhere(1)]
        rig.crew.done("slowly", WRITES)
    rig.turns()
    assert starts() == 2
    if is_new_engine:  # after the race the workers still have what they had
        rig.clock.advance("1100ms")
        rig.turns()
        assert starts() == 4


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


def test_an_event_that_no_decision_survives_is_recorded_and_the_others_go_on(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_trigger = Desks.on_trigger

    def odd(self: Desks, office: Any, event: e.TriggerSeen) -> Any:
        for fact in on_trigger(self, office, event):
            yield fact
            if event.key.endswith("bad"):
                raise ValueError("half-way")  # what came out is in the state already: the step is tainted

    monkeypatch.setattr(Desks, "on_trigger", odd)
    for key in ("bad", "good"):
        fact = TriggerFired("counting", "event x", key, (), 0, 1)
        rig.real.commit([Append("trigger:t", rig.real.head("trigger:t"), (fact,))])
    rig.turns()
    (rejected,) = [fact for fact in rig.told.facts if fact.kind == "EventRejected"]
    assert (rejected.log, rejected.seq) == ("trigger:t", 1)
    assert "ValueError: half-way" in rejected.error
    assert [fact.key for fact in rig.told.facts if fact.kind == "RunCreated"][1:] == ["event:counting:event x:good"]
    assert rig.real.news() == []
    (row,) = project_rows.rejected(rig.real.database, 0)
    assert (row.about_log, row.about_seq) == ("trigger:t", 1)


def race() -> None:
    raise ConflictError("a number went to another writer")


def test_after_a_race_an_attempt_that_was_told_to_stop_still_gets_no_more_than_the_grace(rig: Rig) -> None:
    run = next(iter(rig.engine.machine.state.runs))
    rig.real.ask("cancel", {"run": run}, key="c", at_us=2)
    rig.turns()
    rig.store.before = [race]
    rig.crew.done("other")
    rig.turns()
    rig.clock.advance("6s")
    rig.turns()
    assert rig.crew.killed == [rig.crew.started["count"][0]]


def test_after_a_race_it_is_still_known_how_often_a_code_could_not_be_loaded(rig: Rig) -> None:
    rig.engine.machine.state.unready["c2"] = 20
    rig.store.before = [race]
    rig.crew.done("other")
    rig.turns()
    assert rig.engine.machine.state.unready == {"c2": 20}


def test_a_run_that_makes_no_sense_is_closed_with_the_reason_and_the_others_go_on(rig: Rig) -> None:
    bad = next(iter(rig.engine.machine.state.runs))
    rig.real.ask("trigger", {"pipeline": "steady"}, key="s", at_us=1)
    rig.turns()
    with rig.real.database.write() as connection:
        connection.execute("UPDATE runs SET pipeline = 'gone' WHERE run = ?", (bad,))
    rig.engine.start()
    ((state, why),) = rig.real.database.read("SELECT state, end_why FROM runs WHERE run = ?", (bad,))
    assert state == "failed"
    assert "it cannot go on from its rows" in why
    assert "no pipeline 'gone'" in why
    assert [active.pipeline for active in rig.engine.machine.state.runs.values()] == ["steady"]


DAY_US = 86_400_000_000


@pytest.mark.parametrize("is_first_of_several", [False, True])
def test_a_training_that_was_asked_while_no_engine_was_alive_ends_where_its_data_ends(
    is_first_of_several: bool,
) -> None:
    store = EngineSqlStore(":memory:")
    project = freeze("p", [counting]).project
    trains = msgspec.structs.replace(
        project.pipelines["counting"], window="all", registers="risk", reads=("clicks",), triggers=()
    )
    project = msgspec.structs.replace(project, pipelines={"counting": trains}, models={"risk": ModelDef("risk")})
    way: Any = store
    first = Engine(way, Crew(), FakeClock(), options=EngineOptions(), read_file=lambda path: b"")
    first.start()
    first.give([e.Deployed("c1", project, definitions.encode(project))])
    store.commit([Append("clients", None, (TopicCompleted("clicks", DAY_US, 1),))])
    asked = store.ask("trigger", {"pipeline": "counting"}, key="k", at_us=1)
    if is_first_of_several:  # this one cannot be decided on, so each is tried once more, alone, from the rows
        store.ask("pause", {"pipeline": ["counting"], "paused": True}, key="l", at_us=1)

    told = Told()
    second = Engine(way, Crew(), FakeClock(), options=EngineOptions(), read_file=lambda path: b"", listener=told)
    second.start()
    while second.turn(wait=False):
        pass
    (run,) = [fact for fact in told.facts if fact.kind == "RunCreated"]
    assert run.window == (0, DAY_US)
    assert store.answer(asked) == ("done", {"run": run.run, "pipeline": "counting"})
    store.close()
