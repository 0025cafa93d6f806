"""S5: every trigger event and every update gives exactly one run, or one recorded suppression. Tables, topics: versions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from headrace.data.facts import TablePublished
from headrace.definitions.project import Updated
from headrace.runs.facts import CursorMoved, RunCreated, TriggerSuppressed
from headrace.streams.facts import TriggerFired
from headrace.testing.auditor.audit import Evidence, Place, Violation


def check_triggers(evidence: Evidence, places: list[Place]) -> Iterator[Violation]:
    answers: Counter[str] = Counter()
    asked: dict[str, Place] = {}
    versions: Counter[str] = Counter()
    cursors: dict[tuple[str, str], int] = {}
    published: list[tuple[str, int, Place]] = []
    for place in places:
        match place.fact:
            case RunCreated(cause="event" | "updated", key=key) | TriggerSuppressed(key=key):
                answers[key] += 1
            case TriggerFired() as fired:
                key = f"event:{fired.pipeline}:{fired.slug}:{fired.key}"
                if key in asked:
                    yield Violation("S5", "a trigger fires once per key", str(place))
                asked[key] = place
            case TablePublished() as table:
                published.append((table.table, table.version_number, place))
            case CursorMoved() as cursor:
                if cursor.seq <= cursors.get((place.log, cursor.log), 0):
                    yield Violation("T3", "a cursor only grows", str(place))
                cursors[place.log, cursor.log] = cursor.seq
            case _:
                pass
    for name, number, place in sorted(published, key=lambda x: x[:2]):
        versions[name] += 1
        if number != versions[name]:
            yield Violation("E4", "versions of a table are 1 to n", str(place))
    followers = {
        (pipeline.name, trigger.table)
        for project in evidence.projects.values()
        for pipeline in project.pipelines.values()
        for trigger in pipeline.triggers
        if isinstance(trigger, Updated)
    }
    for pipeline, table in followers:
        for name, number, place in published:
            if name == table:
                asked[f"updated:{pipeline}:{table}:{number}"] = place
    for key, times in answers.items():
        if times > 1:
            yield Violation("S5", "one run or one suppression per event", f"{key}: {times}")
        if key not in asked:
            yield Violation("S5", "no run without its event", key)
    if evidence.has_ended:
        for key, place in asked.items():
            if key not in answers:
                yield Violation("S5", "every event gets its run or suppression", f"{key}: {place}")
