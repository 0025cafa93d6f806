"""What the step promises whatever happens in it: rejected or tainted, and nothing kept of old code."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from machine_driver import Driver, ended_row

from headrace.data.facts import Part, TablePublished
from headrace.definitions.nodes import Graph, Node, Ref
from headrace.definitions.project import ModelDef, MonitorDef, PipelineDef, Project
from headrace.errors import RefusedError
from headrace.runs import asking, attempts, machine
from headrace.runs import facts as f
from headrace.runs.commands import StartAttempt
from headrace.runs.desks import Desks
from headrace.runs.effects import Effects
from headrace.runs.events import (
    AttemptDone,
    Deployed,
    DetailsOld,
    FilesGone,
    PauseAsked,
    RetryAsked,
    RunAsked,
    UpdateSeen,
    WatermarksRead,
    WorkerDied,
    WorkerReady,
)
from headrace.runs.facts import TableWrite
from headrace.runs.handout import Handout
from headrace.runs.machine import TaintedStepError
from headrace.runs.publishing import TableDesk

CHAIN = Graph((Node("a", "task", "m:a"), Node("b", "task", "m:b", {"x": Ref("a")})))


def breaks(*about: Any, **more: Any) -> Any:
    raise KeyError("broken")


def driver() -> Driver:
    return Driver(CHAIN, lambda start: 1)


def test_a_request_that_cannot_be_decided_on_is_stored_and_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    drive = driver()
    monkeypatch.setattr(asking, "check_params", breaks)
    drive.send(RunAsked("p", "k", request=7))
    (rejected,) = drive.of(f.EventRejected)
    assert "broken" in rejected.error
    assert [(x.request, x.status) for x in drive.of(f.RequestAnswered)] == [(7, "error")]
    monkeypatch.undo()
    drive.run()
    assert drive.ended.state == "succeeded", "the machine goes on"


def test_a_refusal_is_answered_and_nothing_else() -> None:
    drive = driver()
    drive.send(PauseAsked("nothing", True, "ann", request=3))
    assert [(x.request, x.status, x.answer["code"]) for x in drive.of(f.RequestAnswered)] == [(3, "refused", "HR2010")]
    assert not drive.of(f.EventRejected)


def test_a_report_that_was_heard_and_cannot_be_decided_on_taints_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker does not hold the attempt any longer, so as if nothing had happened it would be forgotten."""
    drive = Driver(CHAIN, breaks)
    monkeypatch.setattr(attempts, "failure", breaks)
    with pytest.raises(TaintedStepError, match="broken"):
        drive.run()


@pytest.mark.parametrize("place", [(Desks, "due"), (Handout, "hand_out"), (machine, "follow")])
def test_whatever_breaks_in_a_step_taints_it(place: tuple[Any, str], monkeypatch: pytest.MonkeyPatch) -> None:
    drive = driver()
    monkeypatch.setattr(*place, breaks)
    with pytest.raises(TaintedStepError, match="broken"):
        drive.send(RunAsked("p", "k"))


@pytest.mark.parametrize("window", [(0, 5), (5, 15), (2, 3)])
def test_a_window_that_cuts_through_another_fails_the_task_and_not_the_engine(window: tuple[int, int]) -> None:
    drive = driver()
    drive.behave = lambda start: AttemptDone(
        start.worker,
        start.serial,
        f.Value("json", "1"),
        10,
        effects=wrote((0, 10) if len(drive.starts) < 3 else window),
    )
    drive.run()
    assert drive.ended.state == "succeeded"
    drive.run()
    assert drive.ended.state == "failed"
    (failed,) = drive.of(f.AttemptFailed)
    assert "HR3045" in failed.error
    assert "1970-01-01" in failed.error
    assert failed.retry_at_us is None
    assert {part.window for table in drive.of(TablePublished) for part in table.parts} == {(0, 10)}


def at_once() -> Driver:
    """Two runs of one pipeline, each of which writes the same window in both of its tasks."""
    drive = driver()
    drive.behave = lambda start: AttemptDone(
        start.worker, start.serial, f.Value("json", "1"), 10, effects=wrote((0, 10), f"{start.run}/{start.node.name}")
    )
    drive.send(RunAsked("p", "first"), RunAsked("p", "second"))
    drive.settle()
    return drive


def test_of_two_runs_that_write_a_window_at_once_one_stands_whole_and_the_other_says_so() -> None:
    drive = at_once()
    ended = {x.run: x.state for x in drive.of(f.RunEnded)}
    (stands,) = (run for run, state in ended.items() if state == "succeeded")
    (fails,) = (run for run, state in ended.items() if state == "failed")
    last = drive.of(TablePublished)[-1]
    assert {part.path for part in last.parts} == {f"{stands}/a", f"{stands}/b"}
    assert [(x.run, x.replaced) for x in drive.of(TablePublished) if x.replaced] == [(stands, (fails,))]
    (failed,) = drive.of(f.AttemptFailed)
    assert f"HR3046: run {stands} has replaced in the table 'daily' what run {fails} had written" in failed.error
    assert failed.retry_at_us is None


def test_a_run_learns_from_another_log_that_its_rows_were_replaced() -> None:
    drive = driver()
    drive.behave = lambda start: AttemptDone(
        start.worker, start.serial, f.Value("json", "1"), 10, effects=wrote((0, 10))
    )
    drive.send(RunAsked("p", "k"))
    run = drive.of(f.RunCreated)[0].run
    while not drive.of(TablePublished):
        batch, drive.pending = drive.pending, []
        drive.send(*batch)
    elsewhere = TablePublished("daily", 2, (Part("q", 1, 1, "", (0, 10), "x"),), 1, "x", "n", 0, 1, 1, replaced=(run,))
    drive.send(UpdateSeen("run:x", 4, elsewhere))
    drive.settle()
    assert drive.ended.state == "failed"
    assert "run x has replaced" in drive.of(f.AttemptFailed)[0].error


def wrote(window: tuple[int, int], path: str = "p") -> Effects:
    return Effects(tables=(TableWrite("daily", "window", path, 1, 1, "", window),))


def test_news_of_a_table_that_nobody_can_decide_on_is_recorded_and_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    drive = driver()
    monkeypatch.setattr(TableDesk, "on_published", breaks)
    drive.send(UpdateSeen("run:x", 4, TablePublished("t", 1, (), 0, "r", "n", 0, 1, 1)))
    assert [(x.log, x.seq) for x in drive.of(f.EventRejected)] == [("run:x", 4)]
    assert [(x.log, x.seq) for x in drive.of(f.CursorMoved)] == [("run:x", 4)]


def test_a_decision_that_breaks_half_way_taints_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def half_way(*about: Any) -> Any:
        yield f.TriggerSuppressed("p", "k", "half", 0)
        raise RefusedError("too late")

    drive = driver()
    monkeypatch.setattr(asking, "answered", half_way)
    with pytest.raises(TaintedStepError):
        drive.send(PauseAsked("p", True, "ann", request=3))


def test_a_run_of_older_code_goes_on_and_nothing_else_of_that_code_is_kept() -> None:
    drive = driver()
    drive.send(RunAsked("p", "k"))
    drive.send(Deployed("c2", Project("p", pipelines={"p": PipelineDef("p", "m:p", Graph(()))}), b"{}"))
    assert set(drive.machine.state.projects) == {"c2"}
    drive.settle()
    assert [s.node.name for s in drive.starts] == ["a", "b"]
    assert drive.ended.state == "succeeded"


def test_a_key_that_is_asked_for_twice_at_once_is_refused_once() -> None:
    drive = driver()
    drive.send(RunAsked("p", "k", request=1), RunAsked("p", "k", request=2))
    assert [(x.request, x.status) for x in drive.of(f.RequestAnswered)] == [(1, "done"), (2, "refused")]


def test_a_window_that_nobody_gives_ends_where_the_topics_are_complete_or_at_the_instant_that_is_asked_for() -> None:
    drive = driver()
    definition = PipelineDef("p", "m:p", Graph(()), window="all", reads=("seen", "silent"))
    drive.send(Deployed("c2", Project("p", pipelines={"p": definition}), b"{}"))
    drive.send(RunAsked("p", "before"))
    drive.send(WatermarksRead({"seen": 500, "other": 7}), RunAsked("p", "all"), RunAsked("p", "at", at_us=300))
    windows = {created.key: created.window for created in drive.of(f.RunCreated)}
    assert windows == {"before": (0, drive.now_us), "all": (0, 500), "at": (0, 300)}


def test_a_window_whose_judge_fails_for_a_moment_is_judged_all_the_same() -> None:
    drive = driver()
    monitor = MonitorDef("watch", "scores", "m", window_us=100, anchor_us=0)
    project = Project("p", monitors={"watch": monitor}, models={"m": ModelDef("m", mature_us=0)})
    drive.send(Deployed("c2", project, b"{}"))

    def judge(start: StartAttempt) -> int:
        if start.attempt < 3:
            raise OSError("the disk refuses")
        return 1

    drive.behave = judge
    drive.machine.state.desks.models.champion_since_us["m"] = 0
    drive.send(WatermarksRead({"scores": 100}))
    drive.settle()
    assert [start.attempt for start in drive.starts] == [1, 2, 3]
    assert drive.ended.state == "succeeded"


def test_a_run_is_retried_once_however_often_it_is_asked_for_at_once() -> None:
    drive = driver()
    run = drive.run()
    drive.send(*(RetryAsked(run, by, ended_row(run), request=n) for n, by in ((1, "ann"), (2, "bob"))))
    assert [(x.request, x.status) for x in drive.of(f.RequestAnswered)] == [(1, "done"), (2, "refused")]
    assert len(drive.of(f.RunRetried)) == 1


def test_code_that_no_worker_can_load_three_times_in_a_row_ends_its_runs() -> None:
    drive = driver()
    drive.send(RunAsked("p", "k"))
    for _ in range(2):
        (ready,) = drive.pending
        assert isinstance(ready, WorkerReady)
        drive.pending.clear()
        drive.send(WorkerDied(ready.worker, 0, "import error"))
    assert not drive.of(f.RunEnded)
    (ready,) = drive.pending
    drive.pending.clear()
    drive.send(WorkerDied(ready.worker, 0, "import error"))
    assert (drive.ended.state, "no worker can load code version c1" in drive.ended.why) == ("failed", True)


def test_workers_that_are_killed_while_they_start_are_not_held_against_the_code() -> None:
    drive = driver()
    drive.send(RunAsked("p", "k"))
    for _ in range(20):
        (ready,) = drive.pending
        assert isinstance(ready, WorkerReady)
        drive.pending.clear()
        drive.send(WorkerDied(ready.worker, 0, "killed by SIGKILL", was_killed=True))
    assert not drive.of(f.RunEnded)


# -- retention ---------------------------------------------------------------------------------------------------------


def test_details_of_a_run_that_goes_again_are_not_dropped() -> None:
    drive = driver()
    drive.send(RunAsked("p", "k"))
    (run,) = drive.machine.state.runs
    old = DetailsOld((run, "r0"), 5, (f.Gone("engine", 1, (1,), ""),))
    drive.send(old)
    assert not drive.of(f.DetailsDropped)
    drive.send(replace(old, runs=("r0",)))
    (fact,) = drive.of(f.DetailsDropped)
    assert (fact.runs, fact.before_us, fact.gone) == (("r0",), 5, old.gone)


def test_files_that_are_gone_are_noted() -> None:
    drive = driver()
    drive.send(FilesGone(("r0",)))
    assert [fact.runs for fact in drive.of(f.FilesDropped)] == [("r0",)]
