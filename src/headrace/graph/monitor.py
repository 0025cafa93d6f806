"""Monitors: a watch over a model's predictions, one judgement per closed window."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any, Literal

from msgspec.structs import replace

from headrace.base.durations import micros
from headrace.base.instants import to_us
from headrace.data.model import Model
from headrace.data.names import checked_name
from headrace.data.topic import Topic
from headrace.data.where import user_line
from headrace.definitions.project import MonitorDef, OnMonitor, PerformanceLimit, StatLimit
from headrace.errors import GraphError
from headrace.graph.trigger import Trigger
from headrace.triggers.wall_time import zone_of


class Monitor:
    """A monitor of one topic of predictions. `drift()` and `performance()` give triggers for `pipeline.on(…)`."""

    def __init__(self, definition: MonitorDef, topic: Topic, model: Model[Any]) -> None:
        self.definition = definition
        self.name: str = definition.name
        self.topic = topic
        self.model = model
        self.where: str = user_line()

    def drift(self, *, consecutive: int = 1) -> Trigger:
        """Ask when a drift limit was crossed in so many windows in a row. Raises `GraphError` without drift limits."""
        if not self.definition.drift:
            raise self._without("drift", 'drift={"temp": hr.unseen(above=0.10)}')
        return self._trigger("drift", consecutive)

    def performance(self, *, consecutive: int = 1) -> Trigger:
        """Ask when the performance limit was crossed in so many windows in a row. Raises `GraphError` without one."""
        if self.definition.performance is None:
            raise self._without("performance", 'performance=hr.auc(prediction="p_late", below=0.66)')
        return self._trigger("performance", consecutive)

    def _trigger(self, which: Literal["drift", "performance"], consecutive: int) -> Trigger:
        if consecutive < 1:
            raise GraphError(f"consecutive= is a whole number from 1, got {consecutive}", where=user_line())
        return Trigger(OnMonitor(monitor=self.name, which=which, consecutive=consecutive), monitor=self)

    def _without(self, which: str, example: str) -> GraphError:
        return GraphError(f"the monitor {self.name} has no {which} limit", where=user_line(), cure=f"give it {example}")

    def __repr__(self) -> str:
        return f"<monitor {self.name}>"


def monitor(
    topic: Topic,
    *,
    model: Model[Any],
    window: str | timedelta,
    min_rows: int = 0,
    drift: Mapping[str, StatLimit] | None = None,
    performance: PerformanceLimit | None = None,
    start: datetime | date | str | None = None,
    timezone: str = "UTC",
    name: str | None = None,
) -> Monitor:
    """Watch the predictions in a topic: against the champion's frozen histograms and, later, matured labels.

    One judgement per closed `window` of event time with at least `min_rows` rows. `drift` has a limit per column.
    Windows are counted from `start` (Monday, 1970-01-05, UTC); the first is the first that lies wholly after the model
    began to serve. A window of whole days counts the days of `timezone`. Its name is the topic's unless given.
    """
    definition = MonitorDef(
        name=checked_name("monitor", name or topic.name),
        topic=topic.name,
        model=model.name,
        window_us=micros(window),
        min_rows=min_rows,
        drift=dict(drift or {}),
        performance=performance,
        timezone=zone_of(timezone).key,
    )
    if start is not None:
        definition = replace(definition, anchor_us=to_us(start))
    return Monitor(definition, topic, model)
