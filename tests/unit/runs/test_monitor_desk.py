"""Monitors: where their windows lie, and what a crossed limit starts."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from machine_driver import Driver, value

from headrace.base.instants import from_us, to_us
from headrace.definitions.nodes import Graph, Node
from headrace.definitions.project import ModelDef, MonitorDef, OnMonitor, PipelineDef, Project
from headrace.models.facts import RetrainAsked
from headrace.runs import facts as f
from headrace.runs.commands import StartAttempt
from headrace.runs.effects import Effects, JudgedWindow
from headrace.runs.events import AttemptDone, Deployed, PauseAsked, WatermarksRead
from headrace.runs.monitoring import due_ends, first_window, next_window
from headrace.triggers.wall_time import zone_of

DAY = 86_400_000_000
GRAPH = Graph((Node("a", "task", "m:a"),))
WATCH = MonitorDef("watch", "scores", "m", window_us=100, anchor_us=0)
ON = (OnMonitor("watch", "drift"),)


def crossed(*paused: str) -> Driver:
    """One window is judged, its limit is crossed, and two pipelines follow the monitor; one of them trains."""
    drive = Driver(GRAPH, lambda start: 1)
    pipelines = {
        "alarm": PipelineDef("alarm", "m:alarm", GRAPH, triggers=ON),
        "learn": PipelineDef("learn", "m:learn", GRAPH, triggers=ON, window="all", registers="m"),
    }
    project = Project("p", pipelines, monitors={"watch": WATCH}, models={"m": ModelDef("m", mature_us=0)})
    drive.send(Deployed("c2", project, b"{}"))
    drive.send(*(PauseAsked(name, True, "ann") for name in paused))

    def behave(start: StartAttempt) -> object:
        if start.node.name != "judge":
            return 1
        judged = JudgedWindow("watch", "m", (0, 100), 1, 10, True, "drift 0.3", None, {"drift": True})
        return AttemptDone(start.worker, start.serial, value(1), 10, effects=Effects(windows=(judged,)))

    drive.behave = behave
    drive.machine.state.desks.models.champion_since_us["m"] = 0
    drive.send(WatermarksRead({"scores": 100}))
    drive.settle()
    return drive


def runs(drive: Driver) -> list[tuple[str, str]]:
    return [(run.pipeline, run.cause) for run in drive.of(f.RunCreated)][1:]


def test_a_crossed_limit_starts_who_follows_and_asks_for_trainings() -> None:
    drive = crossed()
    assert runs(drive) == [("alarm", "monitor"), ("learn", "retrain")]
    assert not drive.of(f.TriggerSuppressed)


def test_what_is_paused_is_not_started_by_its_monitor_and_the_log_says_so() -> None:
    drive = crossed("alarm", "learn")
    assert runs(drive) == []
    assert not drive.of(RetrainAsked)
    assert [(x.pipeline, x.key, x.why) for x in drive.of(f.TriggerSuppressed)] == [
        ("alarm", "asked:alarm:watch:100", "the pipeline is paused"),
        ("learn", "asked:learn:watch:100", "the pipeline is paused"),
    ]


@pytest.mark.parametrize(
    ("zone", "anchor"),
    [
        ("Africa/Cairo", "2026-04-20T00:00+02:00"),
        ("Asia/Beirut", "2026-03-23T00:00+02:00"),
        ("America/Santiago", "2026-08-31T00:00-04:00"),
        ("Europe/Brussels", "2026-03-20T00:00+01:00"),
    ],
)
def test_days_begin_at_midnight_again_after_a_midnight_that_clocks_skip(zone: str, anchor: str) -> None:
    monitor = MonitorDef("m", "t", "d", window_us=DAY, anchor_us=to_us(anchor), timezone=zone)
    start_us = monitor.anchor_us
    ends = due_ends(monitor, start_us, start_us + 300 * DAY)
    assert [end - start for start, end in pairwise(ends) if end - start != DAY]  # the clocks did change
    shown = [from_us(end).astimezone(zone_of(zone)).strftime("%H:%M") for end in ends]
    assert len(shown) - shown.count("00:00") <= 1
    assert all(next_window(monitor, start, 0) == (start, end) for start, end in pairwise(ends))


def test_after_a_change_of_the_windows_length_the_next_is_the_first_whole_one() -> None:
    weekly = MonitorDef("m", "t", "d", window_us=7 * DAY, anchor_us=0)
    assert next_window(weekly, 10 * DAY, 0) == first_window(weekly, 10 * DAY) == (14 * DAY, 21 * DAY)
