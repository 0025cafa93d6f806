"""Event triggers, tables that start pipelines, requests, and runs in processes of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from headrace.data.facts import TablePublished
from headrace.engine.lookout import Lookout
from headrace.errors import HeadraceError, RefusedError
from headrace.runs import asking, machine
from headrace.runs import facts as f
from headrace.runs.desks import Desks
from headrace.testing.simulator import here
from headrace.triggers.groups import EventGroup, Fired
from planted.registry import plant


@plant("triggers")
def the_cursor_stays_behind(patch: pytest.MonkeyPatch) -> None:
    emit = machine.Machine.emit

    def skipping(self: Any, fact: Any) -> None:
        if not isinstance(fact, f.CursorMoved):
            emit(self, fact)

    patch.setattr(machine.Machine, "emit", skipping)


@plant("triggers")
def an_event_starts_two_runs(patch: pytest.MonkeyPatch) -> None:
    on_trigger = Desks.on_trigger

    def keyless(self: Any, office: Any, event: Any) -> Any:
        for fact in on_trigger(self, office, event):
            yield fact
            if isinstance(fact, f.RunCreated):
                yield msgspec.structs.replace(fact, run=office.new_id(), key=f"{fact.key}:again")

    patch.setattr(Desks, "on_trigger", keyless)


@plant("triggers")
def what_is_paused_drops_its_events_silently(patch: pytest.MonkeyPatch) -> None:
    on_trigger = Desks.on_trigger

    def silent(self: Any, office: Any, event: Any) -> Any:
        return (x for x in on_trigger(self, office, event) if not isinstance(x, f.TriggerSuppressed))

    patch.setattr(Desks, "on_trigger", silent)


@plant("triggers")
def an_event_counts_for_two_groups(patch: pytest.MonkeyPatch) -> None:
    add = EventGroup.add

    def keeping(self: EventGroup, events: Sequence[Any]) -> tuple[EventGroup, tuple[Fired, ...], int]:
        group, fired, expired = add(self, events)
        if fired and self.count > 1:
            group = msgspec.structs.replace(group, held=fired[-1].events[-1:])
        return group, fired, expired

    patch.setattr(EventGroup, "add", keeping)


@plant("requests")
def the_same_key_is_another_run(patch: pytest.MonkeyPatch) -> None:
    on_run_asked = asking.on_run_asked

    def forgetful(state: Any, event: Any) -> Any:
        return on_run_asked(state, replace(event, key=f"{event.key}:{state.new_id()}"))

    patch.setattr(asking, "on_run_asked", forgetful)


@plant("requests")
def a_refused_request_gets_no_answer(patch: pytest.MonkeyPatch) -> None:
    reject = machine.Machine._reject

    def silent(self: Any, event: Any, error: Exception) -> None:
        if getattr(event, "request", None) is None or not isinstance(error, HeadraceError):
            reject(self, event, error)

    patch.setattr(machine.Machine, "_reject", silent)


@plant("runs in process")
def a_run_whose_process_died_is_left_open(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(here, "close_dead", lambda engine, rows: None)


@plant("runs in process")
def a_table_published_elsewhere_starts_nothing(patch: pytest.MonkeyPatch) -> None:
    look = Lookout.look

    def deaf(self: Any, about: Any) -> Any:
        return [x for x in look(self, about) if not isinstance(getattr(x, "published", None), TablePublished)]

    patch.setattr(Lookout, "look", deaf)


@plant("runs in process")
def a_race_for_a_table_ends_the_engine(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("headrace.engine.loop.ConflictError", RefusedError)


@plant("runs in process")
def a_run_in_process_fires_triggers_too(patch: pytest.MonkeyPatch) -> None:
    create = Desks.__init__

    def eager(self: Any, *, fires_schedules: bool = True, fires_triggers: bool = True) -> None:
        create(self, fires_schedules=fires_schedules, fires_triggers=True)

    patch.setattr(Desks, "__init__", eager)
