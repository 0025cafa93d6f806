"""The histories of joined topics, as a stream process holds them."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from headrace.connectors.blob import APPENDED, HIDDEN, OFFSET, PARTITION, TIME, concat, empty
from headrace.connectors.log import Log
from headrace.definitions.project import JoinDef, TopicDef
from headrace.shards.batch import News
from headrace.streams.join import Side, join_asof, sort_history, span_us

EVICT_ROWS = 500_000
_ORDER = (PARTITION, OFFSET)
_UNUSED = (TIME, APPENDED)


class Sides:
    """One history for all shards of a process that join the same way."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._held: dict[JoinDef, Side] = {}

    def join(
        self, rows: pl.DataFrame, joins: tuple[JoinDef, ...], topics: Mapping[str, TopicDef], news: News
    ) -> tuple[pl.DataFrame, dict[str, int]]:
        """The rows joined with what is known of every side now, and the offsets up to which each was read."""
        pins: dict[str, int] = {}
        for join in joins:
            side = self._refreshed(join, topics[join.topic], news)
            pins |= {f"{join.topic}:{partition}": end for partition, end in sorted(side.ends.items())}
            rows = self._joined(rows, side, topics[join.topic])
        return rows, pins

    def _refreshed(self, join: JoinDef, topic: TopicDef, news: News) -> Side:
        side = self._held.get(join)
        if side is None:
            side = self._held[join] = Side(join, empty(topic).drop(_UNUSED), order=_ORDER)
        heads = news.heads.get(topic.name, {})
        fresh = {partition: end for partition, end in heads.items() if end > side.ends.get(partition, 0)}
        if fresh:
            parts = [
                self._log.rows(topic, partition, side.ends.get(partition, 0), end).frame
                for partition, end in fresh.items()
            ]
            side.extend(concat(parts).drop(_UNUSED), fresh)
        return side

    def _joined(self, rows: pl.DataFrame, side: Side, topic: TopicDef) -> pl.DataFrame:
        if side.lacks(rows):
            return self._joined_from_log(rows, side, topic)
        joined = side.join_to(rows)
        if len(side.rows) > EVICT_ROWS and len(rows):
            oldest = rows[side.join.as_of].to_physical().min()
            if isinstance(oldest, int):
                side.evict(oldest)
        return joined

    def _joined_from_log(self, rows: pl.DataFrame, side: Side, topic: TopicDef) -> pl.DataFrame:
        """A late row looks further back than what is held: read what it can see from the log, at the same pins."""
        moments = rows[side.join.as_of].to_physical()
        oldest, newest, span = moments.min(), moments.max(), span_us(side.join)
        start_us = oldest - span if isinstance(oldest, int) and span is not None else None
        end_us = newest + 1 if isinstance(newest, int) else None
        history = self._log.read_known(topic, start_us, end_us, pins=side.ends)
        return join_asof(rows, sort_history(history, side.join, _ORDER).drop(HIDDEN), side.join)
