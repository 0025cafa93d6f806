"""Two owners of one log, and commits whose outcome is unknown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from headrace.engine.loop import Engine
from headrace.host.writer import Writer
from headrace.runs import pool
from headrace.store.sql import commit as sql_commit
from planted.registry import plant


@plant("fencing")
def the_log_is_no_fence(patch: pytest.MonkeyPatch) -> None:
    original = sql_commit._take_seqs

    def take(connection: Any, append: Any) -> int:
        return original(connection, replace(append, expected_seq=None))

    patch.setattr(sql_commit, "_take_seqs", take)


@plant("fencing")
def an_unknown_outcome_counts_as_success(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Writer, "has_written", lambda self, after: True)


@plant("fencing")
def an_unknown_outcome_counts_as_failure(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Writer, "has_written", lambda self, after: False)


@plant("fencing")
def a_stale_report_is_accepted(patch: pytest.MonkeyPatch) -> None:
    def take(self: pool.WorkerState, serial: int, mono_us: int) -> Any:
        self.idle_since_us = mono_us
        return self.flights.get(serial)

    patch.setattr(pool.WorkerState, "take", take)


@plant("fencing")
def attempts_are_sent_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    def first_send(self: Engine, machine: Any, events: Any) -> None:
        self._machine = None
        decision = self._step(machine, events)
        self._carry_out(machine, decision.commands)
        self._commit(decision)
        self._machine = machine

    patch.setattr(Engine, "_act", first_send)


@plant("fencing")
def a_commit_writes_the_facts_and_not_the_rows(patch: pytest.MonkeyPatch) -> None:
    project = sql_commit.project

    def half(work: Any, log: str, seq: int, facts: Any, bodies: Any) -> None:
        project(work, log, seq, facts[: 1 + len(facts) // 2], bodies)

    patch.setattr(sql_commit, "project", half)
