"""Attempts, their limits, and what has been promised about their order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from headrace.engine.deaths import Deaths
from headrace.runs import (
    applying,
    attempts,
    commands,
    handout,
    hearing,
    lanes,
    machine,
    pool,
    progress,
    restoring,
    timers,
)
from headrace.runs import facts as f
from headrace.runs.publishing import TableDesk
from headrace.runs.verdict import Verdicts
from headrace.store.sql import commit as sql_commit
from headrace.store.sql.projector import items
from planted.registry import plant


@plant("execution")
def lost_attempts_do_not_count(patch: pytest.MonkeyPatch) -> None:
    loss = attempts.loss
    patch.setattr(attempts, "loss", lambda *about: msgspec.structs.replace(loss(*about), ends=False))


@plant("execution")
def nobody_knows_how_far_the_workers_were_that_a_store_error_ended(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Deaths, "abandoned", lambda self, begun: None)


@plant("execution")
def a_death_that_could_not_be_committed_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Deaths, "heard", lambda self, events: None)


@plant("execution")
def some_of_what_a_worker_gives_back_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    returned = hearing._returned
    patch.setattr(hearing, "_returned", lambda state, event: returned(state, replace(event, serials=event.serials[1:])))


@plant("execution")
def one_retry_too_many(patch: pytest.MonkeyPatch) -> None:
    delay = attempts.retry_delay_us
    patch.setattr(attempts, "retry_delay_us", lambda options, failures, key: delay(options, max(failures - 1, 1), key))


@plant("execution")
def tasks_do_not_wait_for_their_upstreams(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(progress.Progress, "_is_key_done", lambda self, node, key: True)


@plant("execution")
def a_failed_upstream_is_no_obstacle(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Verdicts, "verdict", lambda self, plan, where: None)


@plant("execution")
def a_restart_forgets_what_was_tried(patch: pytest.MonkeyPatch) -> None:
    restored = progress.Progress.restored

    def forgetful(self: Any, node: str, path: Any, item: int, row: Any) -> None:
        restored(self, node, path, item, replace(row, failed=0, lost=0))

    patch.setattr(progress.Progress, "restored", forgetful)


@plant("execution")
def a_cancelled_run_goes_on(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(applying.APPLY, f.RunCancelled, lambda state, fact: None)


@plant("execution")
def a_cancel_is_told_to_nobody(patch: pytest.MonkeyPatch) -> None:
    _drop(patch, commands.CancelAttempt)


@plant("execution")
def a_timeout_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    add = timers.Timers.add

    def deaf(self: Any, due_us: int, deadline: Any) -> None:
        if not isinstance(deadline, timers.TimeoutDue):
            add(self, due_us, deadline)

    patch.setattr(timers.Timers, "add", deaf)


@plant("execution")
def a_timed_out_attempt_is_not_killed(patch: pytest.MonkeyPatch) -> None:
    _drop(patch, commands.KillWorker)


@plant("execution")
def a_pin_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(applying.APPLY, f.InputPinned, lambda state, fact: None)


@plant("execution")
def the_limit_of_a_task_is_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(handout.Handout, "_allowed", lambda self, active, group: 1_000_000)


@plant("execution")
def a_rate_begins_anew_with_each_engine(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(restoring, "_recall_starts", lambda *about: None)


@plant("execution")
def the_limit_of_a_pipeline_is_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lanes.Lanes, "admit", lambda self, active: True)


@plant("execution")
def the_pool_grows_by_one(patch: pytest.MonkeyPatch) -> None:
    create = pool.Pool.__init__
    patch.setattr(pool.Pool, "__init__", lambda self, size, prefix="w": create(self, size + 1, prefix))


@plant("execution")
def a_slot_is_not_given_back(patch: pytest.MonkeyPatch) -> None:
    def leaking(work: Any, group: Any) -> None:
        items.attempt_lost(work, group)
        for fact in group.facts:
            work.count(fact.run, fact.node, fact.path, running=1)

    patch.setitem(sql_commit.CHANGES, f.AttemptLost, leaking)


@plant("execution")
def what_came_back_is_never_started_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(progress.Progress, "again", lambda self, node, path, item: None)


def _drop(patch: pytest.MonkeyPatch, command: type) -> None:
    """Commands of this kind are neither reckoned with nor sent."""
    emit = machine.Machine.emit

    def silent(self: Any, outcome: Any) -> None:
        if not isinstance(outcome, command):
            emit(self, outcome)

    patch.setattr(machine.Machine, "emit", silent)


@plant("execution")
def a_run_goes_on_writing_a_window_that_another_has_replaced(patch: pytest.MonkeyPatch) -> None:
    unfit = TableDesk.unfit
    patch.setattr(TableDesk, "unfit", lambda self, active, writes: unfit(self, replace(active, replaced_by={}), writes))
