"""A stream of the project at work: reads batches from the log, joins, calls the function, packs its output."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import msgspec
import polars as pl

from headrace.base.instants import to_us
from headrace.connectors.appends import prepare_fitted
from headrace.connectors.blob import Misfit
from headrace.connectors.fitting import value_at
from headrace.connectors.log import Log
from headrace.connectors.shapes import Shapes
from headrace.definitions.project import StreamDef, TopicDef
from headrace.host.failpoints import reach
from headrace.shards.batch import News, Part, Read, Ready
from headrace.shards.bound import BoundValues
from headrace.shards.call import Called, call
from headrace.shards.shard import shown
from headrace.shards.sides import Sides
from headrace.streams.contract import filtered
from headrace.streams.owner import Dead, Outcome, Shard


@dataclass(frozen=True, slots=True)
class StreamCode:
    """A stream as the code of this process has it."""

    definition: StreamDef
    fn: Callable[..., Any]
    holds: tuple[type[BaseException], ...]
    source: TopicDef
    to: TopicDef
    sides: Mapping[str, TopicDef]


@dataclass(frozen=True, slots=True)
class Records:
    """The rows of a batch as user code sees them, and the (partition, first, end) that they were read from in turn."""

    frame: pl.DataFrame
    places: tuple[tuple[int, int, int], ...]
    misfits: tuple[Misfit, ...] = ()

    def __len__(self) -> int:
        return len(self.frame)

    def offset(self, at: int) -> int:
        """Where row `at` lies in its partition."""
        gone = {(bad.partition, bad.offset) for bad in self.misfits}
        found = (
            offset
            for partition, first, end in self.places
            for offset in range(first, end)
            if (partition, offset) not in gone
        )
        return next(islice(found, at, None))


class ProjectStream:
    """Implements `shards.batch.Stream` for all shards that a process owns of one stream.

    `deployed` are the ends of topics when this code was deployed: what lies beyond them is new to it.
    """

    def __init__(
        self, code: StreamCode, log: Log, sides: Sides, shapes: Shapes, bound: BoundValues, now_us: Callable[[], int],
        deployed: Mapping[str, Mapping[int, int]],
    ) -> None:  # fmt: skip
        self._code, self._log, self._sides, self._shapes, self._bound = code, log, sides, shapes, bound
        self._now_us, self._deployed = now_us, deployed

    @property
    def is_shared(self) -> bool:
        # Row by row a call may cost or do something, so it is not made a second time for each alone.
        return self._code.definition.rows == "each" and self._code.definition.mode != "row"

    @property
    def holds(self) -> tuple[type[BaseException], ...]:
        return self._code.holds

    def missing(self) -> str:
        return self._bound.missing(self._code.definition.bind)

    def models(self, shard: Shard) -> list[tuple[str, int, str]]:
        found: list[tuple[str, int, str]] = []
        for reference in self._code.definition.bind.values():
            if reference.kind == "model":
                last = next((number for name, number, _ in shard.models if name == reference.name), 0)
                self._bound.fall_back(reference, last)
                version, problem = self._bound.model(reference)
                if version or problem:
                    found.append((reference.name, version, problem))
        return found

    def start(self, shard: Shard, news: News) -> tuple[int, str]:
        source, start = self._code.source, self._code.definition.start
        head = news.head(source.name, shard.shard)
        if start == "earliest":
            return 0, "start is earliest"
        if start != "now":
            return self._log.first_at(source, shard.shard, to_us(start), head), f"start is {start}"
        offset = self._deployed.get(source.name, {}).get(shard.shard, 0)
        moments_us = [self._bound.since_us(reference) for reference in self._code.definition.bind.values()]
        if moments_us:
            offset = max(offset, self._log.first_appended(source, shard.shard, max(moments_us), head))
        return offset, "start is now"

    def read(self, parts: Sequence[Part]) -> Read[Records]:
        places = tuple((part.shard.shard, part.todo.first, part.todo.end) for part in parts)
        rows = self._log.rows_at(self._code.source, places, hidden=False)
        misfits = tuple(
            tuple(
                Dead(bad.offset, "decode", bad.error, bad.payload)
                for bad in rows.misfits
                if bad.partition == part.shard.shard
            )
            for part in parts
        )
        sizes = tuple(part.todo.rows - len(bad) for part, bad in zip(parts, misfits, strict=True))
        return Read(Records(rows.frame, places, rows.misfits), sizes, misfits)

    def ready(self, rows: Records, news: News) -> Ready[Records]:
        definition = self._code.definition
        joined, pins = self._sides.join(rows.frame, definition.source.joins, self._code.sides, news)
        values, versions = self._bound.values(definition.bind)
        return Ready(replace(rows, frame=joined), values, versions, pins)

    def run(self, ready: Ready[Records]) -> Called:
        reach("shard.after_reading")
        source = self._code.source
        kept = tuple(dict.fromkeys(name for name in (source.key, source.event_time, source.known) if name))
        return call(
            # Of its own: what the function does to the frame itself is not done to the rows.
            self._code.definition,
            self._code.fn,
            ready.rows.frame.clone(),
            ready.values,
            kept=kept,
            holds=self._code.holds,
        )

    def pack(self, ready: Ready[Records], made: Called, sizes: Sequence[int]) -> list[Outcome]:
        rows, batch = ready.rows, ready.rows.frame
        source, definition = self._code.source, self._code.definition
        failed = [found.row for found in made.errors]
        dead = tuple(self.dead(rows, found.row, "error", shown(found.error)) for found in made.errors)
        if failed:
            batch = batch.filter(~pl.int_range(len(batch), eager=True).is_in(failed))
        out = made.rows
        left_out = filtered(definition.rows, source.key, batch, out) if len(batch) or len(out) else 0
        if out.is_empty():
            return [Outcome(0, left_out, dead)]
        now_us = self._now_us()
        shaped = self._shapes.shape(self._code.to, out, now_us)
        parts = prepare_fitted(shaped.topic, shaped.rows, sizes if len(sizes) > 1 else [len(out)], now_us)
        # The columns come with the first part: its facts are the first of the transaction.
        return [
            Outcome(sum(fact.rows for fact, _ in part), left_out, dead, tuple(part), shape=shape)
            for part, shape in zip(parts, (shaped.fact, *[None] * (len(parts) - 1)), strict=True)
        ]

    def dead(self, rows: Records, at: int, reason: str, error: str) -> Dead:
        return Dead(rows.offset(at), reason, error, _payload(rows.frame, at))


def _payload(frame: pl.DataFrame, at: int) -> str:
    """A row as JSON. Where JSON or Python cannot hold a value, each stands in it as text: a dead letter always comes."""
    try:
        return msgspec.json.encode(frame.row(at, named=True)).decode()
    except (Exception, pl.exceptions.PanicException):
        values = {column.name: value_at(column, at) for column in frame.iter_columns()}
        return msgspec.json.encode({n: None if value is None else str(value) for n, value in values.items()}).decode()
