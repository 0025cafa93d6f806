"""When a project is at rest: what is asked of the store for it."""

from __future__ import annotations

from typing import Any

from headrace.definitions.nodes import DatasetRef, Graph
from headrace.definitions.project import (
    ModelDef,
    MonitorDef,
    OnEvent,
    PipelineDef,
    Project,
    SourceDef,
    StreamDef,
    TopicDef,
)
from headrace.engine.settling import unsettled

DAY_US = 86_400_000_000
BIND = {"model": DatasetRef("model", "delay", "alias", "champion")}
PROJECT = Project(
    "p",
    topics={name: TopicDef(name) for name in ("events", "outcomes", "scores")},
    models={"delay": ModelDef("delay", labels="outcomes", on="id", label="late", mature_us=2 * DAY_US)},
    streams={
        "score": StreamDef("score", "m:score", SourceDef("events"), "scores", bind=BIND),
        "copy": StreamDef("copy", "m:copy", SourceDef("events"), "other"),
    },
    pipelines={
        "look": PipelineDef("look", "m:look", Graph(()), triggers=(OnEvent("outcomes", slug="event outcomes"),))
    },
    monitors={"watch": MonitorDef("watch", "scores", "delay", 7 * DAY_US)},
)


class Store:
    """Answers with what was put into it, and keeps what it was asked."""

    def __init__(self, champions: dict[str, int], marks: dict[str, int]) -> None:
        self._champions, self._marks = champions, marks
        self.asked: dict[str, Any] = {}

    def champions(self) -> dict[str, int]:
        return self._champions

    def watermarks(self, definitions: Project) -> dict[str, int]:
        return self._marks

    def unsettled(self, **asked: Any) -> list[str]:
        self.asked = asked
        return ["one thing"]


def test_a_stream_that_waits_for_its_models_first_version_is_at_rest() -> None:
    store = Store({}, {})
    assert unsettled(store, PROJECT) == ["one thing"]
    assert store.asked["sources"] == {"copy": "events"}
    assert store.asked["bound"] == {}
    assert store.asked["windows"] == {}
    assert store.asked["triggers"] == {("look", "event outcomes"): "outcomes"}


def test_with_a_champion_every_stream_counts_and_windows_are_due_once_their_labels_are_mature() -> None:
    anchor_us = PROJECT.monitors["watch"].anchor_us
    begin_us = anchor_us + 700 * DAY_US
    marks = {"scores": begin_us + 30 * DAY_US, "outcomes": begin_us + 16 * DAY_US}
    store = Store({"delay": begin_us}, marks)
    unsettled(store, PROJECT)
    assert store.asked["sources"] == {"score": "events", "copy": "events"}
    assert store.asked["bound"] == {"score": "delay"}
    assert store.asked["windows"] == {"watch": [begin_us + 7 * DAY_US, begin_us + 14 * DAY_US]}


def test_a_topic_without_a_watermark_is_complete_up_to_nowhere() -> None:
    store = Store({"delay": 400 * DAY_US}, {"scores": 900 * DAY_US})
    unsettled(store, PROJECT)
    assert store.asked["windows"] == {"watch": []}
