"""One event trigger at work: reads its topic, takes the rows that match, and fires by groups."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from headrace.connectors.log import OFFSET, PARTITION, TIME, Log
from headrace.definitions.project import TopicDef
from headrace.errors import SchemaError
from headrace.ports import Clock
from headrace.shards.shard import News
from headrace.streams import trigger as steps
from headrace.streams.trigger import Trigger, TriggerStep

ROWS_AT_ONCE = 65_536
SAVE_EVERY_US = 1_000_000


class TriggerRunner:
    """The owner of one trigger, but for the committing."""

    def __init__(self, state: Trigger, topic: TopicDef, log: Log, clock: Clock) -> None:
        self.state = state
        self.topic = topic
        self._log, self._clock = log, clock
        self._saved_us = 0

    def adopt(self, state: Trigger) -> None:
        self.state = state

    def work(self, news: News, *, is_idle: bool) -> TriggerStep | None:
        """The next step, or None where there is nothing to commit. Groups that are full are committed at once.

        Progress without news is committed when nothing else is to do, else once a second. Raises `SchemaError` where
        the rows have no such boolean column.
        """
        now_us = self._clock.now_us()
        rows, ends = self._unread(news.heads.get(self.topic.name, {}))
        if ends:
            step = steps.read(self.state, _events(rows), ends, now_us)
            if step.facts:
                self._saved_us = now_us
                return step
            self.state = step.trigger
        if not self.state.is_saved and (is_idle or now_us - self._saved_us >= SAVE_EVERY_US):
            self._saved_us = now_us
            return steps.save(self.state, now_us)
        return None

    def _unread(self, heads: Mapping[int, int]) -> tuple[pl.DataFrame, dict[int, int]]:
        parts: list[pl.DataFrame] = []
        ends: dict[int, int] = {}
        for partition, first in enumerate(self.state.offsets):
            end = min(heads.get(partition, 0), first + ROWS_AT_ONCE)
            if end <= first:
                continue
            for chunk in self._log.chunks(self.topic, partition, first, end):
                parts.append(self._matching(chunk.rows))
            ends[partition] = end
        return (pl.concat(parts) if parts else pl.DataFrame()), ends

    def _matching(self, rows: pl.DataFrame) -> pl.DataFrame:
        where = self.state.definition.where
        if where is None:
            return rows.select(TIME, PARTITION, OFFSET)
        if rows.schema.get(where) != pl.Boolean:
            raise SchemaError(
                f"the trigger looks at the boolean column {where!r}, which the rows do not have",
                where=f"pipeline {self.state.pipeline}, trigger on topic {self.topic.name}",
                cure="name a boolean column, or put a stream in front that makes one",
                code="HR1222",
            )
        return rows.filter(pl.col(where)).select(TIME, PARTITION, OFFSET)


def _events(rows: pl.DataFrame) -> list[tuple[int, int, int]]:
    if rows.is_empty():
        return []
    return rows.with_columns(pl.col(TIME).to_physical()).rows()
