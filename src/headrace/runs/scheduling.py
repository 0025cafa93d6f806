"""Schedules: every slot gets exactly one run or one recorded skip, across restarts, pauses and deploys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from headrace.base.facts import Fact
from headrace.base.instants import iso
from headrace.definitions.project import PipelineDef, Project, Schedule
from headrace.runs import facts as f
from headrace.runs.commands import ReadSlots
from headrace.runs.creation import created
from headrace.runs.events import SlotsRead
from headrace.runs.rows import Restored
from headrace.runs.slot_key import slot_key, slot_of
from headrace.triggers import schedule as slots

if TYPE_CHECKING:
    from headrace.runs.office import Office
    from headrace.runs.training import ModelDesk

CATCHUP_AT_ONCE = 100  # slots of one schedule made into runs per step; the rest follow in the next


Name = tuple[str, str]  # pipeline, slug


class ScheduleDesk:
    """How far each schedule is: slots up to `last_us` are dealt with, those of `ran` beyond it have run all the same.

    That happens where the clock was ahead and was set back. `ran` is read from the store before a schedule fires for
    the first time, and again when the clock is behind slots that are dealt with; `asked`: it is on its way.
    """

    heeds = (f.SlotsSkipped, f.SlotsReopened, f.RunCreated)

    def __init__(self, *, fires: bool) -> None:
        self.fires = fires
        self.last_us: dict[Name, int] = {}
        self.ran: dict[Name, frozenset[int]] = {}
        self.asked: set[Name] = set()
        self._quiet: dict[tuple[str, Schedule], tuple[int, int]] = {}  # nothing can be due in this stretch of time
        self._all_quiet: tuple[Project | None, int, int] = (None, 0, 0)  # of no schedule of this project

    def restore(self, rows: Restored) -> None:
        self.last_us = dict(rows.schedules)

    def apply(self, fact: Fact) -> None:
        match fact:
            case f.SlotsSkipped():
                self._dealt_with((fact.pipeline, fact.slug), fact.until_us)
            case f.SlotsReopened():
                self.last_us[fact.pipeline, fact.slug] = fact.after_us
            case f.RunCreated(cause="schedule"):
                slug, slot_us = slot_of(fact.pipeline, fact.key)
                self._dealt_with((fact.pipeline, slug), slot_us)
            case _:
                pass

    def know(self, event: SlotsRead) -> None:
        """What is in the store about slots to come."""
        name = (event.pipeline, event.slug)
        self.asked.discard(name)
        self.ran[name] = event.ran

    def on_read(self, office: Office, event: SlotsRead) -> Iterator[Fact]:
        """Where the clock is behind slots that are dealt with, they are to come again."""
        last_us = self.last_us.get((event.pipeline, event.slug), event.after_us)
        is_set_back_a_little = event.after_us == last_us - 1 and last_us in event.ran  # the slot has really been there
        if event.after_us < last_us and not is_set_back_a_little:
            yield f.SlotsReopened(event.pipeline, event.slug, event.after_us, last_us, office.now_us)

    def due(self, office: Office, now_us: int, paused: set[str], models: ModelDesk) -> Iterator[Fact | ReadSlots]:
        if not self.fires:
            return
        project, from_us, until_us = self._all_quiet
        if project is office.project and from_us <= now_us < until_us:
            office.wake_in(until_us - now_us)
            return
        stretches: list[tuple[int, int]] = []
        for definition in office.project.pipelines.values():
            for trigger in definition.triggers:
                if isinstance(trigger, Schedule):
                    yield from self._due_of(office, definition, trigger, now_us, definition.name in paused, models)
                    stretches.append(self._quiet.get((definition.name, trigger), (0, 0)))
        if stretches:  # a large project has a thousand of them, and a step is to cost the same
            from_us, until_us = max(start for start, _ in stretches), min(end for _, end in stretches)
            self._all_quiet = (office.project, from_us, until_us)

    def _dealt_with(self, name: Name, until_us: int) -> None:
        if name not in self.last_us:
            self.ran[name] = frozenset()  # it begins
        self.last_us[name] = until_us

    def _due_of(
        self,
        office: Office,
        definition: PipelineDef,
        trigger: Schedule,
        now_us: int,
        is_paused: bool,
        models: ModelDesk,
    ) -> Iterator[Fact | ReadSlots]:
        from_us, until_us = self._quiet.get((definition.name, trigger), (0, 0))
        if from_us <= now_us < until_us:
            office.wake_in(until_us - now_us)
            return
        schedule = slots.parse_schedule(trigger.expression, trigger.timezone)
        name, slug = definition.name, trigger.slug
        last_us = self.last_us.get((name, slug))
        next_us = schedule.next_after(now_us)
        if last_us is None:
            last_us = now_us if trigger.start_us is None or not trigger.catchup else trigger.start_us - 1
            yield f.SlotsSkipped(name, slug, last_us, last_us, 0, "the schedule begins here", now_us, "begin")
        if trigger.catchup and trigger.start_us is not None and now_us < trigger.start_us:
            office.wake_in(trigger.start_us - now_us)
            return
        # A slot that has not come yet counts as dealt with.
        is_behind = next_us < last_us or (next_us == last_us and next_us not in self.ran.get((name, slug), ()))
        if is_behind or (name, slug) not in self.ran:
            if (name, slug) not in self.asked:
                newest_us = slots.previous(schedule, now_us + 1) if next_us < last_us else last_us - 1
                yield ReadSlots(name, slug, newest_us if is_behind else last_us)
            return
        due = slots.due_slots(schedule, last_us, now_us, trigger.catchup, limit=CATCHUP_AT_ONCE)
        if due.more:
            office.wake_in(1)
        else:
            self._quiet[name, trigger] = (now_us, next_us)
            office.wake_in(next_us - now_us)
        if due.skipped is not None:
            why = "older than the newest due slot, and catch-up is off"
            yield f.SlotsSkipped(name, slug, last_us, due.skipped.last_us, -1, why, now_us, "catchup_off")
        ran = self.ran[name, slug]
        for slot in due.slots:
            if slot in ran:
                why = "it has run already: the clock was ahead"
                yield f.SlotsSkipped(name, slug, slot - 1, slot, 0, why, now_us, "has_run")
                continue
            if is_paused:
                yield f.SlotsSkipped(name, slug, slot - 1, slot, 1, "the pipeline is paused", now_us, "paused")
                continue
            window = slots.window_of(schedule, slot, definition.window or "slot")
            pair = (window.start_us, window.end_us)
            if definition.registers is not None:
                key = slot_key(name, slug, slot)
                yield from models.asked(office, definition, "schedule", f"slot {iso(slot)}", pair, key=key)
                yield f.SlotsSkipped(name, slug, slot - 1, slot, 1, "asked the model's controller", now_us, "asked")
            else:
                key = slot_key(name, slug, slot)
                yield created(office, name, key, "schedule", pair, waits=definition.reads)
