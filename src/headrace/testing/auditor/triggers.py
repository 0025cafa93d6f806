"""S5: every row that an event trigger counts is in one group, and every group and update gives one run or suppression."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import msgspec

from headrace.data.facts import TablePublished
from headrace.definitions.project import OnEvent, Project, Updated
from headrace.models.facts import RetrainAsked
from headrace.runs.facts import CursorMoved, EventRejected, RunCreated, TriggerSuppressed
from headrace.store.sql.connection import Database
from headrace.streams.facts import TriggerFired, TriggerProgressed
from headrace.testing.auditor.evidence import Evidence, Place, Violation

BY_WINDOW, BY_SLOT = "asked:", "schedule:"  # what monitors and schedules ask for has checks of its own


class TriggerCheck:
    """`asked`: what must be answered, by the key of the run; `fired`: the offsets in each group, by trigger."""

    def __init__(self, database: Database, projects: Mapping[str, Project]) -> None:
        self.database = database
        self.followers: dict[str, set[str]] = {}
        self.events: dict[tuple[str, str], OnEvent] = {}
        for project in projects.values():
            for pipeline in project.pipelines.values():
                for trigger in pipeline.triggers:
                    if isinstance(trigger, Updated):
                        self.followers.setdefault(trigger.table, set()).add(pipeline.name)
                    elif isinstance(trigger, OnEvent):
                        self.events[pipeline.name, trigger.slug] = trigger
        self.answers: Counter[str] = Counter()
        self.asked: dict[str, Place] = {}
        self.rejected: set[tuple[str, int]] = set()
        self.cursors: dict[tuple[str, str], int] = {}
        self.fired: dict[tuple[str, str], list[tuple[int, ...]]] = {}
        self.read_to: dict[tuple[str, str], tuple[tuple[int, ...], int]] = {}

    def take(self, place: Place) -> Iterator[Violation]:
        match place.fact:
            case RunCreated(cause="event" | "updated", key=key):
                yield from self._answered(place, key)
            case TriggerSuppressed(key=key) if not key.startswith(BY_WINDOW):
                yield from self._answered(place, key)
            # Its run has the key of the training.
            case RetrainAsked(accepted=True, key=key) if key and not key.startswith(BY_SLOT):
                yield from self._answered(place, key)
            case TriggerFired() as fired:
                key = f"event:{fired.pipeline}:{fired.slug}:{fired.key}"
                if key in self.asked:
                    yield Violation("S5", "a trigger fires once per key", str(place))
                self.asked[key] = place
                offsets = tuple(n for _, _, first, end in fired.ranges for n in range(first, end))
                self.fired.setdefault((fired.pipeline, fired.slug), []).append(offsets)
            case TriggerProgressed() as progress:
                self.read_to[progress.pipeline, progress.slug] = (progress.offsets, progress.expired)
            case TablePublished() as table:
                for pipeline in self.followers.get(table.table, ()):
                    self.asked[f"updated:{pipeline}:{table.table}:{table.version_number}"] = place
            case EventRejected() as rejected:
                self.rejected.add((rejected.log, rejected.seq))
            case CursorMoved() as cursor:
                if cursor.seq <= self.cursors.get((place.log, cursor.log), 0):
                    yield Violation("T3", "a cursor only grows", str(place))
                self.cursors[place.log, cursor.log] = cursor.seq
            case _:
                pass

    def _answered(self, place: Place, key: str) -> Iterator[Violation]:
        self.answers[key] += 1
        if self.answers[key] > 1:
            yield Violation("S5", "one run or one suppression per event", f"{place}: {self.answers[key]}")

    def compare(self) -> Iterator[Violation]:
        for key in self.answers.keys() - self.asked.keys():
            yield Violation("S5", "no run without its event", key)

    def close(self, end: Evidence) -> Iterator[Violation]:
        if end.has_ended:
            for key, place in self.asked.items():
                if key not in self.answers and (place.log, place.seq) not in self.rejected:
                    yield Violation("S5", "every event gets its run or suppression", f"{key}: {place}")
        for name, trigger in self.events.items():
            if name in self.read_to and trigger.where is None:
                yield from self._groups(name, trigger)

    def _groups(self, name: tuple[str, str], trigger: OnEvent) -> Iterator[Violation]:
        """Of a topic of the simulator, with one partition: the groups are those that its rows give in their order."""
        offsets, expired = self.read_to[name]
        rows = self.database.read(
            "SELECT encoding, body FROM topic_blobs b JOIN topic_bodies t ON b.body_id = t.id"
            " WHERE topic = ? ORDER BY first",
            (trigger.topic,),
        )
        if any(encoding != "json" for encoding, _ in rows):
            return
        times = [time for _, body in rows for time in msgspec.json.decode(body, type=list[int])][: offsets[0]]
        groups, late = group(times, trigger.count, trigger.within_us)
        if self.fired.get(name, []) != groups:
            found = f"{name}: {self.fired.get(name, [])}, not {groups}"
            yield Violation("S5", "each event is in one group, by time", found)
        if expired != late:
            yield Violation("S5", "what is in no group is counted", f"{name}: {expired}, not {late}")


def group(times: list[int], count: int, within_us: int | None) -> tuple[list[tuple[int, ...]], int]:
    """The offsets of each full group, and how many events were too old for any."""
    held: list[tuple[int, int]] = []
    groups: list[tuple[int, ...]] = []
    late = 0
    newest_us = 0
    for offset, time_us in enumerate(times):
        newest_us = max(newest_us, time_us)
        held.append((time_us, offset))
        if within_us is not None and count > 1:
            kept = [event for event in held if event[0] >= newest_us - within_us]
            late += len(held) - len(kept)
            held = kept
        if len(held) == count:
            groups.append(tuple(sorted(offset for _, offset in held)))
            held = []
    return groups, late
