"""A batch: offsets of one shard or of several, which are read, joined, called and packed as one, with a step for each.

Everything that reads, runs user code or outlives the process comes in through `Stream` and `Hands`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, Protocol, TypeVar

import polars as pl

from headrace.definitions.nodes import DatasetRef
from headrace.errors import CodecError, DamagedError, SchemaError, StoreError
from headrace.executors.tracebacks import one_line, told
from headrace.streams.contract import ContractError
from headrace.streams.facts import Bound
from headrace.streams.owner import Dead, Hand, Outcome, Plan, Shard, Step

if TYPE_CHECKING:
    from headrace.shards.shard import ShardOwner

R = TypeVar("R", bound=Sized)
SHARED_ROWS = 8_192
"""So many rows of several shards always go through one call; more where each of them has learnt that they fit a batch."""
UNREADABLE = (SchemaError, CodecError, DamagedError, pl.exceptions.PolarsError)
"""What is read does not fit what is declared, or not together, or is damaged: no row's fault, and it stays so."""


@dataclass(slots=True)
class News:
    """What the process has last seen of the store: heads of topics, how far they are complete, versions of tables."""

    heads: Mapping[str, Mapping[int, int]] = field(default_factory=dict[str, dict[int, int]])
    complete_us: Mapping[str, int] = field(default_factory=dict[str, int])
    tables: Mapping[DatasetRef, int] = field(default_factory=dict[DatasetRef, int])

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
    def run(self, ready: Ready[R]) -> Any:
        """What the user's function makes of the rows, of which there is at least one."""
        ...

    def pack(self, ready: Ready[R], made: Any, sizes: Sequence[int]) -> list[Outcome]:
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


class Job(NamedTuple, Generic[R]):
    """What one owner wants done next."""

    owner: ShardOwner[R]
    todo: Plan


class Batch(Generic[R]):
    """The jobs of shards of one stream, done as one."""

    def __init__(self, jobs: Sequence[Job[R]]) -> None:
        self._jobs = jobs
        self._stream, self._clock = jobs[0].owner.stream, jobs[0].owner.clock
        self._read: Read[R] | None = None
        self._at: Literal["reading", "calling", "packing", "counting"] = "reading"
        self._users: BaseException | None = None  # what user code has let out

    def steps(self, news: News) -> list[Step]:
        """A step for each. Raises whatever goes wrong."""
        begun_us = self._clock.monotonic_us()
        self._read = read = self._stream.read([Part(job.owner.state, job.todo) for job in self._jobs])
        if self._jobs[0].todo.is_given_up:
            ready, outcomes = Ready(read.rows, {}), [self._given_up(read)]
        else:
            ready = self._stream.ready(read.rows, news)
            self._at = "calling"
            outcomes = self._outcomes(ready, read.sizes)
        self._at = "counting"
        steps: list[Step] = []
        for job, found, misfits in zip(self._jobs, outcomes, read.misfits, strict=True):
            outcome = replace(found, dead=(*misfits, *found.dead), bound=ready.bound, sides=ready.sides)
            steps.append(job.owner.done(job.todo, outcome, news))
        took_us, rows = self._clock.monotonic_us() - begun_us, sum(job.todo.rows for job in self._jobs)
        for job in self._jobs:
            job.owner.size = job.owner.size.after(rows, took_us=took_us)
        return steps

    def failed(self, error: BaseException, news: News) -> Step:
        """What follows where there is one job. Raises the error where neither rows nor what is read are to blame."""
        (job,) = self._jobs
        if self._read is not None and error is self._users:
            return job.owner.raised(job.todo, self._read, error, news)
        if isinstance(error, DamagedError) or (self._at == "reading" and isinstance(error, UNREADABLE)):
            return job.owner.stopped(one_line(error))
        if self._read is None or self._at != "packing" or isinstance(error, StoreError):
            raise error
        if isinstance(error, ContractError):
            return job.owner.stopped(told(str(error)))
        return job.owner.raised(job.todo, self._read, error, news)  # what the function gave does not fit

    def _outcomes(self, ready: Ready[R], sizes: Sequence[int]) -> list[Outcome]:
        if not len(ready.rows):
            return [Outcome(0, 0) for _ in sizes]
        try:
            for job in self._jobs:
                job.owner.hand.take(Hand(job.todo.first, job.todo.end, job.owner.state.suspect_end is not None))
            made = self._called(ready)
        finally:
            for job in self._jobs:
                job.owner.hand.drop()
        self._at = "packing"
        return self._stream.pack(ready, made, sizes)

    def _called(self, ready: Ready[R]) -> Any:
        try:
            return self._stream.run(ready)
        except BaseException as error:
            self._users = error
            raise

    def _given_up(self, read: Read[R]) -> Outcome:
        why = "the process died on this row"
        return Outcome(0, 0, tuple(self._stream.dead(read.rows, at, "crashed", why) for at in range(len(read.rows))))


def alone(job: Job[R], news: News) -> Step:
    """The step of one shard. User code runs in here."""
    batch = Batch([job])
    try:
        (step,) = batch.steps(news)
    except BaseException as error:  # also a CancelledError or KeyboardInterrupt that user code lets out
        return batch.failed(error, news)
    return step


def together(jobs: Mapping[int, Job[Any]], news: News, until_us: int) -> dict[int, Step]:
    """The steps of those who went through a call together, by their number; whoever is not in it works alone.

    What a call costs by itself is paid once for the batches of several shards of a stream. After `until_us` of the
    monotonic clock none begins.
    """
    groups: dict[int, dict[int, Job[Any]]] = {}
    for number, job in jobs.items():
        groups.setdefault(id(job.owner.stream), {})[number] = job
    steps: dict[int, Step] = {}
    for group in groups.values():
        few = list(group.values())
        if steps and few[0].owner.clock.monotonic_us() > until_us:
            break
        if len(few) > 1 and _is_one_batch(few):
            try:
                steps |= zip(group, Batch(few).steps(news), strict=True)
            except BaseException:  # whatever it is: each by itself will meet it, and then it is known whose it is
                continue
    return steps


def _is_one_batch(jobs: Sequence[Job[Any]]) -> bool:
    """Whether the rows of all of them are no more than one batch of any of them may take."""
    return sum(job.todo.rows for job in jobs) <= max(SHARED_ROWS, min(job.owner.size.rows for job in jobs))
