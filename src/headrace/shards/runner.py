"""The loop of a stream process: every shard and trigger it owns takes a step, and one commit holds them all."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace.base.facts import Fact
from headrace.connectors.holdings import Holdings
from headrace.connectors.log import Log, history_topic
from headrace.connectors.shapes import Shapes
from headrace.definitions.project import OnEvent, TopicDef
from headrace.errors import HeadraceError, NotFoundError, StoreError, SupersededError
from headrace.graph.loaded import Loaded
from headrace.host.rights import Right, take_right
from headrace.ports import Append, Clock, EngineStore
from headrace.runs.facts import LogTaken
from headrace.shards.bound import BoundValues, Loader, load_champion
from headrace.shards.hand import HandFile
from headrace.shards.shard import News, ShardRunner, Sides, StreamCode
from headrace.shards.trigger import TriggerRunner
from headrace.storage.local import safe_name
from headrace.store.sql.reads import streams as stream_rows
from headrace.streams import trigger as trigger_steps
from headrace.streams.owner import Shard, Step, shard_log
from headrace.streams.trigger import TriggerStep, trigger_log

TICK_US = 50_000  # a tick commits after so long, however many shards have more to do
RETAKE_US = 200_000
QUIET_US = 10_000  # progress that nobody waits for is committed after so long without news
POLL_S = 0.5  # a lost ring costs this much, never a row


@dataclass(frozen=True, slots=True)
class Place:
    """What a process is to own: shard `number` of a stream, or (number None) a trigger of a pipeline."""

    name: str
    number: int | None = None
    slug: str = ""

    @property
    def log(self) -> str:
        return trigger_log(self.name, self.slug) if self.number is None else shard_log(self.name, self.number)


@dataclass(slots=True)
class _Owned:
    """A log that this process owns, and its runner. `head` is the seq of the last fact as we know it."""

    place: Place
    right: Right
    runner: ShardRunner | TriggerRunner
    head: int
    hand: HandFile | None = None
    problem: str = ""

    @property
    def log(self) -> str:
        return self.place.log


class StreamRunner:
    """Owns shards and triggers of one code version and moves them on. `tick` is one round.

    `since_us` is when this code was deployed: what was appended later is new to it. `ring` tells the engine of news.
    """

    def __init__(
        self,
        store: EngineStore,
        holdings: Holdings,
        loaded: Loaded,
        clock: Clock,
        *,
        locks: Path,
        name: str,
        since_us: int = 0,
        ring: Callable[[], None] = lambda: None,
        wake: Callable[[], None] = lambda: None,
        load: Loader | None = None,
    ) -> None:
        self._store, self._holdings, self._loaded, self._clock = store, holdings, loaded, clock
        self._locks, self._name, self._since_us, self._ring = locks, name, since_us, ring
        self._log: Log = holdings.log
        self._sides = Sides(self._log)
        self._shapes = Shapes(holdings.topic_columns)
        self._bound = BoundValues(
            holdings, load or (lambda model, number: load_champion(holdings, model, number)), wake
        )
        self._wanted: list[Place] = []
        self._owned: list[_Owned] = []
        self._news = News()
        self._changes = -1
        self._retake_us = 0
        self._topics: set[str] = set()
        self._quiet_from_us = 0
        self._is_told = False  # whether progress without news is committed

    def want(self, places: Sequence[Place]) -> None:
        """Own these from the next tick on, as soon as their last owner has let go."""
        for place in places:
            for topic in self._topics_of(place):
                self._topics.add(topic)
            if place.number is not None:
                for reference in self._stream(place.name).bind.values():
                    self._bound.want(reference.ref)
        self._wanted.extend(places)

    def tick(self) -> bool:
        """One round: take over, look, one step of each, one commit. False where there was nothing to do.

        Raises SupersededError where another process owns one of the logs: this one must end.
        """
        self._take_over()
        self._bound.adopt()
        is_news = self._look()
        steps = self._steps(is_idle=False)
        now_us = self._clock.monotonic_us()
        if steps or is_news:
            self._quiet_from_us, self._is_told = now_us + QUIET_US, False
        elif not self._is_told and now_us >= self._quiet_from_us:
            steps = self._steps(is_idle=True)
            self._is_told = not steps
        if steps:
            self._commit(steps)
        return bool(steps)

    @property
    def is_store_behind(self) -> bool:
        """Whether the store asks streams to wait until its write-ahead log is shorter again."""
        return self._store.wal_is_over_limit()

    @property
    def patience_s(self) -> float:
        """How long to sleep after a round without work: short while progress is still to be told."""
        return POLL_S if self._is_told else QUIET_US / 1e6

    def forget_hands(self) -> None:
        """Told to leave while user code runs. A signal handler may call it."""
        for owned in self._owned:
            if isinstance(owned.runner, ShardRunner):
                owned.runner.forget_hand()

    def close(self) -> None:
        """Let go of everything; the next owner goes on from the rows."""
        for owned in self._owned:
            if owned.hand is not None:
                owned.hand.close()
            owned.right.release()
        self._owned = []

    @property
    def is_complete(self) -> bool:
        """Whether everything that was wanted is owned."""
        return not self._wanted

    # -- looking ---------------------------------------------------------------------------------------------------

    def _look(self) -> bool:
        changes = self._store.change_count()
        if changes == self._changes:
            return False
        self._changes = changes
        self._bound.look()
        # Completeness first: rows that it speaks of are then certainly below the heads.
        complete_us = self._store.watermarks(self._loaded.project)
        self._news = News({topic: self._log.heads(topic) for topic in self._topics}, complete_us)
        return True

    # -- owning ----------------------------------------------------------------------------------------------------

    def _take_over(self) -> None:
        now_us = self._clock.monotonic_us()
        if not self._wanted or now_us < self._retake_us:
            return
        self._retake_us = now_us + RETAKE_US
        for place in tuple(self._wanted):
            base = self._locks / f"shard-{safe_name(place.log.partition(':')[2])}"
            right = take_right(base.with_name(base.name + ".lock"))
            if right is None:
                continue
            try:
                self._own(place, right, base.with_name(base.name + ".hand"))
            except BaseException:
                right.release()
                raise
            self._wanted.remove(place)

    def _own(self, place: Place, right: Right, hand_path: Path) -> None:
        head = self._store.head(place.log)
        # An epoch grows with the log, so it needs no counter of its own.
        facts: list[Fact] = [LogTaken(head + 1, self._name, self._clock.now_us())]
        if place.number is None:
            runner, hand = self._trigger(place), None
        else:
            hand = HandFile(hand_path)
            runner = self._shard(place, hand)
            step = runner.take_over()
            facts.extend(step.facts)
            runner.adopt(step.shard)
        head = self._store.commit([Append(place.log, head, tuple(facts))]).heads[place.log]
        if hand is not None:
            hand.drop()
        self._owned.append(_Owned(place, right, runner, head, hand))
        self._changes = -1

    def _shard(self, place: Place, hand: HandFile) -> ShardRunner:
        state = self._restored(place)
        code = self._code(place.name)
        return ShardRunner(state, code, self._log, self._sides, self._shapes, self._bound, hand, self._clock)

    def _restored(self, place: Place) -> Shard:
        number = place.number or 0
        stream = self._stream(place.name)
        shard = Shard(place.name, number, stream.definition.source.topic, self._holdings.code)
        row = stream_rows.shard(self._holdings.database, place.name, number)
        if row is None:
            return shard
        return Shard(
            stream=place.name,
            shard=number,
            topic=shard.topic,
            code=shard.code,
            n=row.next_batch,
            offset=row.next_offset,
            watermark_us=row.watermark_us,
            deaths=row.deaths,
            why=row.why or "",
            models=() if row.model is None else ((row.model, row.model_version or 0, row.model_problem or ""),),
        )

    def _trigger(self, place: Place) -> TriggerRunner:
        definition = self._trigger_definition(place)
        topic = self._holdings.topic(definition.topic)
        row = stream_rows.trigger(self._holdings.database, place.name, definition.slug)
        if row is not None:
            state = trigger_steps.restored(place.name, definition, row.offsets, row.held, row.expired, topic.partitions)
        else:
            heads = self._log.heads(topic.name)
            offsets = tuple(
                self._log.first_appended(topic, partition, self._since_us, heads.get(partition, 0))
                for partition in range(topic.partitions)
            )
            state = trigger_steps.fresh(place.name, definition, offsets)
        return TriggerRunner(state, topic, self._log, self._clock)

    # -- stepping --------------------------------------------------------------------------------------------------

    def _steps(self, *, is_idle: bool) -> list[tuple[_Owned, Step | TriggerStep]]:
        until_us = self._clock.monotonic_us() + TICK_US
        found: list[tuple[_Owned, Step | TriggerStep]] = []
        for owned in tuple(self._owned):
            # A shard whose rows may kill this process runs alone: its death must not take others' finished work along.
            is_suspect = isinstance(owned.runner, ShardRunner) and owned.runner.is_suspect
            if is_suspect and found:
                self._begin_with(owned)
                break
            step = self._step(owned, is_idle)
            while step is not None and not step.facts:  # nothing to commit yet: a batch was cut and goes again
                _adopt(owned.runner, step)
                step = self._step(owned, is_idle)
            if step is not None:
                found.append((owned, step))
            if (is_suspect and found) or self._clock.monotonic_us() > until_us:
                self._begin_with(self._owned[(self._owned.index(owned) + 1) % len(self._owned)])
                break
        return found

    def _begin_with(self, owned: _Owned) -> None:
        """The next round starts here, so that nobody is left out for ever."""
        at = self._owned.index(owned)
        self._owned = self._owned[at:] + self._owned[:at]

    def _step(self, owned: _Owned, is_idle: bool) -> Step | TriggerStep | None:
        if isinstance(owned.runner, ShardRunner):
            return owned.runner.work(self._news, self._since_us, is_idle=is_idle)
        if owned.problem:
            return None
        try:
            return owned.runner.work(self._news, is_idle=is_idle)
        except HeadraceError as error:
            owned.problem = str(error)
            print(f"{owned.log} stops: {error}", file=sys.stderr, flush=True)  # noqa: T201
            return None

    # -- committing ------------------------------------------------------------------------------------------------

    def _commit(self, steps: Sequence[tuple[_Owned, Step | TriggerStep]]) -> None:
        appends = [
            Append(owned.log, owned.head, step.facts, step.bodies if isinstance(step, Step) else {})
            for owned, step in steps
        ]
        try:
            self._store.commit(appends)
        except SupersededError:
            raise
        except StoreError:
            if not self._is_committed(steps):
                self._shapes.forget()
                raise
        self._shapes.settle()
        for owned, step in steps:
            owned.head += len(step.facts)
            _adopt(owned.runner, step)
        self._ring()

    def _is_committed(self, steps: Sequence[tuple[_Owned, Step | TriggerStep]]) -> bool:
        """After an error the outcome is unknown until the head was read: ours, as expected, or another's."""
        owned, step = steps[0]
        head = self._store.head(owned.log)
        if head == owned.head:
            return False
        stored = self._store.facts(owned.log, after=owned.head, limit=len(step.facts))
        if head == owned.head + len(step.facts) and type(stored[0].fact) is type(step.facts[0]):
            return True
        raise SupersededError(
            f"the last fact of this log is {head}, which this process has not written",
            where=owned.log,
            cure="another process owns this log: this one must stop acting for it",
        )

    # -- definitions -----------------------------------------------------------------------------------------------

    def _stream(self, name: str) -> Any:
        stream = self._loaded.streams.get(name)
        if stream is None:
            raise NotFoundError(f"this code has no stream {name!r}", cure="headrace check", code="HR2060")
        return stream

    def _trigger_definition(self, place: Place) -> OnEvent:
        pipeline = self._loaded.project.pipelines.get(place.name)
        for found in pipeline.triggers if pipeline is not None else ():
            if isinstance(found, OnEvent) and found.slug == place.slug:
                return found
        raise NotFoundError(f"the pipeline {place.name!r} has no trigger {place.slug!r}", cure="headrace check")

    def _code(self, name: str) -> StreamCode:
        stream = self._stream(name)
        definition = stream.definition
        topics = self._holdings.topics_of(definition.source)
        return StreamCode(
            definition=definition,
            fn=stream.fn,
            holds=tuple(stream.retry_on),
            source=topics[definition.source.topic],
            to=self._output(definition.to, definition.to_kind),
            sides=topics,
        )

    def _output(self, name: str, kind: str) -> TopicDef:
        return history_topic(self._loaded.project.tables[name]) if kind == "table" else self._holdings.topic(name)

    def _topics_of(self, place: Place) -> tuple[str, ...]:
        if place.number is None:
            return (self._trigger_definition(place).topic,)
        source = self._stream(place.name).definition.source
        return (source.topic, *(join.topic for join in source.joins))


def _adopt(runner: ShardRunner | TriggerRunner, step: Step | TriggerStep) -> None:
    if isinstance(runner, ShardRunner) and isinstance(step, Step):
        runner.adopt(step.shard)
    elif isinstance(runner, TriggerRunner) and isinstance(step, TriggerStep):
        runner.adopt(step.trigger)
