"""When a project is at rest: one question that names what is still to happen, for players of history and for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from headrace.definitions.project import OnEvent, Project
from headrace.runs.monitoring import due_ends


class RestingStore(Protocol):
    """What the question is asked of."""

    def watermarks(self, definitions: Project) -> dict[str, int]: ...
    def champions(self) -> dict[str, int]:
        """Model → the event time (UTC microseconds) from which its first champion serves."""
        ...

    def unsettled(
        self,
        *,
        sources: Mapping[str, str],
        triggers: Mapping[tuple[str, str], str],
        bound: Mapping[str, str],
        windows: Mapping[str, Sequence[int]],
    ) -> list[str]: ...


def unsettled(store: RestingStore, project: Project) -> list[str]:
    """A line for each thing that is still to happen; empty when all is quiet.

    Cursors at their heads, due windows judged, no unfinished run, every shard holding the champion. A stream that waits
    for its model's first version is at rest.
    """
    champions = store.champions()
    bound: dict[str, str] = {}
    waiting: set[str] = set()
    for stream in project.streams.values():
        for reference in stream.bind.values():
            if reference.kind == "model" and reference.how == "alias":
                bound[stream.name] = reference.name
                if reference.name not in champions:
                    waiting.add(stream.name)
    sources = {s.name: s.source.topic for s in project.streams.values() if s.name not in waiting}
    triggers = {
        (p.name, t.slug): t.topic for p in project.pipelines.values() for t in p.triggers if isinstance(t, OnEvent)
    }
    marks = store.watermarks(project)
    windows: dict[str, list[int]] = {}
    for monitor in project.monitors.values():
        model = project.models.get(monitor.model)
        since_us = champions.get(monitor.model)
        if model is None or since_us is None:
            continue
        topics = [monitor.topic, *([model.labels] if model.labels else [])]
        complete_us = min(marks.get(topic, 0) for topic in topics)
        windows[monitor.name] = due_ends(monitor, since_us, complete_us - model.mature_us)
    return store.unsettled(
        sources=sources,
        triggers=triggers,
        bound={stream: model for stream, model in bound.items() if stream not in waiting},
        windows=windows,
    )
