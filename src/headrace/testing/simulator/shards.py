"""A stream over two partitions: the shard owner's real step in simulated processes that die, are cut off and return.

A row says in its body what the function does with it: "ok", "filtered", "poison" (it raises) or "killer" (the process
dies). An output row names the offset that it belongs to, so that the output can be compared with the input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgspec

from headrace.data.facts import TopicAppended
from headrace.errors import StoreError, SupersededError
from headrace.ports import Append
from headrace.runs.facts import LogTaken
from headrace.store.sql.engine_store import EngineSqlStore
from headrace.streams import owner
from headrace.streams.owner import Dead, Hand, Outcome, Plan, Shard, Step
from headrace.testing.auditor import Violation
from headrace.testing.simulator.draw import Draw
from headrace.testing.simulator.engines import DiedByItselfError
from headrace.testing.simulator.faults import FaultyStore
from headrace.testing.simulator.world import SECOND, Crash, World

SOURCE, OUTPUT, STREAM = "flights", "predictions", "score"
PARTITIONS = 2
KINDS = ("ok", "ok", "ok", "ok", "ok", "ok", "filtered", "poison", "killer")


@dataclass
class Streams:
    """All stream processes there ever were, and what the dead ones held in hand."""

    world: World
    drawn: Draw
    store: EngineSqlStore
    hands: dict[int, Hand] = field(default_factory=dict[int, Hand])
    acting: StreamProcess | None = None
    processes: list[StreamProcess] = field(default_factory=list["StreamProcess"])

    def plan(self) -> None:
        if not self.drawn.has("streams"):
            return
        for _ in range(self.world.rng.randint(3, 10)):
            self.world.after(self.world.within(0, self.drawn.length_s * SECOND), self._append)
        self.begin()

    def begin(self) -> None:
        if self.acting is None or not self.acting.is_up:
            self.acting = StreamProcess(self, f"streams-{len(self.processes) + 1}")
            self.processes.append(self.acting)
            self.acting.begin()

    def begin_soon(self) -> None:
        self.world.after(self.world.within(10_000, 2 * SECOND), self.begin)

    def wake(self) -> None:
        if self.acting is not None:
            self.world.after(self.world.within(0, 50_000), self.acting.work)

    def is_settled(self) -> bool:
        rows = self.store.database.read(
            "SELECT p.partition FROM topic_parts p LEFT JOIN shards s ON s.shard = p.partition"
            " WHERE p.topic = ? AND (s.next_offset IS NULL OR s.next_offset < p.next) AND coalesce(s.is_stopped, 0) = 0",
            (SOURCE,),
        )
        return not rows or not self.drawn.has("streams")

    def _append(self) -> None:
        """A client appends rows; it is told when they are durable."""
        kinds = [self.world.rng.choice(KINDS) for _ in range(self.world.rng.randint(1, 8))]
        partition = self.world.rng.randrange(PARTITIONS)
        fact = TopicAppended(SOURCE, partition, len(kinds), self.world.now_us(), encoding="json")
        self.world.say(f"appends to {SOURCE}/{partition}: {kinds}")
        self.store.commit([Append("clients", None, (fact,), {0: msgspec.json.encode(kinds)})])
        self.wake()


class StreamProcess:
    """One process: it owns the shards' logs, reads, runs the function, and commits progress with output."""

    def __init__(self, streams: Streams, name: str) -> None:
        self.streams, self.name = streams, name
        self.world, self.drawn = streams.world, streams.drawn
        self.store = FaultyStore(streams.store, self.world, self.drawn)
        self.is_up, self.is_paused = True, False
        self.shards: dict[int, Shard] = {}
        self.heads: dict[int, int] = {}

    def begin(self) -> None:
        self.world.say(f"{self.name} starts")
        self._guarded(self._take)

    def work(self) -> None:
        if self.is_up and not self.is_paused:
            self._guarded(self._work)

    # -- inside --------------------------------------------------------------------------------------------------

    def _take(self) -> None:
        now_us = self.world.now_us()
        for number in range(PARTITIONS):
            shard = self._restored(number)
            self.heads[number] = self.store.head(shard.log)
            step = owner.taken(shard, self.streams.hands.pop(number, None), now_us)
            rows = self.streams.store.database.read("SELECT epoch FROM logs WHERE name = ?", (shard.log,))
            taken = LogTaken((rows[0][0] if rows else 0) + 1, self.name, now_us)
            self._commit({number: Step(step.shard, (taken, *step.facts))})
        self._work()

    def _restored(self, number: int) -> Shard:
        rows = self.streams.store.database.read(
            "SELECT next_batch, next_offset, watermark_us, deaths FROM shards WHERE stream = ? AND shard = ?",
            (STREAM, number),
        )
        n, offset, watermark_us, deaths = rows[0] if rows else (0, None, None, 0)
        return Shard(STREAM, number, SOURCE, "c1", n, offset, watermark_us, deaths)

    def _work(self) -> None:
        """One tick: a step of every shard that has one, in one commit."""
        steps: dict[int, Step] = {}
        for number, shard in tuple(self.shards.items()):
            is_suspect = shard.deaths > 0 or shard.suspect_end is not None
            if is_suspect and steps:
                # What may kill the process must not take the others' work with it.
                self._commit(steps)
                steps = {}
            step = self._step(number, shard)
            if step is not None:
                steps[number] = step
            if is_suspect and steps:
                self._commit(steps)
                self.world.after(self.world.within(1_000, 20_000), self.work)
                steps = {}
        if not steps:
            return
        if self.world.strikes("shard dies", self.drawn.rate("shard dies")):
            raise Crash
        if self.world.strikes("shard is cut off", self.drawn.rate("shard is cut off")):
            self._be_cut_off()
        self._commit(steps)
        self.world.after(self.world.within(1_000, 20_000), self.work)

    def _step(self, number: int, shard: Shard) -> Step | None:
        now_us = self.world.now_us()
        if shard.offset is None:
            return owner.started(shard, 0, "simulated", now_us)
        rows = self.streams.store.database.read(
            "SELECT next FROM topic_parts WHERE topic = ? AND partition = ?", (SOURCE, number)
        )
        todo = owner.plan(shard, rows[0][0] if rows else 0, 6, now_us)
        if todo is None:
            return None
        kinds = _kinds(self.streams.store, number)[todo.first : todo.end]
        if todo.is_given_up:
            self.world.saw["a row was given up after deaths"] += 1
            dead = tuple(Dead(todo.first + i, "crashed", "it kills", "") for i in range(len(kinds)))
            return owner.ran(shard, todo, Outcome(0, 0, dead), now_us, now_us)
        if "killer" in kinds:
            self.streams.hands[number] = Hand(todo.first, todo.end, shard.suspect_end is not None)
            raise Crash
        if "poison" in kinds:
            row = Dead(todo.first + kinds.index("poison"), "error", "ValueError: poison", "")
            return owner.raised(shard, todo, row, now_us, now_us)
        return owner.ran(shard, todo, _outcome(number, todo, kinds, now_us), now_us, now_us)

    def _commit(self, steps: dict[int, Step]) -> None:
        """Output, dead letters and progress of all shards: one transaction, or none of it."""
        with_facts = {number: step for number, step in steps.items() if step.facts}
        appends = [
            Append(step.shard.log, self.heads[number], step.facts, step.bodies) for number, step in with_facts.items()
        ]
        if appends:
            try:
                self.store.commit(appends)
            except SupersededError:
                raise
            except StoreError:
                for append in appends:
                    head = self.store.head(append.log)
                    if head == append.expected_seq:
                        if not steps.keys() <= self.shards.keys():
                            raise  # it does not own the shard yet: begin again
                        self.world.after(SECOND, self.work)
                        return
                    if head != (append.expected_seq or 0) + len(append.facts):
                        raise SupersededError("another process owns this shard") from None
                self.world.saw["a shard's commit of unknown outcome had happened"] += 1
            for number, step in with_facts.items():
                self.heads[number] += len(step.facts)
        self.shards |= {number: step.shard for number, step in steps.items()}

    def _be_cut_off(self) -> None:
        """Another process takes the shards between this one's step and its commit."""
        self.is_paused = True
        self.streams.acting = None
        self.store.is_hurt = True
        self.streams.begin()

    def _guarded(self, work: Callable[[], None]) -> None:
        self.store.is_hurt = False
        try:
            work()
        except Crash:
            self._end("killed")
        except (SupersededError, StoreError) as error:
            is_acting = self.streams.acting is self
            self._end(error.message)
            if isinstance(error, SupersededError):
                self.world.saw["an old stream process was refused"] += 1
            if is_acting and not self.store.is_hurt:
                raise DiedByItselfError(f"{self.name}: {error}") from error

    def _end(self, why: str) -> None:
        self.world.say(f"{self.name} ends: {why}")
        self.is_up = False
        if self.streams.acting is self or self.streams.acting is None:
            self.streams.begin_soon()


def _outcome(number: int, todo: Plan, kinds: list[str], now_us: int) -> Outcome:
    offsets = [todo.first + i for i, kind in enumerate(kinds) if kind == "ok"]
    output: tuple[tuple[TopicAppended, bytes], ...] = ()
    if offsets:
        fact = TopicAppended(OUTPUT, number, len(offsets), now_us, encoding="json")
        output = ((fact, msgspec.json.encode(offsets)),)
    return Outcome(len(offsets), len(kinds) - len(offsets), (), output)


def _kinds(store: EngineSqlStore, partition: int) -> list[str]:
    return [kind for body in _bodies(store, SOURCE, partition) for kind in msgspec.json.decode(body, type=list[str])]


def _bodies(store: EngineSqlStore, topic: str, partition: int) -> list[bytes]:
    rows = store.database.read(
        "SELECT body FROM topic_blobs JOIN topic_bodies ON body_id = topic_bodies.id"
        " WHERE topic = ? AND partition = ? ORDER BY first",
        (topic, partition),
    )
    return [body for (body,) in rows]


def check_output(store: EngineSqlStore) -> Iterator[Violation]:
    """T1, T4, T8: the output is the function of the input prefix that the offset names, in order; the rest is dead."""
    offsets: dict[int, int] = dict(
        store.database.read("SELECT shard, coalesce(next_offset, 0) FROM shards WHERE stream = ?", (STREAM,))
    )
    for partition, end in offsets.items():
        kinds = _kinds(store, partition)[:end]
        found = [
            offset for body in _bodies(store, OUTPUT, partition) for offset in msgspec.json.decode(body, type=list[int])
        ]
        wanted = [offset for offset, kind in enumerate(kinds) if kind == "ok"]
        rows = store.database.read(
            "SELECT offset FROM dead_letters WHERE stream = ? AND partition = ? ORDER BY offset", (STREAM, partition)
        )
        dead = [offset for (offset,) in rows]
        given_up = set(dead) & set(wanted)
        if found != [offset for offset in wanted if offset not in given_up]:
            yield Violation(
                "T1", "output is the reference over the input prefix", f"{partition}: {found}, not {wanted}"
            )
        bad = [offset for offset, kind in enumerate(kinds) if kind in ("poison", "killer")]
        if [offset for offset in dead if offset not in given_up] != bad or given_up:
            yield Violation("T8", "each poison row is one dead letter", f"{partition}: {dead}, not {bad}")
