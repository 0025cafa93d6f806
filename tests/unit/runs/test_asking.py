"""What people and triggers ask for: the rules of a retry, and what of a request or of news is heeded."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from machine_driver import Driver, ended_row

from headrace.data.facts import Part, TablePublished
from headrace.definitions.nodes import Const, Graph, Node, Options, Scope
from headrace.definitions.project import PipelineDef, Project, Schedule, Updated
from headrace.errors import HeadraceError, RefusedError
from headrace.runs import facts as f
from headrace.runs.asking import check_retry
from headrace.runs.desks import Desks
from headrace.runs.effects import Effects
from headrace.runs.events import (
    AttemptDone,
    CancelAsked,
    Deployed,
    PauseAsked,
    RetryAsked,
    RunAsked,
    TriggerSeen,
    UpdateSeen,
    WatermarksRead,
)

ONE = Graph((Node("a", "task", "m:a"),))
OTHER = Graph((Node("b", "task", "m:b"),))
HOUR_US = 3_600_000_000


def driver(definition: PipelineDef | None = None) -> Driver:
    drive = Driver(ONE, lambda start: 1)
    if definition is not None:
        drive.send(Deployed("c2", Project("p", pipelines={"p": definition}), b"{}"))
    return drive


# -- retries -----------------------------------------------------------------------------------------------------------

ROW = ended_row("r")


@pytest.mark.parametrize(
    ("code", "row", "more"),
    [
        ("HR2020", None, {}),
        ("HR3011", msgspec.structs.replace(ROW, ended_us=None, state="running"), {}),
        ("HR3012", msgspec.structs.replace(ROW, state="succeeded"), {}),
        ("HR3013", msgspec.structs.replace(ROW, log="run:1-a"), {}),
        ("HR3015", msgspec.structs.replace(ROW, dropped_us=5), {}),
        ("HR3014", ROW, {"code": "c2", "graphs": (ONE, OTHER)}),
        ("HR3014", ROW, {"code": "c2", "graphs": (ONE, None)}),
        ("HR3014", ROW, {"code": "c2", "graphs": (None, None)}),
    ],
)
def test_a_retry_that_cannot_be_is_refused_with_its_code(code: str, row: Any, more: dict[str, Any]) -> None:
    asked = RetryAsked("r", "ann", row, request=1, **more)
    with pytest.raises(HeadraceError) as caught:
        check_retry(asked)
    assert caught.value.code == code
    drive = driver()
    drive.send(asked)
    assert [(x.status, x.answer["code"]) for x in drive.of(f.RequestAnswered)] == [("refused", code)]
    assert not drive.of(f.RunRetried)


def test_a_retry_goes_on_with_another_code_whose_graph_is_the_same() -> None:
    drive = driver()
    row = msgspec.structs.replace(ROW, generation=3)
    drive.send(RetryAsked("r", "ann", row, "c2", (ONE, Graph(ONE.nodes)), 1))
    (retried,) = drive.of(f.RunRetried)
    assert (retried.run, retried.generation, retried.code) == ("r", 4, "c2")


def test_a_retry_says_how_many_failures_each_map_forgives() -> None:
    lenient = Options(allow_failed=2)
    nodes = (Node("a", "task", "m:a", options=lenient), Node("b", "task", "m:b", scope=("s",), options=lenient))
    drive = driver()
    drive.send(RetryAsked("r", "ann", ROW, graphs=(Graph((*nodes, *OTHER.nodes), (Scope("s", Const([1])),)), None)))
    (retried,) = drive.of(f.RunRetried)
    assert retried.forgives == {"b": 2}, "a single task is no item of a map"


def test_a_run_is_cancelled_at_once_after_its_retry_was_asked_for() -> None:
    drive = driver()
    drive.send(RetryAsked("r", "ann", ROW), CancelAsked("r", "bob", 1), CancelAsked("r", "bob", 2))
    assert [(type(x), x.run) for x in drive.facts if isinstance(x, f.RunRetried | f.RunCancelled)] == [
        (f.RunRetried, "r"),
        (f.RunCancelled, "r"),
    ]
    assert {x.status for x in drive.of(f.RequestAnswered)} == {"done"}


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_what_no_request_waits_for_is_refused_beside_the_facts() -> None:
    machine = driver().machine
    decided = machine.step([RunAsked("gone", "k"), PauseAsked("gone", True, "ann", 7)], now_us=1, mono_us=1, entropy=0)
    assert [refusal.code for refusal in decided.refusals] == ["HR2010"]
    assert [(x.request, x.status) for x in decided.facts if isinstance(x, f.RequestAnswered)] == [(7, "refused")]


def test_news_that_are_refused_are_recorded_and_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise RefusedError("not now", code="HR3022")

    drive = driver()
    monkeypatch.setattr(Desks, "on_trigger", refuse)
    drive.send(TriggerSeen("trigger:t", 4, "p", "event:p:e:k", (), 0))
    assert [(x.error, x.log, x.seq) for x in drive.of(f.EventRejected)] == [("HR3022 not now", "trigger:t", 4)]
    assert [(x.log, x.seq) for x in drive.of(f.CursorMoved)] == [("trigger:t", 4)]


# -- windows, waiting and pauses -----------------------------------------------------------------------------------------


def test_a_window_that_a_person_gives_is_the_runs() -> None:
    drive = driver(PipelineDef("p", "m:p", ONE, window="all"))
    drive.send(RunAsked("p", "k", window=(3, 5)))
    assert [run.window for run in drive.of(f.RunCreated)] == [(3, 5)]


def late(ready_within_us: int | None) -> Driver:
    """At its start the slot of the last hour is due, whose data has not come."""
    hourly = Schedule("@hourly", catchup=True, start_us=1)
    drive = driver()
    drive.now_us = HOUR_US
    definition = PipelineDef("p", "m:p", ONE, ready_within_us=ready_within_us, triggers=(hourly,), reads=("clicks",))
    drive.send(Deployed("c2", Project("p", pipelines={"p": definition}), b"{}"))
    drive.send(WatermarksRead({"clicks": 1}))
    return drive


def test_a_run_whose_data_is_late_goes_on_when_its_patience_is_over_and_says_what_was_missing() -> None:
    drive = late(ready_within_us=600_000_000)
    (created,) = drive.of(f.RunCreated)
    assert created.waits == ("clicks",)
    drive.now_us = HOUR_US + 599_000_000
    drive.send()
    assert not drive.of(f.RunReady)
    drive.now_us = HOUR_US + 600_000_000
    drive.send()
    assert [ready.missing for ready in drive.of(f.RunReady)] == [("clicks",)]
    drive.settle()
    assert drive.ended.state == "succeeded"


def test_a_run_whose_data_has_come_in_time_misses_nothing() -> None:
    drive = late(ready_within_us=600_000_000)
    drive.send(WatermarksRead({"clicks": HOUR_US}))
    assert [ready.missing for ready in drive.of(f.RunReady)] == [()]
    drive.now_us = HOUR_US + 600_000_000
    drive.send()
    assert len(drive.of(f.RunReady)) == 1


def update(version: int) -> UpdateSeen:
    published = TablePublished("daily", version, (Part("p", 1, 1, "", None, "x"),), 1, "x", "n", 0, 1, 1)
    return UpdateSeen("run:x", version, published)


def test_a_paused_pipeline_notes_a_new_version_of_its_table_and_runs_at_none() -> None:
    drive = driver(PipelineDef("p", "m:p", ONE, triggers=(Updated("daily"),)))
    drive.send(PauseAsked("p", True, "ann"), update(1))
    assert [(x.key, x.why) for x in drive.of(f.TriggerSuppressed)] == [("updated:p:daily:1", "the pipeline is paused")]
    drive.send(PauseAsked("p", False, "ann"), update(2))
    assert [run.key for run in drive.of(f.RunCreated)] == ["updated:p:daily:2"]


def test_the_next_version_of_a_table_comes_after_the_one_that_another_log_has_made() -> None:
    drive = driver()
    drive.send(update(6))
    write = f.TableWrite("daily", "whole", "q", 1, 1, "")
    drive.behave = lambda start: AttemptDone(
        start.worker, start.serial, f.Value("json", "1"), 10, effects=Effects(tables=(write,))
    )
    drive.run()
    assert [x.version_number for x in drive.of(TablePublished)] == [7]
