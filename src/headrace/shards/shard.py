"""The owner of one shard: asks its stream for rows and results, and makes of them the steps to commit.

Everything that reads, runs user code or outlives the process comes in through `Stream` and `Hands`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from typing import Generic, NamedTuple, Protocol, TypeVar

import polars as pl

from headrace.errors import CodecError, SchemaError
from headrace.executors.tracebacks import one_line, told, user_frames
from headrace.ports import Clock
from headrace.streams import owner
from headrace.streams.contract import ContractError
from headrace.streams.facts import Bound
from headrace.streams.owner import Dead, Hand, Outcome, Plan, Shard, Step
from headrace.streams.sizing import BatchSize

R = TypeVar("R", bound=Sized)
PROGRESS_EVERY_US = 1_000_000


@dataclass(slots=True)
class News:
    """What the process has last seen of the store: heads of topics, and how far they are complete."""

    heads: Mapping[str, Mapping[int, int]] = field(default_factory=dict[str, dict[int, int]])
    complete_us: Mapping[str, int] = field(default_factory=dict[str, int])

    def head(self, topic: str, partition: int) -> int:
        return self.heads.get(topic, {}).get(partition, 0)


class Part(NamedTuple):
    """A batch of one shard."""

    shard: Shard
    todo: Plan


class Read(NamedTuple, Generic[R]):
    """The rows of some parts in their order; by part how many there are, and a dead letter per record that is no row."""

    rows: R
    sizes: tuple[int, ...]
    misfits: tuple[tuple[Dead, ...], ...]


class Ready(NamedTuple, Generic[R]):
    """Rows with all that the function is given besides: what is joined and bound, and which versions that is."""

    rows: R
    values: Mapping[str, object]
    bound: tuple[Bound, ...] = ()
    sides: Mapping[str, int] = {}


class Stream(Protocol[R]):
    """A stream as the owners of its shards see it. User code runs in `run`, and nowhere else."""

    @property
    def is_shared(self) -> bool:
        """Whether batches of several shards may go through one call: row i out belongs to row i in."""
        ...

    @property
    def holds(self) -> tuple[type[BaseException], ...]:
        """Exceptions that hold the shard."""
        ...

    def missing(self) -> str:
        """What it waits for, in words; "" where all that it binds is there."""
        ...

    def models(self, shard: Shard) -> list[tuple[str, int, str]]:
        """(model, version in use, problem with a newer one) of every model that it binds."""
        ...

    def start(self, shard: Shard, news: News) -> tuple[int, str]:
        """Where to begin, and why there."""
        ...

    def read(self, parts: Sequence[Part]) -> Read[R]: ...
    def ready(self, rows: R, news: News) -> Ready[R]: ...
    def run(self, ready: Ready[R], sizes: Sequence[int]) -> list[Outcome]:
        """What became of each part, by its size in the rows; several only where the stream is shared."""
        ...

    def dead(self, rows: R, at: int, reason: str, error: str) -> Dead:
        """Row `at` as a dead letter."""
        ...


class Hands(Protocol):
    """What the owner has in hand while user code runs; it outlives the process. `shards.hand.HandFile` is one."""

    def left(self) -> Hand | None: ...
    def take(self, hand: Hand) -> None: ...
    def drop(self) -> None: ...
    def close(self) -> None: ...


class ShardOwner(Generic[R]):
    """One shard, but for the committing: `work` gives the next step, `adopt` takes it once it is committed."""

    def __init__(self, state: Shard, stream: Stream[R], hand: Hands, clock: Clock) -> None:
        self.state = state
        self.size = BatchSize()
        self.stream, self.hand, self.clock = stream, hand, clock
        self._progress_us = 0

    def take_over(self) -> Step:
        """The first step of a new owner."""
        return owner.taken(self.state, self.hand.left(), self.clock.now_us())

    @property
    def is_suspect(self) -> bool:
        """Whether the rows it is at have killed a process or raised."""
        return self.state.deaths > 0 or self.state.suspect_end is not None

    def adopt(self, step: Step) -> None:
        self.state = step.shard

    def drop_hand(self) -> None:
        """If this process ends from here on before its batch does, no row is to blame for it."""
        self.hand.drop()

    def close(self) -> None:
        self.hand.close()

    def work(self, news: News, *, is_idle: bool) -> Step | None:
        """The next step, or None where there is nothing to do. User code runs in here."""
        now_us = self.clock.now_us()
        for model, version, problem in self.stream.models(self.state):
            reported = _changed(owner.held(self.state, model, version, problem, now_us))
            if reported is not None:
                return reported
        missing = self.stream.missing()
        if missing:
            return _changed(owner.waiting(self.state, missing, now_us)) if self.state.offset is None else None
        if self.state.offset is None:
            offset, why = self.stream.start(self.state, news)
            return owner.started(self.state, offset, why, now_us)
        todo = owner.plan(self.state, news.head(self.state.topic, self.state.shard), self.size.rows, now_us)
        if todo is not None:
            return self._batch(todo, news)
        return self._progress(news, now_us, is_idle)

    # -- the batch -------------------------------------------------------------------------------------------------

    def _batch(self, todo: Plan, news: News) -> Step:
        begun_us = self.clock.monotonic_us()
        watermark_us = self._watermark(todo.end, news)
        try:
            rows, sizes, (misfits,) = self.stream.read([Part(self.state, todo)])
            if todo.is_given_up:
                why = "the process died on this row"
                crashed = tuple(self.stream.dead(rows, at, "crashed", why) for at in range(len(rows)))
                return self._done(todo, Outcome(0, 0, (*misfits, *crashed)), watermark_us)
            ready = self.stream.ready(rows, news)
        except (SchemaError, CodecError, pl.exceptions.PolarsError) as error:
            # No row's fault: what is read does not fit what is declared, or not together.
            return owner.stopped(self.state, one_line(error), self.clock.now_us())
        try:
            self.hand.take(Hand(todo.first, todo.end, self.state.suspect_end is not None))
            (outcome,) = self.stream.run(ready, sizes)
        except ContractError as error:
            return owner.stopped(self.state, told(str(error)), self.clock.now_us())
        except self.stream.holds as error:
            return owner.retrying(self.state, one_line(error), self.clock.now_us())
        except BaseException as error:  # also a CancelledError or KeyboardInterrupt that user code lets out
            return self._raised(todo, rows, misfits, error, watermark_us)
        finally:
            self.hand.drop()
        return self.ran(todo, outcome, misfits, ready, news, begun_us)

    def shared(self, news: News) -> Plan | None:
        """The next batch, if it may go through one call with those of other shards."""
        if not self.stream.is_shared or self.is_suspect or self.state.offset is None or self.stream.missing():
            return None
        now_us = self.clock.now_us()
        if any(owner.held(self.state, *model, now_us).facts for model in self.stream.models(self.state)):
            return None
        return owner.plan(self.state, news.head(self.state.topic, self.state.shard), self.size.rows, now_us)

    def ran(
        self, todo: Plan, outcome: Outcome, misfits: tuple[Dead, ...], ready: Ready[R], news: News, begun_us: int
    ) -> Step:
        """The batch went through."""
        outcome = replace(outcome, dead=(*misfits, *outcome.dead), bound=ready.bound, sides=ready.sides)
        step = self._done(todo, outcome, self._watermark(todo.end, news))
        self.size = self.size.after(todo.rows, took_us=self.clock.monotonic_us() - begun_us)
        return step

    def _raised(
        self, todo: Plan, rows: R, misfits: tuple[Dead, ...], error: BaseException, watermark_us: int | None
    ) -> Step:
        if not len(rows):  # only misfits were read: what raised is ours, not a row's
            raise error
        reason = "contract" if isinstance(error, SchemaError) and error.code == "HR1210" else "error"
        dead = self.stream.dead(rows, 0, reason, shown(error))
        if todo.rows > 1 and len(rows) == 1:
            return self._done(todo, Outcome(0, 0, (*misfits, dead)), watermark_us)
        return owner.raised(self.state, todo, dead, watermark_us, self.clock.now_us())

    def _done(self, todo: Plan, outcome: Outcome, watermark_us: int | None) -> Step:
        return owner.ran(self.state, todo, outcome, watermark_us, self.clock.now_us())

    # -- around it -------------------------------------------------------------------------------------------------

    def _watermark(self, end: int, news: News) -> int | None:
        """How far the input is complete once everything before `end` is read."""
        if end < news.head(self.state.topic, self.state.shard):
            return None
        return news.complete_us.get(self.state.topic)

    def _progress(self, news: News, now_us: int, is_idle: bool) -> Step | None:
        """Event time moves on without rows: said at once when nothing else is to do, else once a second."""
        offset = self.state.offset
        if offset is None or self.state.is_stopped or self.state.until_us is not None:
            return None
        if not is_idle and now_us - self._progress_us < PROGRESS_EVERY_US:
            return None
        step = _changed(owner.progressed(self.state, self._watermark(offset, news), now_us))
        if step is not None:
            self._progress_us = now_us
        return step


def shown(error: BaseException) -> str:
    """An error as it stands in a dead letter: one line, and where in the user's code it came from."""
    return f"{one_line(error)}\n{user_frames(error)}"


def _changed(step: Step) -> Step | None:
    return step if step.facts else None
