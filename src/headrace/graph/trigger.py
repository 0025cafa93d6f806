"""Triggers that a user writes: an event of a topic, a new version of a table. Schedules stand on the pipeline."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from headrace.base.durations import micros
from headrace.data.table import Table
from headrace.data.topic import Topic
from headrace.data.where import user_line
from headrace.definitions.project import AnyTrigger, OnEvent, Updated
from headrace.errors import GraphError

if TYPE_CHECKING:
    from headrace.graph.monitor import Monitor


class Trigger:
    """A trigger with what it watches and the line that it was written on."""

    def __init__(
        self, definition: AnyTrigger, datasets: tuple[Topic | Table, ...] = (), monitor: Monitor | None = None
    ) -> None:
        self.definition = definition
        self.datasets = datasets
        self.monitor = monitor
        self.where: str = user_line()


def event(topic: Topic, *, where: str | None = None, count: int = 1, within: str | timedelta | None = None) -> Trigger:
    """Start a run for each row of the topic, or for each `count` rows within that span of event time.

    `where` is the name of a boolean column; what needs code is a stream in front. Each event starts exactly one run.
    """
    if count < 1:
        raise GraphError(f"count= is a whole number from 1, got {count}", where=user_line(), cure="leave it out for 1")
    definition = OnEvent(
        topic=topic.name,
        where=where,
        count=count,
        within_us=None if within is None else micros(within),
        slug=f"event {topic.name}" + (f" {where}" if where else ""),
    )
    return Trigger(definition, (topic,))


def updated(table: Table) -> Trigger:
    """Start a run when a version of the table is published."""
    return Trigger(Updated(table=table.name), (table,))
