"""T6: a run whose window reads topics starts when each of them is complete up to its end, or says which one is not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from headrace.data.facts import TopicAppended, TopicCompleted
from headrace.definitions.project import Project
from headrace.runs.facts import RunCreated, RunReady
from headrace.streams.facts import BatchCommitted, ProgressMade
from headrace.testing.auditor.evidence import Evidence, Place, Violation

PROMISE = "a run waits for the watermarks of what its window reads"


class WaitCheck:
    """Watermarks by the auditor's own hand. They never fall, so one that is too low afterwards was too low before."""

    def __init__(self, projects: Mapping[str, Project]) -> None:
        self.projects = projects
        self.runs: dict[str, RunCreated] = {}
        self.ready: list[Place] = []
        self.declared_us: dict[str, int] = {}
        self.newest_us: dict[str, dict[int, int]] = defaultdict(dict)
        self.reached_us: dict[str, int] = {}  # the furthest that its rows have ever brought a topic
        self.shards_us: dict[str, dict[int, int]] = defaultdict(dict)
        self.makers = {s.to: s.name for project in projects.values() for s in project.streams.values()}

    def take(self, place: Place) -> Iterator[Violation]:
        match place.fact:
            case RunCreated() as run:
                yield from self._created(place, run)
            case RunReady() as ready if ready.run in self.runs:
                yield from self._patient(place, ready)
                self.ready.append(place)
            case TopicCompleted() as topic:
                self.declared_us[topic.topic] = max(topic.through_us, self.declared_us.get(topic.topic, 0))
            case TopicAppended(reaches_us=int(newest_us)) as rows:
                partitions = self.newest_us[rows.topic]
                partitions[rows.partition] = max(newest_us, partitions.get(rows.partition, 0))
                if rows.topic not in self.declared_us:
                    reached_us = self.reached_us.get(rows.topic, 0)
                    self.reached_us[rows.topic] = max(reached_us, min(partitions.values()))
            case BatchCommitted(watermark_us=int(mark_us)) | ProgressMade(watermark_us=mark_us):
                self.shards_us[place.fact.stream][place.fact.shard] = mark_us
            case _:
                pass

    def compare(self) -> Iterator[Violation]:
        ready, self.ready = self.ready, []
        for place in ready:
            fact = place.fact
            assert isinstance(fact, RunReady)
            run = self.runs.pop(fact.run)
            end_us = run.window[1] if run.window else 0
            for topic in run.waits:
                mark_us = self._mark_us(topic)
                if topic not in fact.missing and (mark_us is None or mark_us < end_us):
                    yield Violation("T6", PROMISE, f"{place}: {topic} is complete through {mark_us}, not {end_us}")

    def close(self, end: Evidence) -> Iterator[Violation]:
        yield from ()

    def _created(self, place: Place, run: RunCreated) -> Iterator[Violation]:
        project = self.projects.get(run.code)
        definition = project.pipelines.get(run.pipeline) if project else None
        if definition is None:
            return
        if run.cause == "schedule" and run.window is not None and set(run.waits) != set(definition.reads):
            yield Violation("T6", PROMISE, f"{place} reads {definition.reads}")
        if run.waits:
            self.runs[run.run] = run

    def _patient(self, place: Place, ready: RunReady) -> Iterator[Violation]:
        run = self.runs[ready.run]
        within_us = self.projects[run.code].pipelines[run.pipeline].ready_within_us
        if not set(ready.missing) <= set(run.waits) or (ready.missing and within_us is None):
            yield Violation("T6", PROMISE, f"{place}: it waits for {run.waits}, ready_within is {within_us}")

    def _mark_us(self, topic: str) -> int | None:
        """How far a topic is complete, as far as anybody has said: at most this, while facts were being written."""
        if topic in self.makers and (shards := self.shards_us.get(self.makers[topic])):
            return min(shards.values())
        known = (self.declared_us.get(topic), self.reached_us.get(topic))
        return max((us for us in known if us is not None), default=None)
