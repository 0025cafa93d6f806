"""One shard at work: reads its next batch, joins, calls the function, and makes of the result a step to commit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import polars as pl

from headrace.base.instants import to_us
from headrace.connectors.log import APPENDED, HIDDEN, OFFSET, PARTITION, TIME, Log, empty, prepare
from headrace.connectors.shapes import Shapes
from headrace.definitions.project import JoinDef, StreamDef, TopicDef
from headrace.errors import CodecError, SchemaError
from headrace.executors.tracebacks import one_line, told, user_frames
from headrace.ports import Clock
from headrace.shards.bound import BoundValues
from headrace.shards.hand import HandFile
from headrace.streams import owner
from headrace.streams.call import call
from headrace.streams.contract import ContractError, filtered
from headrace.streams.join import Side, join_asof, sort_history, span_us
from headrace.streams.owner import Dead, Hand, Outcome, Plan, Shard, Step
from headrace.streams.sizing import BatchSize

EVICT_ROWS = 500_000
_ORDER = (PARTITION, OFFSET)
_UNUSED = (TIME, APPENDED)


@dataclass(frozen=True, slots=True)
class StreamCode:
    """A stream as the code of this process has it."""

    definition: StreamDef
    fn: Callable[..., Any]
    holds: tuple[type[BaseException], ...]  # exceptions that hold the shard
    source: TopicDef
    to: TopicDef
    sides: Mapping[str, TopicDef]


@dataclass(slots=True)
class News:
    """What the process has last seen of the store: heads of topics, and how far they are complete."""

    heads: dict[str, dict[int, int]] = field(default_factory=dict[str, dict[int, int]])
    complete_us: dict[str, int] = field(default_factory=dict[str, int])

    def head(self, topic: str, partition: int) -> int:
        return self.heads.get(topic, {}).get(partition, 0)


class Sides:
    """The histories of joined topics, shared by the shards of a process that join the same way."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._held: dict[JoinDef, Side] = {}

    def join(self, rows: pl.DataFrame, code: StreamCode, news: News) -> tuple[pl.DataFrame, dict[str, int]]:
        """The rows joined with what is known of every side now, and the offsets up to which each was read."""
        pins: dict[str, int] = {}
        for join in code.definition.source.joins:
            side = self._refreshed(join, code.sides[join.topic], news)
            pins |= {f"{join.topic}:{partition}": end for partition, end in sorted(side.ends.items())}
            rows = self._joined(rows, side, code.sides[join.topic])
        return rows, pins

    def _refreshed(self, join: JoinDef, topic: TopicDef, news: News) -> Side:
        side = self._held.get(join)
        if side is None:
            side = self._held[join] = Side(join, empty(topic).drop(_UNUSED), order=_ORDER)
        heads = news.heads.get(topic.name, {})
        fresh = {partition: end for partition, end in heads.items() if end > side.ends.get(partition, 0)}
        if fresh:
            chunks = [
                chunk.rows
                for partition, end in fresh.items()
                for chunk in self._log.chunks(topic, partition, side.ends.get(partition, 0), end)
            ]
            side.extend(pl.concat(chunks, how="diagonal_relaxed").drop(_UNUSED), fresh)
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


class ShardRunner:
    """The owner of one shard, but for the committing: `work` gives the next step, `adopt` takes it once committed."""

    def __init__(
        self, state: Shard, code: StreamCode, log: Log, sides: Sides, shapes: Shapes, bound: BoundValues,
        hand: HandFile, clock: Clock,
    ) -> None:  # fmt: skip
        self.state = state
        self.code = code
        self.size = BatchSize()
        self._log, self._sides, self._shapes, self._bound = log, sides, shapes, bound
        self._hand, self._clock = hand, clock
        self._progress_us = 0

    def take_over(self) -> Step:
        """The first step of a new owner."""
        return owner.taken(self.state, self._hand.left(), self._clock.now_us())

    @property
    def is_suspect(self) -> bool:
        """Whether the rows it is at have killed a process or raised."""
        return self.state.deaths > 0 or self.state.suspect_end is not None

    def adopt(self, state: Shard) -> None:
        self.state = state

    def forget_hand(self) -> None:
        """Told to leave: if this process is ended before its batch is, no row is to blame for it."""
        self._hand.drop()

    def work(self, news: News, started_since_us: int, *, is_idle: bool) -> Step | None:
        """The next step, or None where there is nothing to do. User code runs in here."""
        now_us = self._clock.now_us()
        reported = self._report_models(now_us)
        if reported is not None:
            return reported
        missing = self._bound.missing(self.code.definition.bind)
        if missing:
            return self._changed(owner.waiting(self.state, missing, now_us) if self.state.offset is None else None)
        if self.state.offset is None:
            offset, why = self._start(news, started_since_us)
            return owner.started(self.state, offset, why, now_us)
        todo = owner.plan(self.state, news.head(self.code.source.name, self.state.shard), self.size.rows, now_us)
        if todo is not None:
            return self._batch(todo, news)
        return self._progress(news, now_us, is_idle)

    # -- the batch -------------------------------------------------------------------------------------------------

    def _batch(self, todo: Plan, news: News) -> Step:
        begun_us = self._clock.monotonic_us()
        watermark_us = self._watermark(todo.end, news)
        try:
            rows, misfits = self._read(todo)
            if todo.is_given_up:
                crashed = tuple(_dead(rows, at, "crashed", "the process died on this row") for at in range(len(rows)))
                return self._done(todo, Outcome(0, 0, (*misfits, *crashed)), watermark_us)
            joined, pins = self._sides.join(rows, self.code, news)
            values, versions = self._bound.values(self.code.definition.bind)
        except (SchemaError, CodecError, pl.exceptions.PolarsError) as error:
            # No row's fault: what is read does not fit what is declared, or not together.
            return owner.stopped(self.state, one_line(error), self._clock.now_us())
        try:
            self._hand.take(Hand(todo.first, todo.end, self.state.suspect_end is not None))
            called = self._call(joined, values)
        except ContractError as error:
            return owner.stopped(self.state, told(str(error)), self._clock.now_us())
        except self.code.holds as error:
            return owner.retrying(self.state, one_line(error), self._clock.now_us())
        except BaseException as error:  # also a CancelledError or KeyboardInterrupt that user code lets out
            return self._raised(todo, rows, misfits, error, watermark_us)
        finally:
            self._hand.drop()
        outcome = replace(called, dead=(*misfits, *called.dead), bound=versions, sides=pins)
        step = self._done(todo, outcome, watermark_us)
        self.size = self.size.after(todo.rows, took_us=self._clock.monotonic_us() - begun_us)
        return step

    def _read(self, todo: Plan) -> tuple[pl.DataFrame, tuple[Dead, ...]]:
        """The rows of the batch, and a dead letter for each raw record that is none."""
        chunks = self._log.chunks(self.code.source, self.state.shard, todo.first, todo.end)
        parts = [chunk.rows for chunk in chunks]
        misfits = tuple(
            Dead(found.offset, "decode", found.error, found.payload) for chunk in chunks for found in chunk.misfits
        )
        return (parts[0] if len(parts) == 1 else pl.concat(parts, how="diagonal_relaxed")), misfits

    def _call(self, joined: pl.DataFrame, values: dict[str, Any]) -> Outcome:
        """User code runs in here, and what it gives is checked and packed."""
        if joined.is_empty():
            return Outcome(0, 0)
        source, definition = self.code.source, self.code.definition
        batch = joined[[name for name in joined.columns if name not in HIDDEN]]
        kept = tuple(dict.fromkeys(name for name in (source.key, source.event_time, source.known) if name))
        called = call(definition, self.code.fn, batch, values, kept=kept, holds=self.code.holds)
        failed = [found.row for found in called.errors]
        dead = tuple(_dead(joined, found.row, "error", _shown(found.error)) for found in called.errors)
        if failed:
            batch = batch.filter(~pl.int_range(len(batch), eager=True).is_in(failed))
        out = called.rows
        left_out = filtered(definition.rows, source.key, batch, out) if len(batch) or len(out) else 0
        now_us = self._clock.now_us()
        shaped = self._shapes.shape(self.code.to, out, now_us)
        output = tuple(prepare(shaped.topic, shaped.rows, now_us)) if len(out) else ()
        return Outcome(len(out), left_out, dead, output, shape=shaped.fact)

    def _raised(
        self, todo: Plan, rows: pl.DataFrame, misfits: tuple[Dead, ...], error: BaseException, watermark_us: int | None
    ) -> Step:
        if rows.is_empty():  # only misfits were read: what raised is ours, not a row's
            raise error
        reason = "contract" if isinstance(error, SchemaError) and error.code == "HR1210" else "error"
        dead = _dead(rows, 0, reason, _shown(error))
        if todo.rows > 1 and len(rows) == 1:
            return self._done(todo, Outcome(0, 0, (*misfits, dead)), watermark_us)
        return owner.raised(self.state, todo, dead, watermark_us, self._clock.now_us())

    def _done(self, todo: Plan, outcome: Outcome, watermark_us: int | None) -> Step:
        return owner.ran(self.state, todo, outcome, watermark_us, self._clock.now_us())

    # -- around it -------------------------------------------------------------------------------------------------

    def _watermark(self, end: int, news: News) -> int | None:
        """How far the input is complete once everything before `end` is read."""
        if end < news.head(self.code.source.name, self.state.shard):
            return None
        return news.complete_us.get(self.code.source.name)

    def _progress(self, news: News, now_us: int, is_idle: bool) -> Step | None:
        """Event time moves on without rows: said at once when nothing else is to do, else once a second."""
        offset = self.state.offset
        if offset is None or self.state.is_stopped or self.state.until_us is not None:
            return None
        if not is_idle and now_us - self._progress_us < 1_000_000:
            return None
        step = self._changed(owner.progressed(self.state, self._watermark(offset, news), now_us))
        if step is not None:
            self._progress_us = now_us
        return step

    def _report_models(self, now_us: int) -> Step | None:
        for reference in self.code.definition.bind.values():
            if reference.kind != "model":
                continue
            last = next((number for name, number, _ in self.state.models if name == reference.name), 0)
            self._bound.fall_back(reference, last)
            version, problem = self._bound.model(reference)
            if version or problem:
                step = self._changed(owner.held(self.state, reference.name, version, problem, now_us))
                if step is not None:
                    return step
        return None

    def _start(self, news: News, since_us: int) -> tuple[int, str]:
        """Where to begin, and why there."""
        source, shard, start = self.code.source, self.state.shard, self.code.definition.start
        head = news.head(source.name, shard)
        if start == "earliest":
            return 0, "start is earliest"
        if start != "now":
            return self._log.first_at(source, shard, to_us(start), head), f"start is {start}"
        bind = self.code.definition.bind.values()
        moment_us = max([since_us, *(self._bound.since_us(reference) for reference in bind)])
        return self._log.first_appended(source, shard, moment_us, head), "all that it binds is there"

    def _changed(self, step: Step | None) -> Step | None:
        return step if step is not None and step.facts else None


def _dead(rows: pl.DataFrame, at: int, reason: str, error: str) -> Dead:
    row = rows.row(at, named=True)
    shown = {name: value for name, value in row.items() if name not in HIDDEN}
    return Dead(row[OFFSET], reason, error, msgspec.json.encode(shown).decode())


def _shown(error: BaseException) -> str:
    return f"{one_line(error)}\n{user_frames(error)}"
