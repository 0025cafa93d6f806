"""S1, S2, S3, S6: every slot has exactly one run or one recorded skip, none is missing, and a pause is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from headrace.definitions.project import Project, Schedule
from headrace.runs import facts as f
from headrace.testing.auditor import calendars
from headrace.testing.auditor.evidence import Evidence, Place, Violation

Name = tuple[str, str]
BY_ITSELF = ("schedule", "event", "updated", "monitor")


class ScheduleCheck:
    """`through_us`: up to where the slots of each schedule are dealt with."""

    def __init__(self, projects: Mapping[str, Project]) -> None:
        self.schedules: dict[Name, Schedule] = {}
        for project in projects.values():
            for pipeline in project.pipelines.values():
                for trigger in pipeline.triggers:
                    if isinstance(trigger, Schedule) and calendars.is_known(trigger):
                        self.schedules[pipeline.name, trigger.slug] = trigger
        self.through_us: dict[Name, int] = {}
        self.ran: dict[Name, set[int]] = {}
        self.paused: set[str] = set()
        self.code = ""

    def take(self, place: Place) -> Iterator[Violation]:
        match place.fact:
            case f.PipelinePaused() as pause:
                (self.paused.add if pause.is_paused else self.paused.discard)(pause.pipeline)
            case f.CodeDeployed() as deployed:
                self.code = deployed.code
            case f.SlotsSkipped() as skip if (skip.pipeline, skip.slug) in self.schedules:
                yield from self._skipped(place, skip)
            case f.SlotsReopened() as reopened if (reopened.pipeline, reopened.slug) in self.schedules:
                yield from self._reopened(place, reopened)
            case f.RunCreated(cause=cause) as run if cause in BY_ITSELF:
                if run.pipeline in self.paused:
                    yield Violation("S6", "what is paused starts nothing by itself", str(place))
                if run.code != self.code:
                    yield Violation("S6", "a run has the code that is deployed", f"{place}; deployed is {self.code}")
                if cause == "schedule":
                    yield from self._ran(place, run)
            case _:
                pass

    def compare(self) -> Iterator[Violation]:
        yield from ()

    def close(self, end: Evidence) -> Iterator[Violation]:
        deployed = end.projects.get(end.code)
        if deployed is None or end.slots_until_us is None:
            return
        for (pipeline, slug), schedule in self.schedules.items():
            through_us = self.through_us.get((pipeline, slug))
            if pipeline in deployed.pipelines and through_us is not None:
                missing = calendars.slots(schedule, through_us, end.slots_until_us)
                if missing:
                    found = f"{pipeline} {slug}: dealt with up to {through_us}, missing {missing[:5]}"
                    yield Violation("S2", "no slot is missing", found)

    def _skipped(self, place: Place, skip: f.SlotsSkipped) -> Iterator[Violation]:
        name = (skip.pipeline, skip.slug)
        schedule, through_us = self.schedules[name], self.through_us.get(name)
        if through_us is not None:
            if skip.until_us <= through_us:
                yield Violation("S1", "a slot is dealt with once", f"{place}; dealt with up to {through_us}")
            if calendars.slots(schedule, through_us, skip.after_us):
                yield Violation("S2", "no slot is missing", f"{place}; dealt with up to {through_us}")
            if schedule.catchup and skip.because == "catchup_off":
                yield Violation("S2", "with catch-up no slot is skipped", str(place))
            if skip.because == "paused" and skip.pipeline not in self.paused:
                yield Violation("S6", "only what is paused is skipped for it", str(place))
            if skip.until_us > skip.at_us:
                yield Violation("S1", "a slot is dealt with when it has come", str(place))
        self.through_us[name] = max(through_us or 0, skip.until_us)

    def _reopened(self, place: Place, reopened: f.SlotsReopened) -> Iterator[Violation]:
        """The clock was set back: slots that are still to come are dealt with anew, but do not run again."""
        name = (reopened.pipeline, reopened.slug)
        if reopened.until_us != self.through_us.get(name) or reopened.after_us >= reopened.until_us:
            yield Violation("S3", "what was dealt with is reopened", f"{place}; up to {self.through_us.get(name)}")
        self.through_us[name] = reopened.after_us

    def _ran(self, place: Place, run: f.RunCreated) -> Iterator[Violation]:
        slug, _, slot = run.key.removeprefix(f"schedule:{run.pipeline}:").rpartition(":")
        name, slot_us = (run.pipeline, slug), int(slot)
        schedule, through_us = self.schedules.get(name), self.through_us.get(name)
        if schedule is None:
            return
        if through_us is None or slot_us <= through_us or not calendars.is_slot(schedule, slot_us):
            yield Violation("S1", "one run per slot, slots grow", f"{place}; dealt with up to {through_us}")
        elif calendars.slots(schedule, through_us, slot_us - 1):
            yield Violation("S2", "no slot is missing", f"{place}; dealt with up to {through_us}")
        if slot_us in self.ran.setdefault(name, set()):
            yield Violation("S1", "a slot runs once, whatever the clock does", str(place))
        self.ran[name].add(slot_us)
        if slot_us > run.at_us:
            yield Violation("S1", "a slot runs when it has come", str(place))
        if not schedule.catchup and calendars.slots(schedule, slot_us, run.at_us):
            yield Violation("S2", "without catch-up only the newest due slot runs", str(place))
        self.through_us[name] = max(through_us or 0, slot_us)
