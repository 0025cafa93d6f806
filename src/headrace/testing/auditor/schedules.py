"""S1, S2: every slot of an `every …` schedule has exactly one run or one recorded skip, and none is missing."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.definitions.project import Schedule
from headrace.runs.facts import RunCreated, SlotsSkipped
from headrace.testing.auditor.audit import Evidence, Place, Violation

_UNIT_US = {"s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000}


def check_schedules(evidence: Evidence, places: list[Place]) -> Iterator[Violation]:
    schedules: dict[tuple[str, str], Schedule] = {}
    for project in evidence.projects.values():
        for pipeline in project.pipelines.values():
            for trigger in pipeline.triggers:
                if isinstance(trigger, Schedule) and trigger.expression.startswith("every "):
                    schedules[pipeline.name, trigger.slug] = trigger
    for (pipeline, slug), schedule in schedules.items():
        every_us = int(schedule.expression[6:-1]) * _UNIT_US[schedule.expression[-1]]
        yield from _check(evidence, places, pipeline, slug, every_us, schedule.catchup)


def _check(
    evidence: Evidence, places: list[Place], pipeline: str, slug: str, every_us: int, catchup: bool
) -> Iterator[Violation]:
    through_us: int | None = None
    for place in places:
        match place.fact:
            case SlotsSkipped() as skip if (skip.pipeline, skip.slug) == (pipeline, slug):
                if through_us is not None:
                    if skip.until_us <= through_us:
                        yield Violation("S1", "a slot is dealt with once", f"{place}; dealt with up to {through_us}")
                    if _slots(through_us, skip.after_us, every_us):
                        yield Violation("S2", "no slot is missing", f"{place}; dealt with up to {through_us}")
                    if catchup and "catch-up" in skip.why:
                        yield Violation("S2", "with catch-up no slot is skipped", str(place))
                through_us = max(through_us or 0, skip.until_us)
            case RunCreated(cause="schedule") as run if run.key.startswith(f"schedule:{pipeline}:{slug}:"):
                slot_us = int(run.key.rsplit(":", 1)[1])
                if through_us is None or slot_us <= through_us or slot_us % every_us:
                    yield Violation("S1", "one run per slot, slots grow", f"{place}; dealt with up to {through_us}")
                elif _slots(through_us, slot_us - 1, every_us):
                    yield Violation("S2", "no slot is missing", f"{place}; dealt with up to {through_us}")
                if slot_us > run.at_us:
                    yield Violation("S1", "a slot runs when it has come", str(place))
                if not catchup and slot_us + every_us <= run.at_us:
                    yield Violation("S2", "without catch-up only the newest due slot runs", str(place))
                through_us = max(through_us or 0, slot_us)
            case _:
                pass
    end_us = evidence.slots_until_us
    deployed = evidence.projects.get(evidence.code)
    if deployed is None or pipeline not in deployed.pipelines:
        return
    if end_us is not None and through_us is not None and _slots(through_us, end_us, every_us):
        yield Violation("S2", "no slot is missing", f"{pipeline} {slug}: dealt with up to {through_us}, due {end_us}")


def _slots(after_us: int, until_us: int, every_us: int) -> bool:
    """Whether a slot lies in (after, until]."""
    return until_us // every_us > after_us // every_us
