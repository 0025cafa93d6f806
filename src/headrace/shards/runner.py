"""The loop of a stream process: every shard and trigger it owns takes a step, and one commit holds them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from headrace.base.facts import Fact
from headrace.data.facts import TopicShaped
from headrace.errors import StoreError, SupersededError
from headrace.host.failpoints import reach
from headrace.host.writer import Addition, Writer, append_all
from headrace.ports import Clock, StreamStore
from headrace.shards.batch import Job, News, together
from headrace.streams.place import Place

TICK_US = 50_000  # a tick commits after so long, however many shards have more to do
RETAKE_US = 200_000
QUIET_US = 10_000  # progress that nobody waits for is committed after so long without news
POLL_S = 0.5  # a lost ring costs this much, never a row


class Step(Protocol):
    """What an owner wants committed: facts for its log, and bytes by index into them."""

    @property
    def facts(self) -> tuple[Fact, ...]: ...
    @property
    def bodies(self) -> Mapping[int, bytes]: ...


class Owner(Protocol):
    """The owner of a shard (`shards.shard`) or of a trigger (`shards.trigger`), but for the committing."""

    @property
    def is_suspect(self) -> bool:
        """Whether what it does next may kill the process."""
        ...

    def take_over(self) -> Step: ...
    def shared(self, news: News) -> Job[Any] | None:
        """The next batch, if it may go through one call with those of other owners."""
        ...

    def work(self, news: News, *, is_idle: bool) -> Step | None:
        """The next step, or None where there is nothing to do. User code runs in here."""
        ...

    def adopt(self, step: Any) -> None:
        """The step that it gave last is committed."""
        ...

    def drop_hand(self) -> None: ...
    def close(self) -> None: ...


class Held(Protocol):
    """A right that is held."""

    def release(self) -> None: ...


class Parts(Protocol):
    """What the loop works with besides the store. `shards.project.ProjectParts` is one."""

    def right(self, place: Place) -> Held | None:
        """The right to own it, None while another process has that."""
        ...

    def owner(self, place: Place) -> Owner:
        """Its owner as the last one left it."""
        ...

    def look(self) -> News:
        """Somebody has written: what is there now."""
        ...

    def adopt(self) -> None:
        """Take over what threads have loaded since."""
        ...

    def settle(self, is_committed: bool) -> None:
        """How the commit of the last steps ended."""
        ...


@dataclass(slots=True)
class _Owned:
    """A log that this process owns."""

    writer: Writer
    right: Held
    owner: Owner


class StreamRunner:
    """Owns shards and triggers and moves them on. `tick` is one round. `ring` tells the engine of news."""

    def __init__(
        self, store: StreamStore, parts: Parts, clock: Clock, *, name: str, ring: Callable[[], None] = lambda: None
    ) -> None:
        self._store, self._parts, self._clock, self._name, self._ring = store, parts, clock, name, ring
        self._wanted: list[Place] = []
        self._owned: list[_Owned] = []
        self._news = News()
        self._changes = -1
        self._retake_us = 0
        self._quiet_from_us = 0
        self._is_told = False  # whether progress without news is committed
        self._round_us = 0  # when every owner was asked last
        self._refused: StoreError | None = None  # what one of them met while it read

    def want(self, places: Sequence[Place]) -> None:
        """Own these from the next tick on, as soon as their last owner has let go."""
        self._wanted.extend(places)

    def tick(self) -> bool:
        """One round: take over, look, one step of each, one commit. False where there was nothing to do.

        Raises SupersededError where another process owns one of the logs: this one must end. StoreError where the
        store refuses one of them; what the others have done is committed then, if it takes it.
        """
        self._take_over()
        self._parts.adopt()
        before = self._news
        is_written = self._look()
        is_news = self._news is not before
        now_us = self._clock.monotonic_us()
        if is_written and not is_news and self._is_told and now_us < self._round_us + POLL_S * 1e6:
            return False  # what others have written is nothing to the many shards here: they are at rest
        self._round_us = now_us
        steps = self._steps(is_idle=False)
        now_us = self._clock.monotonic_us()
        if steps or is_news:
            self._quiet_from_us, self._is_told = now_us + QUIET_US, False
        elif not self._is_told and now_us >= self._quiet_from_us:
            steps = self._steps(is_idle=True)
            self._is_told = not steps
        if steps:
            self._commit(steps)
        if self._refused is not None:
            refused, self._refused = self._refused, None
            raise refused
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
            owned.owner.drop_hand()

    def close(self) -> None:
        """Let go of everything; the next owner goes on from the rows."""
        for owned in self._owned:
            owned.owner.close()
            owned.right.release()
        self._owned = []

    @property
    def is_complete(self) -> bool:
        """Whether everything that was wanted is owned."""
        return not self._wanted

    # -- looking ---------------------------------------------------------------------------------------------------

    def _look(self) -> bool:
        """Whether somebody has written. `_news` is another object where what the owners here see has changed."""
        changes = self._store.change_count()
        if changes == self._changes:
            return False
        news = self._parts.look()
        if news != self._news:
            self._news = news
        self._changes = changes  # only now: what could not be read is looked at again
        return True

    # -- owning ----------------------------------------------------------------------------------------------------

    def _take_over(self) -> None:
        now_us = self._clock.monotonic_us()
        if not self._wanted or now_us < self._retake_us:
            return
        self._retake_us = now_us + RETAKE_US
        for place in tuple(self._wanted):
            right = self._parts.right(place)
            if right is None:
                continue
            try:
                self._own(place, right)
            except BaseException:
                right.release()
                raise
            self._wanted.remove(place)

    def _own(self, place: Place, right: Held) -> None:
        writer = Writer(self._store, place.log, self._name)
        writer.look()
        owner = self._parts.owner(place)
        try:
            step = owner.take_over()
            writer.take(self._clock.now_us(), step.facts)
        except BaseException:
            owner.close()
            raise
        owner.adopt(step)
        owner.drop_hand()
        self._owned.append(_Owned(writer, right, owner))
        self._changes, self._is_told = -1, False

    # -- stepping --------------------------------------------------------------------------------------------------

    def _steps(self, *, is_idle: bool) -> list[tuple[_Owned, Step]]:
        until_us = self._clock.monotonic_us() + TICK_US
        shared = self._shared(until_us) if not is_idle else {}
        found: list[tuple[_Owned, Step]] = [(self._owned[at], step) for at, step in shared.items()]
        for at, owned in enumerate(tuple(self._owned)):
            if at in shared:
                continue
            # A shard whose rows may kill this process runs alone: its death must not take others' finished work along.
            is_suspect = owned.owner.is_suspect
            if found and (is_suspect or self._clock.monotonic_us() > until_us):
                self._begin_with(owned)
                break
            try:
                step = self._step(owned.owner, is_idle=is_idle)
            except StoreError as error:  # what the others have done is committed before this is told
                self._refused = error
                self._begin_after(owned)
                break
            if step is not None:
                found.append((owned, step))
            if (is_suspect and found) or self._clock.monotonic_us() > until_us:
                self._begin_after(owned)
                break
        return found

    def _step(self, owner: Owner, *, is_idle: bool) -> Step | None:
        step = owner.work(self._news, is_idle=is_idle)
        while step is not None and not step.facts:  # nothing to commit yet: a batch was cut and goes again
            owner.adopt(step)
            step = owner.work(self._news, is_idle=is_idle)
        return step

    def _shared(self, until_us: int) -> Mapping[int, Step]:
        """Steps of several shards from one call; none while one of them may kill the process."""
        if any(owned.owner.is_suspect for owned in self._owned):
            return {}
        jobs = {at: owned.owner.shared(self._news) for at, owned in enumerate(self._owned)}
        return together({at: job for at, job in jobs.items() if job is not None}, self._news, until_us)

    def _begin_after(self, owned: _Owned) -> None:
        self._begin_with(self._owned[(self._owned.index(owned) + 1) % len(self._owned)])

    def _begin_with(self, owned: _Owned) -> None:
        """The next round starts here, so that nobody is left out for ever."""
        at = self._owned.index(owned)
        self._owned = self._owned[at:] + self._owned[:at]

    # -- committing ------------------------------------------------------------------------------------------------

    def _commit(self, steps: Sequence[tuple[_Owned, Step]]) -> None:
        """All of it in one transaction. One that is refused does not take the work of the others along."""
        reach("shard.before_commit")
        try:
            append_all(self._store, [Addition(owned.writer, step.facts, step.bodies) for owned, step in steps])
            reach("shard.after_commit")
        except SupersededError as error:
            self._commit_others(steps, error)
            raise
        except StoreError:
            self._parts.settle(False)
            raise
        self._parts.settle(True)
        for owned, step in steps:
            owned.owner.adopt(step)
        self._ring()

    def _commit_others(self, steps: Sequence[tuple[_Owned, Step]], refused: SupersededError) -> None:
        """This process ends now, but what its other shards have done is done."""
        others = [(owned, step) for owned, step in steps if owned.writer.log != refused.where]
        lost = [fact for owned, step in steps if owned.writer.log == refused.where for fact in step.facts]
        # Rows in columns that only the refused shard has brought would have none.
        if others and len(others) < len(steps) and not any(isinstance(fact, TopicShaped) for fact in lost):
            self._commit(others)
