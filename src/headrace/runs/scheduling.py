"""Schedules: every slot gets exactly one run or one recorded skip, across restarts, pauses and deploys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from headrace.base.facts import Fact
from headrace.base.instants import iso
from headrace.definitions.project import PipelineDef, Schedule
from headrace.runs import facts as f
from headrace.triggers import schedule as slots

if TYPE_CHECKING:
    from headrace.runs.office import Office
    from headrace.runs.training import ModelDesk

CATCHUP_AT_ONCE = 100  # slots of one schedule made into runs per step; the rest follow in the next


def slot_key(pipeline: str, slug: str, slot_us: int) -> str:
    """The run key of a slot. It holds no code version or id, so a deploy cannot double a slot."""
    return f"schedule:{pipeline}:{slug}:{slot_us}"


class ScheduleDesk:
    """The high-water mark of every schedule: slots up to it are dealt with."""

    def __init__(self, *, fires: bool) -> None:
        self.fires = fires
        self.last_us: dict[tuple[str, str], int] = {}

    def apply(self, fact: Fact) -> None:
        match fact:
            case f.SlotsSkipped():
                self.last_us[fact.pipeline, fact.slug] = fact.until_us
            case f.RunCreated(cause="schedule"):
                _, pipeline, slug, slot = fact.key.split(":")
                self.last_us[pipeline, slug] = int(slot)
            case _:
                pass

    def due(self, office: Office, now_us: int, paused: set[str], models: ModelDesk) -> Iterator[Fact]:
        if not self.fires:
            return
        for definition in office.project.pipelines.values():
            for trigger in definition.triggers:
                if isinstance(trigger, Schedule):
                    yield from self._due_of(office, definition, trigger, now_us, definition.name in paused, models)

    def _due_of(
        self,
        office: Office,
        definition: PipelineDef,
        trigger: Schedule,
        now_us: int,
        is_paused: bool,
        models: ModelDesk,
    ) -> Iterator[Fact]:
        schedule = slots.parse_schedule(trigger.expression, trigger.timezone)
        name, slug = definition.name, trigger.slug
        last_us = self.last_us.get((name, slug))
        if last_us is None:
            start_us = now_us if trigger.start_us is None or not trigger.catchup else trigger.start_us - 1
            office.wake_in(schedule.next_after(now_us) - now_us)
            yield f.SlotsSkipped(name, slug, start_us, start_us, 0, "the schedule begins here", now_us)
            return
        due = slots.due_slots(schedule, last_us, now_us, trigger.catchup, limit=CATCHUP_AT_ONCE)
        office.wake_in(1 if due.more else max(schedule.next_after(now_us) - now_us, 1))
        if due.skipped is not None:
            why = "older than the newest due slot, and catch-up is off"
            yield f.SlotsSkipped(name, slug, last_us, due.skipped.last_us, -1, why, now_us)
        for slot in due.slots:
            if is_paused:
                yield f.SlotsSkipped(name, slug, slot - 1, slot, 1, "the pipeline is paused", now_us)
                continue
            window = slots.window_of(schedule, slot, definition.window or "slot")
            pair = (window.start_us, window.end_us)
            if definition.registers is not None:
                yield from models.asked(office, definition, "schedule", f"slot {iso(slot)}", pair)
                yield f.SlotsSkipped(name, slug, slot - 1, slot, 1, "asked the model's controller", now_us)
            else:
                yield f.RunCreated(
                    office.new_id(),
                    name,
                    office.code,
                    slot_key(name, slug, slot),
                    "schedule",
                    now_us,
                    {},
                    pair,
                    waits=definition.reads,
                    max_lost=office.max_lost,
                )
