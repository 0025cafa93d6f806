"""Schedules against a clock that is set forward by mistake and back again: nothing runs twice, nothing falls silent."""

from __future__ import annotations

import pytest

from headrace.base.instants import to_us
from headrace.definitions.nodes import Graph, Node
from headrace.definitions.project import PipelineDef, Project, Schedule
from headrace.runs import facts as f
from headrace.runs import scheduling
from headrace.runs.commands import ReadSlots
from headrace.runs.events import Deployed, Event, PauseAsked, SlotsRead
from headrace.runs.machine import Machine
from headrace.runs.slot_key import slot_of
from headrace.runs.state import State
from headrace.runs.timers import LONGEST_WAIT_US, RetryDue, Timers

MINUTE = 60_000_000
NOON = to_us("2026-03-01T12:00Z")
YEAR = 365 * 1440 * MINUTE


class Clock:
    """Steps a machine with one schedule at given instants; what it asks of the store is answered from what has run."""

    def __init__(self, *, catchup: bool = False, start_us: int | None = None) -> None:
        self.machine = Machine(State(pool_size=0))
        self.facts: list[f.Fact] = []
        self.asked: list[ReadSlots] = []
        schedule = Schedule("every 10m", catchup=catchup, start_us=start_us)
        pipeline = PipelineDef("p", "m:p", Graph((Node("a", "task", "m:a"),)), triggers=(schedule,))
        self.step(NOON, Deployed("c1", Project("p", pipelines={"p": pipeline}), b"{}"))

    def step(self, now_us: int, *events: Event) -> None:
        decided = self.machine.step(events, now_us=now_us, mono_us=now_us, entropy=len(self.facts))
        self.facts += decided.facts
        asked = [command for command in decided.commands if isinstance(command, ReadSlots)]
        self.asked += asked
        if asked:
            self.step(now_us, *map(self.answer, asked))

    def answer(self, asked: ReadSlots) -> SlotsRead:
        ran = frozenset(slot for slot in self.ran() if slot > asked.after_us)
        return SlotsRead(asked.pipeline, asked.slug, asked.after_us, ran)

    def pass_by(self, *minutes: int) -> None:
        for minute in minutes:
            self.step(NOON + minute * MINUTE)

    def ran(self) -> list[int]:
        return [slot_of("p", x.key)[1] for x in self.facts if isinstance(x, f.RunCreated)]

    def ran_minutes(self) -> list[int]:
        return [(slot - NOON) // MINUTE for slot in self.ran()]

    def restart(self) -> None:
        desk = self.machine.state.desks.schedules
        state = State(pool_size=0)
        state.code, state.projects = self.machine.state.code, self.machine.state.projects
        state.desks.schedules.last_us = dict(desk.last_us)
        self.machine = Machine(state)


def test_the_slots_that_a_deploy_finds_missed_run_in_its_own_step() -> None:
    assert Clock(catchup=True, start_us=NOON - 30 * MINUTE).ran_minutes() == [-30, -20, -10, 0]


@pytest.mark.parametrize("start_us", [NOON + 1, NOON + 20 * MINUTE])
def test_a_schedule_that_begins_later_is_looked_at_when_it_begins(start_us: int) -> None:
    clock = Clock(catchup=True, start_us=start_us)
    assert not clock.ran()
    assert clock.machine.next_due_us() == min(start_us, NOON + LONGEST_WAIT_US)
    clock.pass_by(10, 20, 30)
    assert clock.ran_minutes()[-2:] == [20, 30]


def test_a_clock_that_was_a_year_ahead_does_not_silence_a_schedule() -> None:
    clock = Clock()
    clock.pass_by(10)
    clock.step(NOON + YEAR)
    clock.pass_by(11, 20, 30)
    assert clock.ran_minutes() == [10, YEAR // MINUTE, 20, 30]


def test_what_ran_while_the_clock_was_ahead_does_not_run_again() -> None:
    clock = Clock(catchup=True)
    clock.pass_by(35, 5, 15, 25, 35, 45)
    assert clock.ran_minutes() == [10, 20, 30, 40]
    assert [x.why for x in clock.facts if isinstance(x, f.SlotsSkipped)][1:] == [
        "it has run already: the clock was ahead"
    ] * 3


def test_a_restart_between_the_two_runs_nothing_twice() -> None:
    clock = Clock(catchup=True)
    clock.pass_by(45, 15)
    clock.restart()
    clock.pass_by(25, 35, 55)
    assert clock.ran_minutes() == [10, 20, 30, 40, 50]


def test_a_slot_that_was_skipped_ahead_of_its_time_runs_when_it_comes() -> None:
    clock = Clock()
    clock.step(NOON, PauseAsked("p", True, "ann"))
    clock.pass_by(35)
    clock.step(NOON + 5 * MINUTE, PauseAsked("p", False, "ann"))
    clock.pass_by(10, 20)
    assert clock.ran_minutes() == [10, 20]


def test_the_slot_next_to_come_runs_though_it_was_skipped_while_the_clock_was_just_ahead_of_it() -> None:
    clock = Clock()
    clock.step(NOON, PauseAsked("p", True, "ann"))
    clock.pass_by(11)
    clock.step(NOON + 5 * MINUTE, PauseAsked("p", False, "ann"))
    clock.pass_by(10, 20)
    assert clock.ran_minutes() == [10, 20]


def test_a_step_back_over_a_slot_that_ran_asks_the_store_once() -> None:
    clock = Clock()
    clock.pass_by(10)
    for second in (50, 52, 54):
        clock.step(NOON + 9 * MINUTE + second * 1_000_000)
    assert len(clock.asked) == 1


def test_a_step_back_of_seconds_reopens_nothing() -> None:
    clock = Clock()
    clock.pass_by(10)
    clock.step(NOON + 10 * MINUTE - 2_000_000)
    clock.pass_by(10, 20)
    assert clock.ran_minutes() == [10, 20]
    assert not [x for x in clock.facts if isinstance(x, f.SlotsReopened)]


def test_the_store_is_asked_once_after_a_restart() -> None:
    clock = Clock()
    clock.pass_by(10)
    clock.restart()
    clock.pass_by(20, 30)
    assert clock.asked == [ReadSlots("p", "schedule", NOON + 10 * MINUTE)]
    assert clock.ran_minutes() == [10, 20, 30]


def test_nothing_is_worked_out_before_the_next_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    clock.pass_by(10)
    monkeypatch.setattr(scheduling.slots, "parse_schedule", None)
    clock.pass_by(11, 12, 19)
    assert clock.ran_minutes() == [10]


def test_a_wake_up_far_away_is_looked_at_before_since_the_clock_may_jump() -> None:
    timers = Timers()
    timers.wake_at(5_400_000_000)
    assert timers.next_us(0) == LONGEST_WAIT_US
    timers.add(5, RetryDue("r", 0, "n", (), 0))
    assert timers.next_us(0) == 5
