"""The owner of one shard: says what it does next, and makes the steps to commit of what comes of it."""

from __future__ import annotations

from collections.abc import Sized
from typing import Generic, TypeVar

from headrace.errors import SchemaError
from headrace.executors.tracebacks import one_line, user_frames
from headrace.ports import Clock
from headrace.shards.batch import UNREADABLE, Hands, Job, News, Read, Stream, alone
from headrace.streams import owner
from headrace.streams.owner import Outcome, Plan, Shard, Step
from headrace.streams.sizing import BatchSize

R = TypeVar("R", bound=Sized)
PROGRESS_EVERY_US = 1_000_000
SURVIVED_US = 5_000_000  # who has lived so long is not held by what killed its predecessor


class ShardOwner(Generic[R]):
    """One shard, but for the committing: `work` gives the next step, `adopt` takes it once it is committed."""

    def __init__(self, state: Shard, stream: Stream[R], hand: Hands, clock: Clock) -> None:
        self.state = state
        self.size = BatchSize()
        self.stream, self.hand, self.clock = stream, hand, clock
        self._progress_us = self._rests_until_us = 0  # by the monotonic clock, as every deadline
        self._began_us = clock.monotonic_us()

    def take_over(self) -> Step:
        """The first step of a new owner."""
        return owner.taken(self.state, self.hand.left(), self.clock.now_us())

    @property
    def is_suspect(self) -> bool:
        """Whether the rows it is at have killed a process or raised."""
        return self.state.deaths > 0 or self.state.suspect_end is not None

    def adopt(self, step: Step) -> None:
        if step.shard.tries > self.state.tries:
            self._rests_until_us = self.clock.monotonic_us() + owner.rest_us(step.shard)
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
            return None if self.state.is_stopped else self._start(news, now_us)
        todo = self._plan(news)
        if todo is not None:
            return alone(Job(self, todo), news)
        return self._progress(news, now_us, is_idle)

    def _start(self, news: News, now_us: int) -> Step:
        try:
            offset, why = self.stream.start(self.state, news)
        except UNREADABLE as error:
            return self.stopped(one_line(error))
        return owner.started(self.state, offset, why, now_us)

    # -- the batch -------------------------------------------------------------------------------------------------

    def shared(self, news: News) -> Job[R] | None:
        """The next batch, if it may go through one call with those of other shards."""
        if not self.stream.is_shared or self.is_suspect or self.state.offset is None or self.stream.missing():
            return None
        now_us = self.clock.now_us()
        if any(owner.held(self.state, *model, now_us).facts for model in self.stream.models(self.state)):
            return None
        todo = self._plan(news)
        return None if todo is None else Job(self, todo)

    def _plan(self, news: News) -> Plan | None:
        if self.state.tries and self.clock.monotonic_us() < self._rests_until_us:
            return None
        return owner.plan(self.state, news.head(self.state.topic, self.state.shard), self.size.rows)

    def done(self, todo: Plan, outcome: Outcome, news: News) -> Step:
        """The batch has a result."""
        return owner.ran(self.state, todo, outcome, self._watermark(todo.end, news), self.clock.now_us())

    def stopped(self, why: str) -> Step:
        return owner.stopped(self.state, why, self.clock.now_us())

    def raised(self, todo: Plan, read: Read[R], error: BaseException, news: News) -> Step:
        """A row of the batch is to blame."""
        if isinstance(error, self.stream.holds):
            return owner.retrying(self.state, one_line(error), self.clock.now_us())
        reason = "contract" if isinstance(error, SchemaError) and error.code == "HR1210" else "error"
        dead = self.stream.dead(read.rows, 0, reason, shown(error))
        if todo.rows > 1 and len(read.rows) == 1:
            return self.done(todo, Outcome(0, 0, (*read.misfits[0], dead)), news)
        return owner.raised(self.state, todo, dead, self._watermark(todo.end, news), self.clock.now_us())

    # -- around it -------------------------------------------------------------------------------------------------

    def _watermark(self, end: int, news: News) -> int | None:
        """How far the input is complete once everything before `end` is read."""
        if end < news.head(self.state.topic, self.state.shard):
            return None
        return news.complete_us.get(self.state.topic)

    def _progress(self, news: News, now_us: int, is_idle: bool) -> Step | None:
        """Event time moves on without rows: said at once when nothing else is to do, else once a second."""
        offset = self.state.offset
        if offset is None or self.state.is_stopped or self.state.tries:
            return None
        mono_us = self.clock.monotonic_us()
        # Another shard of this process may kill it at once, as it may have killed the one before.
        if self.state.why and (is_idle or mono_us - self._began_us >= SURVIVED_US):
            return owner.gone_on(self.state, now_us)
        if not is_idle and mono_us - self._progress_us < PROGRESS_EVERY_US:
            return None
        step = _changed(owner.progressed(self.state, self._watermark(offset, news), now_us))
        if step is not None:
            self._progress_us = mono_us
        return step


def shown(error: BaseException) -> str:
    """An error as it stands in a dead letter: one line, and where in the user's code it came from."""
    return f"{one_line(error)}\n{user_frames(error)}"


def _changed(step: Step) -> Step | None:
    return step if step.facts else None
