"""Stream processes: the real loop and the real owners, which die, are cut off, let go, and are followed by others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import msgspec

from headrace.data.facts import TopicAppended
from headrace.definitions.project import OnEvent
from headrace.errors import DisagreementError, StoreError, SupersededError
from headrace.ports import Append, StreamStore
from headrace.shards.runner import POLL_S, StreamRunner
from headrace.streams.owner import Hand
from headrace.streams.place import Place
from headrace.testing.auditor.witness import Appended, Witness
from headrace.testing.simulator.cluster import Cluster
from headrace.testing.simulator.engines import DiedByItselfError
from headrace.testing.simulator.people import People
from headrace.testing.simulator.store import FaultyStore
from headrace.testing.simulator.stream import EVENTS, KINDS, SOURCE, STREAM, Life, SimParts
from headrace.testing.simulator.world import SECOND, Crash, World

PARTITIONS = 2
TICKS_AT_ONCE = 1_000
PAUSE_AFTER_ERROR_US = SECOND
HELD_US = 5 * SECOND


class Streams:
    """Clients who append, and one slot per process: a slot whose process has died gets another one."""

    def __init__(self, world: World, cluster: Cluster, witness: Witness) -> None:
        self.world, self.cluster, self.witness, self.store = world, cluster, witness, cluster.store
        self.hands: dict[str, Hand] = {}
        self.rights: dict[str, Life] = {}
        self.blamed: dict[tuple[int, int], int] = {}
        self.trigger: OnEvent | None = None
        self.slots: list[list[Place]] = []
        self.acting: list[StreamProcess | None] = []
        self.processes: list[StreamProcess] = []

    def plan(self, people: People) -> None:
        places: list[Place] = []
        if people.drawn.has("streams"):
            places += [Place(STREAM, number) for number in range(PARTITIONS)]
            for _ in range(people.rng.randint(3, 10)):
                people.plan_one(self._append_rows)
        if people.drawn.has("events"):
            pipeline = self.cluster.projects["c1"].pipelines["react"]
            self.trigger = next(trigger for trigger in pipeline.triggers if isinstance(trigger, OnEvent))
            places.append(Place("react", slug=self.trigger.slug))
            for _ in range(people.rng.randint(1, 6)):
                people.plan_one(self._append_events)
        count = people.rng.randint(1, 2)
        self.slots = [slot for n in range(count) if (slot := places[n::count])]
        self.acting = [None] * len(self.slots)
        for slot in range(len(self.slots)):
            self.begin(slot)

    def begin(self, slot: int) -> None:
        acting = self.acting[slot]
        if acting is None or not acting.is_up:
            process = StreamProcess(self, slot, f"streams-{len(self.processes) + 1}")
            self.processes.append(process)
            self.acting[slot] = process
            process.tick()

    def begin_soon(self, slot: int) -> None:
        self.acting[slot] = None
        self.world.after(self.world.within(10_000, 2 * SECOND), self.begin, slot)

    def wake(self) -> None:
        for process in self.acting:
            if process is not None:
                process.wake(SECOND if self.world.strikes("ring is lost") else self.world.within(0, 50_000))

    def settle(self) -> None:
        """Faults have stopped: who was cut off is gone, and every slot has its process."""
        for process in self.processes:
            if process not in self.acting:
                process.life.is_over = True
            process.is_paused = False
        for slot in range(len(self.slots)):
            self.begin(slot)
        self.wake()

    def is_settled(self) -> bool:
        ask = self.store.database.read
        unread = ask(
            "SELECT 1 FROM topic_parts p LEFT JOIN shards s ON s.stream = ? AND s.shard = p.partition WHERE p.topic = ?"
            " AND (s.next_offset IS NULL OR s.next_offset < p.next) AND coalesce(s.is_stopped, 0) = 0",
            (STREAM, SOURCE),
        )
        unfired = ask(
            "SELECT 1 FROM topic_parts p LEFT JOIN triggers t ON t.pipeline = 'react' WHERE p.topic = ?"
            " AND (t.offsets IS NULL OR json_extract(t.offsets, '$[0]') < p.next)",
            (EVENTS,),
        )
        return not unread and not unfired

    def _append_rows(self) -> None:
        rng = self.world.dice("rows")
        kinds = [rng.choice(KINDS) for _ in range(rng.randint(1, 8))]
        self._append(SOURCE, rng.randrange(PARTITIONS), kinds)

    def _append_events(self) -> None:
        rng = self.world.dice("events")
        now_us = self.world.now_us()
        self._append(EVENTS, 0, [now_us - rng.randint(0, 120) * SECOND for _ in range(rng.randint(1, 4))])

    def _append(self, topic: str, partition: int, rows: list[Any]) -> None:
        """A client appends; once it is told, the rows are durable."""
        body = msgspec.json.encode(rows)
        fact = TopicAppended(topic, partition, len(rows), self.world.now_us(), encoding="json")
        committed = self.store.commit([Append("clients", None, (fact,), {0: body})])
        stored: Any = committed.facts["clients"][0]
        self.witness.appended.append(Appended(topic, partition, stored.first, len(rows), body))
        self.world.say(f"appends to {topic}/{partition} at {stored.first}: {rows}")
        self.wake()
        self.cluster.wake()


class StreamProcess:
    """One process of a slot. `life` is over when it has died; one that is cut off lives on and comes back."""

    def __init__(self, streams: Streams, slot: int, name: str) -> None:
        self.streams, self.slot, self.name, self.world = streams, slot, name, streams.world
        self.life = Life()
        self.is_paused = False
        self._wake_us: int | None = None
        self.store = FaultyStore(
            streams.store, self.world, fault="stream process is cut off", supersede=self._be_cut_off
        )
        parts = SimParts(
            self.world, streams.store, streams.trigger,
            life=self.life, rights=streams.rights, hands=streams.hands, blamed=streams.blamed,
        )  # fmt: skip
        self.runner = StreamRunner(
            cast("StreamStore", self.store), parts, self.world, name=name, ring=streams.cluster.wake
        )
        self.runner.want(streams.slots[slot])
        self.world.say(f"{name} starts")

    @property
    def is_up(self) -> bool:
        return not self.life.is_over

    def wake(self, delay_us: int) -> None:
        due = self.world.mono_us + delay_us
        if self.is_up and not self.is_paused and (self._wake_us is None or due < self._wake_us):
            self._wake_us = due
            self.world.after(delay_us, self._woken, due)

    def tick(self) -> None:
        """As `shards.process.run`: rounds, a pause after an error, an end where another owns a log."""
        self.store.is_hurt = False
        self._guarded(self._tick)

    # -- inside --------------------------------------------------------------------------------------------------

    def _woken(self, due: int) -> None:
        if self._wake_us == due:
            self._wake_us = None
            if self.is_up and not self.is_paused:
                self.tick()

    def _tick(self) -> None:
        if self.world.strikes("stream process is told to leave"):
            self.runner.forget_hands()
            self._end("told to leave")
            return
        if self.world.strikes("stream process is paused"):
            self._be_cut_off()
            return
        try:
            is_busy = self.runner.tick()
        except SupersededError:
            raise
        except StoreError as error:
            if isinstance(error, DisagreementError) or not self.store.is_hurt:
                raise
            self.world.saw["a stream process tried its store again"] += 1
            self.wake(PAUSE_AFTER_ERROR_US)
            return
        if is_busy:
            self.wake(self.world.within(1_000, 20_000))
        elif not self.runner.is_complete:
            self.wake(self.world.within(200_000, SECOND))
        elif self.runner.patience_s < POLL_S:
            self.wake(int(self.runner.patience_s * SECOND))
        elif self.life.is_held:
            self.wake(HELD_US)

    def _be_cut_off(self) -> None:
        """Another process is given its rights between its step and its commit; it wakes up later."""
        self.is_paused = True
        for log in [log for log, life in self.streams.rights.items() if life is self.life]:
            del self.streams.rights[log]
        self.world.after(self.world.within(SECOND, 20 * SECOND), self._come_back)
        if self.streams.acting[self.slot] is self:
            self.streams.acting[self.slot] = None
            self.streams.begin(self.slot)

    def _come_back(self) -> None:
        self.is_paused = False
        if self.is_up:
            self.world.saw["a stream process came back"] += 1
            self.tick()

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Crash:
            self._end("killed")
        except (SupersededError, StoreError) as error:
            is_acting = self.streams.acting[self.slot] is self
            if isinstance(error, SupersededError):
                self.world.saw["an old stream process was refused"] += 1
            self._end(error.message)
            if is_acting and not (self.store.is_hurt or self.store.is_unsure):
                raise DiedByItselfError(f"{self.name}: {error}") from error
        except Exception as error:
            self._end(repr(error))
            raise DiedByItselfError(f"{self.name}: {error!r}") from error

    def _end(self, why: str) -> None:
        self.world.say(f"{self.name} ends: {why}")
        self.life.is_over = True
        self.runner.close()
        if self.streams.acting[self.slot] is self:
            self.streams.begin_soon(self.slot)
