"""One event trigger at work: reads its topic, takes the rows that match, and fires by groups."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from headrace.connectors.blob import APPENDED, OFFSET, PARTITION, TIME
from headrace.connectors.log import Log
from headrace.definitions.project import TopicDef
from headrace.errors import SchemaError
from headrace.executors.tracebacks import one_line
from headrace.ports import Clock
from headrace.shards.batch import UNREADABLE, News
from headrace.streams import trigger as steps
from headrace.streams.facts import TriggerHeld
from headrace.streams.trigger import Trigger, TriggerStep

ROWS_AT_ONCE = 65_536
SAVE_EVERY_US = 1_000_000


class TriggerOwner:
    """One trigger, but for the committing. No user code runs in it."""

    is_suspect = False

    def __init__(self, state: Trigger, topic: TopicDef, log: Log, clock: Clock) -> None:
        self.state = state
        self.topic = topic
        self._log, self._clock = log, clock
        self._saved_us = 0
        self._is_stopped = False

    def shared(self, news: News) -> None:
        """It calls nobody."""

    def take_over(self) -> TriggerStep:
        return TriggerStep(self.state)

    def adopt(self, step: TriggerStep) -> None:
        self.state = step.trigger
        self._is_stopped = any(isinstance(fact, TriggerHeld) for fact in step.facts)

    def drop_hand(self) -> None:
        """It has none."""

    def close(self) -> None:
        """It holds nothing open."""

    def work(self, news: News, *, is_idle: bool) -> TriggerStep | None:
        """The next step, or None where there is nothing to commit. Groups that are full are committed at once.

        Progress without news is committed when nothing else is to do, else once a second. It stops, and says so, where
        the rows cannot be read or have no such boolean column.
        """
        if self._is_stopped:
            return None
        try:
            return self._read(news, is_idle)
        except UNREADABLE as error:
            return steps.stopped(self.state, one_line(error), self._clock.now_us())

    def _read(self, news: News, is_idle: bool) -> TriggerStep | None:
        now_us, mono_us = self._clock.now_us(), self._clock.monotonic_us()
        rows, ends = self._unread(news.heads.get(self.topic.name, {}))
        if ends or self.state.group.is_full:
            step = steps.read(self.state, _events(rows), ends, now_us)
            if step.facts:
                self._saved_us = mono_us
                return step
            self.state = step.trigger
        if not self.state.is_saved and (is_idle or mono_us - self._saved_us >= SAVE_EVERY_US):
            self._saved_us = mono_us
            return steps.save(self.state, now_us)
        return None

    def _unread(self, heads: Mapping[int, int]) -> tuple[pl.DataFrame, dict[int, int]]:
        parts: list[pl.DataFrame] = []
        ends: dict[int, int] = {}
        for partition, first in enumerate(self.state.offsets):
            end = min(heads.get(partition, 0), first + ROWS_AT_ONCE)
            if end <= first:
                continue
            parts.append(self._matching(self._log.rows(self.topic, partition, first, end).frame))
            ends[partition] = end
        return (pl.concat(parts) if parts else pl.DataFrame()), ends

    def _matching(self, rows: pl.DataFrame) -> pl.DataFrame:
        where = self.state.definition.where
        if where is None:
            return rows.select(_EVENT)
        if rows.schema.get(where) != pl.Boolean:
            raise SchemaError(
                f"the trigger looks at the boolean column {where!r}, which the rows do not have",
                where=f"pipeline {self.state.pipeline}, trigger on topic {self.topic.name}",
                cure="name a boolean column, or put a stream in front that makes one",
                code="HR1222",
            )
        return rows.filter(pl.col(where)).select(_EVENT)


_EVENT = (TIME, PARTITION, OFFSET, APPENDED)


def _events(rows: pl.DataFrame) -> list[tuple[int, int, int, int]]:
    if rows.is_empty():
        return []
    return rows.with_columns(pl.col(TIME, APPENDED).to_physical()).rows()
