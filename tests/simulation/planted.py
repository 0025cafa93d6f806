"""Bugs planted on purpose: each takes one safeguard away. A simulator that does not notice is too weak."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from headrace.engine.loop import Engine
from headrace.errors import StoreError
from headrace.models import controller
from headrace.models.facts import AliasMoved
from headrace.runs import facts as f
from headrace.runs import handout, machine, pool, progress, scheduling
from headrace.runs.desks import Desks
from headrace.runs.verdict import Verdicts
from headrace.store.sql import commit as sql_commit
from headrace.store.sql.project import items, models
from headrace.streams import owner
from headrace.triggers.schedule import Due

Plant = Callable[[pytest.MonkeyPatch], None]


def the_log_is_no_fence(patch: pytest.MonkeyPatch) -> None:
    original = sql_commit._take_seqs

    def take(connection: Any, append: Any) -> int:
        return original(connection, replace(append, expected_seq=None))

    patch.setattr(sql_commit, "_take_seqs", take)


def a_stale_report_is_accepted(patch: pytest.MonkeyPatch) -> None:
    def take(self: pool.WorkerState, serial: int, mono_us: int) -> Any:
        self.idle_since_us = mono_us
        return self.flights.get(serial)

    patch.setattr(pool.WorkerState, "take", take)


def attempts_are_sent_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    carry_out, commit = Engine._carry_out, Engine._commit

    def first_send(self: Engine, decision: Any) -> None:
        commands, decision.commands = decision.commands, []
        carry_out(self, commands)
        commit(self, decision)

    patch.setattr(Engine, "_commit", first_send)


def an_unknown_outcome_counts_as_success(patch: pytest.MonkeyPatch) -> None:
    commit = Engine._commit

    def trusting(self: Engine, decision: Any) -> None:
        try:
            commit(self, decision)
        except StoreError:
            self._head += len(decision.facts)

    patch.setattr(Engine, "_commit", trusting)


def lost_attempts_do_not_count(patch: pytest.MonkeyPatch) -> None:
    loss = machine.Machine._loss

    def endless(self: Any, *about: Any) -> Any:
        return msgspec.structs.replace(loss(self, *about), ends=False)

    patch.setattr(machine.Machine, "_loss", endless)


def one_retry_too_many(patch: pytest.MonkeyPatch) -> None:
    delay = machine.retry_delay_us
    patch.setattr(machine, "retry_delay_us", lambda options, failures, key: delay(options, max(failures - 1, 1), key))


def tasks_do_not_wait_for_their_upstreams(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(progress.Progress, "_is_key_done", lambda self, node, key: True)


def a_failed_upstream_is_no_obstacle(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Verdicts, "verdict", lambda self, plan, where: None)


def a_restart_forgets_what_was_tried(patch: pytest.MonkeyPatch) -> None:
    restored = progress.Progress.restored

    def forgetful(self: Any, node: str, path: Any, item: int, row: Any) -> None:
        restored(self, node, path, item, replace(row, failed=0, lost=0))

    patch.setattr(progress.Progress, "restored", forgetful)


def a_cancelled_run_goes_on(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(machine._APPLY, f.RunCancelled, lambda self, fact: None)


def a_pin_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(machine._APPLY, f.InputPinned, lambda self, fact: None)


def the_cursor_stays_behind(patch: pytest.MonkeyPatch) -> None:
    emit = machine.Machine.emit

    def skipping(self: Any, fact: Any) -> None:
        if not isinstance(fact, f.CursorMoved):
            emit(self, fact)

    patch.setattr(machine.Machine, "emit", skipping)


def an_event_starts_two_runs(patch: pytest.MonkeyPatch) -> None:
    """The key is made anew at each look, and the cursor is moved too late."""
    on_trigger = Desks.on_trigger

    def keyless(self: Any, office: Any, event: Any) -> Any:
        for fact in on_trigger(self, office, event):
            yield fact
            if isinstance(fact, f.RunCreated):
                yield msgspec.structs.replace(fact, run=office.new_id(), key=f"{fact.key}:again")

    patch.setattr(Desks, "on_trigger", keyless)


def catching_up_skips_a_slot(patch: pytest.MonkeyPatch) -> None:
    due_slots = scheduling.slots.due_slots

    def skipping(*about: Any, **options: Any) -> Due:
        due = due_slots(*about, **options)
        return Due(due.slots[1:], due.skipped, due.more) if len(due.slots) > 1 else due

    patch.setattr(scheduling.slots, "due_slots", skipping)


def the_limit_of_a_task_is_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(handout.Handout, "_allowed", lambda self, active, group: 1_000_000)


def a_slot_is_not_given_back(patch: pytest.MonkeyPatch) -> None:
    def leaking(work: Any, group: Any) -> None:
        items.attempt_lost(work, group)
        for fact in group.facts:
            work.count(fact.run, fact.node, fact.path, running=1)

    patch.setitem(sql_commit.CHANGES, f.AttemptLost, leaking)


def the_old_champion_stays(patch: pytest.MonkeyPatch) -> None:
    crown = models._crown

    def two(work: Any, group: Any, fact: AliasMoved) -> None:
        crown(work, group, msgspec.structs.replace(fact, previous=0))

    patch.setattr(models, "_crown", two)


def two_trainings_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(controller, "_busy", lambda state: None)


def the_offset_moves_before_the_output(patch: pytest.MonkeyPatch) -> None:
    """A new owner believes that what its predecessor held was done."""
    taken = owner.taken

    def trusting(shard: Any, hand: Any, at_us: int) -> Any:
        if hand is not None and hand.first == shard.offset:
            record = owner.BatchCommitted(
                shard.stream, shard.shard, shard.n, hand.first, hand.end, hand.end - hand.first, 0,
                hand.end - hand.first, 0, shard.code, at_us,
            )  # fmt: skip
            return owner.Step(replace(shard, n=shard.n + 1, offset=hand.end), (record,))
        return taken(shard, hand, at_us)

    patch.setattr(owner, "taken", trusting)


def a_poison_row_vanishes(patch: pytest.MonkeyPatch) -> None:
    raised = owner.raised

    def silent(shard: Any, done: Any, dead: Any, watermark_us: Any, at_us: int) -> Any:
        if done.rows == 1:
            return owner.ran(shard, done, owner.Outcome(0, 1), watermark_us, at_us)
        return raised(shard, done, dead, watermark_us, at_us)

    patch.setattr(owner, "raised", silent)


PLANTS: tuple[Plant, ...] = (
    the_log_is_no_fence,
    a_stale_report_is_accepted,
    attempts_are_sent_before_the_commit,
    an_unknown_outcome_counts_as_success,
    lost_attempts_do_not_count,
    one_retry_too_many,
    tasks_do_not_wait_for_their_upstreams,
    a_failed_upstream_is_no_obstacle,
    a_restart_forgets_what_was_tried,
    a_cancelled_run_goes_on,
    a_pin_is_forgotten,
    the_cursor_stays_behind,
    an_event_starts_two_runs,
    catching_up_skips_a_slot,
    the_limit_of_a_task_is_ignored,
    a_slot_is_not_given_back,
    the_old_champion_stays,
    two_trainings_at_once,
    the_offset_moves_before_the_output,
    a_poison_row_vanishes,
)
