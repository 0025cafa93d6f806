"""Topics: rows that only grow, in partitions, each with an event time; and sources: topics with as-of joins."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from headrace.base.durations import micros
from headrace.data import recording
from headrace.data.access import access
from headrace.data.names import checked_name
from headrace.data.schema import columns
from headrace.data.where import user_line
from headrace.definitions.project import JoinDef, RunningDef, SourceDef, TopicDef
from headrace.errors import ProjectError, SchemaError

if TYPE_CHECKING:
    import polars as pl

    from headrace.data.events import OffsetRange
    from headrace.data.table import Table
    from headrace.data.window import Window


class Topic:
    """A topic. Without `schema=` it takes its columns from the first append and keeps them.

    `key` chooses the partition; `event_time` is the column with the time a row is about (else the time of its append);
    `known` the column with the time from which a reader could have had the row (default: the event time).

    >>> outcomes = Topic("outcomes", schema={"flight_id": str, "late": bool}, key="flight_id")
    """

    kind = "topic"

    def __init__(
        self,
        name: str,
        *,
        schema: object = None,
        key: str | None = None,
        event_time: str | None = None,
        known: str | None = None,
        partitions: int = 4,
    ) -> None:
        self.name: str = checked_name("topic", name)
        self.where: str = user_line()
        if partitions < 1:
            raise ProjectError(
                f"the topic {name!r} needs at least one partition, got {partitions}",
                where=self.where,
                cure="leave partitions= out (4) or give a number from 1",
            )
        declared = None if schema is None else columns(schema)
        self.definition: TopicDef = TopicDef(
            name=name,
            schema=declared.types if declared else None,
            required=declared.required if declared else (),
            key=key,
            event_time=event_time,
            known=known or event_time,
            partitions=partitions,
        )

    def read(self, window: Window | None = None) -> pl.DataFrame:
        """The rows with event time in the window (all without one), as of now or as the run has pinned them."""
        recording.act_now(f"{self.name}.read()", "read inside a task")
        return access().read_topic(self.definition, window)

    def append(self, rows: pl.DataFrame | list[dict[str, Any]]) -> tuple[OffsetRange, ...]:
        """Add rows: at once, or in a task with its acceptance. In a pipeline body it is recorded as a task.

        Raises `SchemaError` when a row does not fit.
        """
        recorder = recording.active.get()
        if recorder is not None:
            return recorder.act("append", self, {"rows": rows})
        return access().append(self.definition, rows)

    def join(
        self,
        other: Topic | Running | Table,
        *,
        on: str,
        as_of: str,
        tolerance: str | timedelta | None = None,
        columns: Sequence[str] | None = None,
    ) -> Source:
        """As-of join: per row the newest row of `other` with the same `on` that was known at `as_of`, else nulls.

        `as_of` names a time column of this topic. It never waits. `tolerance` is how old the other row may be.
        """
        return Source(self).join(other, on=on, as_of=as_of, tolerance=tolerance, columns=columns)

    def running(self, *, by: str, sums: Sequence[str] = (), within: str | timedelta | None = None) -> Running:
        """Running figures by key over the span before a moment, to be joined: `<topic>_count`, `<topic>_<column>`."""
        return Running(self, by=by, sums=sums, within=within)

    def __repr__(self) -> str:
        return f"Topic({self.name!r})"


class Running:
    """Count of rows and sums of columns of a topic, by key, over the span before a moment."""

    def __init__(self, topic: Topic, *, by: str, sums: Sequence[str], within: str | timedelta | None) -> None:
        self.topic = topic
        self.where: str = user_line()
        self.definition: RunningDef = RunningDef(
            by=by, sums=tuple(sums), within_us=None if within is None else micros(within)
        )

    def __repr__(self) -> str:
        return f"{self.topic!r}.running(by={self.definition.by!r})"


class Source:
    """A topic with as-of joins on it, in order. It runs nothing by itself; it stands where a topic may stand."""

    def __init__(self, topic: Topic, joined: tuple[tuple[Topic | Table, JoinDef], ...] = ()) -> None:
        self.topic = topic
        self.joined = joined
        self.where: str = user_line()

    @property
    def definition(self) -> SourceDef:
        return SourceDef(topic=self.topic.name, joins=tuple(join for _, join in self.joined))

    def join(
        self,
        other: Topic | Running | Table,
        *,
        on: str,
        as_of: str,
        tolerance: str | timedelta | None = None,
        columns: Sequence[str] | None = None,
    ) -> Source:
        """One more as-of join on top. See `Topic.join`."""
        dataset = other.topic if isinstance(other, Running) else other
        known = dataset.definition.known
        if known is None:
            raise SchemaError(
                f"{dataset!r} cannot be joined as of a time: it does not say from when its rows were known",
                where=user_line(),
                cure=f'give it known="…", that column{"" if dataset.kind == "table" else ", or event_time="}',
                code="HR1201",
            )
        join = JoinDef(
            topic=dataset.name,
            on=on,
            as_of=as_of,
            known=known,
            tolerance_us=None if tolerance is None else micros(tolerance),
            running=other.definition if isinstance(other, Running) else None,
            columns=None if columns is None else tuple(columns),
        )
        return Source(self.topic, (*self.joined, (dataset, join)))

    def read(self, window: Window | None = None) -> pl.DataFrame:
        """The joined rows with event time in the window: the same join as live, over history."""
        recording.act_now(f"{self.topic.name}.join(…).read()", "read inside a task")
        return access().read_source(self.definition, window)

    def __repr__(self) -> str:
        return f"{self.topic!r}" + "".join(f".join({join.topic!r})" for _, join in self.joined)
