"""Slots of schedules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from headrace.runs import facts as f
from headrace.runs import scheduling
from headrace.runs.active import Active
from headrace.triggers.cron import Cron
from headrace.triggers.schedule import Due
from planted.registry import plant


@plant("scheduling")
def catching_up_skips_a_slot(patch: pytest.MonkeyPatch) -> None:
    due_slots = scheduling.slots.due_slots

    def skipping(*about: Any, **options: Any) -> Due:
        due = due_slots(*about, **options)
        return Due(due.slots[1:], due.skipped, due.more) if len(due.slots) > 1 else due

    patch.setattr(scheduling.slots, "due_slots", skipping)


@plant("scheduling")
def a_pause_is_forgotten_by_schedules(patch: pytest.MonkeyPatch) -> None:
    due = scheduling.ScheduleDesk.due
    patch.setattr(
        scheduling.ScheduleDesk,
        "due",
        lambda self, office, now_us, paused, models: due(self, office, now_us, set(), models),
    )


@plant("scheduling")
def a_clock_that_goes_back_brings_slots_again(patch: pytest.MonkeyPatch) -> None:
    know = scheduling.ScheduleDesk.know
    patch.setattr(scheduling.ScheduleDesk, "know", lambda self, event: know(self, replace(event, ran=frozenset())))


@plant("scheduling")
def a_slot_in_the_skipped_hour_is_lost(patch: pytest.MonkeyPatch) -> None:
    """A job at fixed times is dealt with like one that follows the wall."""
    create = Cron.__post_init__

    def plain(self: Cron) -> None:
        create(self)
        object.__setattr__(self, "_is_fixed", False)

    patch.setattr(Cron, "__post_init__", plain)


@plant("scheduling")
def skipped_slots_are_not_recorded(patch: pytest.MonkeyPatch) -> None:
    due = scheduling.ScheduleDesk.due

    def silent(self: Any, *about: Any) -> Any:
        for fact in due(self, *about):
            if isinstance(fact, f.SlotsSkipped) and fact.because == "catchup_off":
                continue
            yield fact

    patch.setattr(scheduling.ScheduleDesk, "due", silent)


@plant("scheduling")
def a_run_does_not_wait_for_the_rows_of_its_window(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Active, "behind", lambda self, watermarks: ())
