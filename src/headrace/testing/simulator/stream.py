"""What a simulated stream process owns: a stream that does with a row what stands in it, and the real trigger's owner.

A row is "ok", "filtered", "poison" (the function raises), "killer" (the process dies) or "away" (the function raises
what `retry_on=` names, as long as there are faults). An output row names the offset that it belongs to.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import msgspec
import polars as pl

from headrace.connectors.blob import APPENDED, OFFSET, PARTITION, TIME
from headrace.data.facts import TopicAppended
from headrace.definitions.project import OnEvent, TopicDef
from headrace.shards.batch import News, Part, Read, Ready
from headrace.shards.runner import Held, Owner
from headrace.shards.shard import ShardOwner
from headrace.shards.trigger import TriggerOwner
from headrace.store.sql.reads import streams as stream_rows
from headrace.streams import trigger as trigger_steps
from headrace.streams.owner import Dead, Hand, Outcome, Shard
from headrace.streams.place import Place
from headrace.testing.simulator.store import MemoryStore
from headrace.testing.simulator.world import Crash, World

SOURCE, OUTPUT, STREAM, EVENTS = "flights", "predictions", "score", "clicks"
KINDS = ("ok", "ok", "ok", "ok", "ok", "ok", "filtered", "poison", "killer", "away")


class AwayError(Exception):
    """What the function needs does not answer: the shard is held."""


class Row(NamedTuple):
    partition: int
    offset: int
    kind: str


class Life:
    """Whether a process is alive. User code that kills it gives nothing back to whoever called.

    `is_held`: one of its shards waits, and looks up by itself.
    """

    def __init__(self) -> None:
        self.is_over = self.is_held = False

    def end(self) -> None:
        self.is_over = True
        raise Crash

    def check(self) -> None:
        if self.is_over:
            raise Crash


class SimStream:
    """Implements `shards.batch.Stream` for the stream `score`. `blamed` counts, by row, the deaths that it had a part in."""

    holds = (AwayError,)

    def __init__(self, world: World, store: MemoryStore, life: Life, blamed: dict[tuple[int, int], int]) -> None:
        self.world, self.store, self.life, self.blamed = world, store, life, blamed
        self.is_shared = random.Random(f"{world.seed}/shared").random() < 0.5

    def missing(self) -> str:
        return ""

    def models(self, shard: Shard) -> list[tuple[str, int, str]]:
        self.life.check()
        return []

    def start(self, shard: Shard, news: News) -> tuple[int, str]:
        return 0, "simulated"

    def read(self, parts: Sequence[Part]) -> Read[list[Row]]:
        self.life.check()
        rows: list[Row] = []
        for shard, todo in parts:
            kinds = kinds_of(self.store, shard.shard)
            rows += [Row(shard.shard, offset, kinds[offset]) for offset in range(todo.first, todo.end)]
            if todo.is_given_up:
                self.world.saw["a row was given up after deaths"] += 1
        if len(parts) > 1:
            self.world.saw["several shards went through one call"] += 1
        return Read(rows, tuple(todo.rows for _, todo in parts), ((),) * len(parts))

    def ready(self, rows: list[Row], news: News) -> Ready[list[Row]]:
        return Ready(rows, {})

    def run(self, ready: Ready[list[Row]]) -> None:
        kinds = [row.kind for row in ready.rows]
        if "killer" in kinds or self.world.strikes("process dies in user code"):
            for partition, offset, _ in ready.rows:
                self.blamed[partition, offset] = self.blamed.get((partition, offset), 0) + 1
            self.life.end()
        if "away" in kinds and self.world.strikes("what a stream needs is away"):
            self.world.saw["a shard was held and tried again"] += 1
            self.life.is_held = True
            raise AwayError("simulated")
        if "poison" in kinds:
            raise ValueError("poison")

    def pack(self, ready: Ready[list[Row]], made: None, sizes: Sequence[int]) -> list[Outcome]:
        rows = iter(ready.rows)
        return [self._outcome([next(rows) for _ in range(size)]) for size in sizes]

    def _outcome(self, rows: list[Row]) -> Outcome:
        offsets = [row.offset for row in rows if row.kind in ("ok", "away")]
        if not offsets:
            return Outcome(0, len(rows))
        fact = TopicAppended(OUTPUT, rows[0].partition, len(offsets), self.world.now_us(), encoding="json")
        return Outcome(len(offsets), len(rows) - len(offsets), (), ((fact, msgspec.json.encode(offsets)),))

    def dead(self, rows: list[Row], at: int, reason: str, error: str) -> Dead:
        self.life.check()
        return Dead(rows[at].offset, reason, error, rows[at].kind)


class SimHand:
    """Implements `shards.batch.Hands`: what a dead process held is there for the next."""

    def __init__(self, hands: dict[str, Hand], log: str, life: Life) -> None:
        self.hands, self.log, self.life = hands, log, life

    def left(self) -> Hand | None:
        return self.hands.get(self.log)

    def take(self, hand: Hand) -> None:
        self.hands[self.log] = hand

    def drop(self) -> None:
        if not self.life.is_over:
            self.hands.pop(self.log, None)

    def close(self) -> None:
        return


class SimLog:
    """As much of `connectors.log.Log` as a trigger reads: a batch's body is the event times of its rows."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store

    def rows(self, topic: TopicDef, partition: int, first: int, end: int) -> Any:
        times = pl.Series(times_of(self.store)[first:end], dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))
        frame = pl.DataFrame(
            {
                TIME: times,
                PARTITION: pl.Series([partition] * len(times), dtype=pl.Int32),
                OFFSET: pl.Series(range(first, first + len(times)), dtype=pl.Int64),
                APPENDED: times,  # none of them lies ahead of the clock
            }
        )
        return _Frame(frame)


class _Frame(NamedTuple):
    frame: pl.DataFrame


class SimParts:
    """Implements `shards.runner.Parts` for one process. `rights` says who holds which log."""

    def __init__(
        self,
        world: World,
        store: MemoryStore,
        trigger: OnEvent | None,
        *,
        life: Life,
        rights: dict[str, Life],
        hands: dict[str, Hand],
        blamed: dict[tuple[int, int], int],
    ) -> None:
        self.world, self.store, self.trigger = world, store, trigger
        self.life, self.rights, self.hands = life, rights, hands
        self.stream = SimStream(world, store, life, blamed)

    def right(self, place: Place) -> Held | None:
        holder = self.rights.get(place.log)
        if holder is not None and not holder.is_over and holder is not self.life:
            return None
        self.rights[place.log] = self.life
        return SimRight(self.rights, place.log, self.life)

    def owner(self, place: Place) -> Owner:
        if place.number is None:
            return self._trigger(place)
        hand = SimHand(self.hands, place.log, self.life)
        return ShardOwner(self._shard(place.number), self.stream, hand, self.world)

    def look(self) -> News:
        heads: dict[str, dict[int, int]] = {}
        for topic, partition, end in self.store.database.read("SELECT topic, partition, next FROM topic_parts"):
            heads.setdefault(topic, {})[partition] = end
        sql = "SELECT name, complete_through_us FROM topics WHERE complete_through_us IS NOT NULL"
        return News(heads, dict(self.store.database.read(sql)))

    def adopt(self) -> None:
        return

    def settle(self, is_committed: bool) -> None:
        return

    def _shard(self, number: int) -> Shard:
        row = stream_rows.shard(self.store.database, STREAM, number)
        if row is None:
            return Shard(STREAM, number, SOURCE, "c1")
        return Shard(
            STREAM, number, SOURCE, "c1", row.next_batch, row.next_offset, row.watermark_us, row.deaths, row.why or ""
        )

    def _trigger(self, place: Place) -> Owner:
        assert self.trigger is not None
        row = stream_rows.trigger(self.store.database, place.name, place.slug)
        if row is None:
            state = trigger_steps.fresh(place.name, self.trigger, (0,))
        else:
            state = trigger_steps.restored(place.name, self.trigger, row.offsets, row.held, row.expired, 1)
        return TriggerOwner(state, TopicDef(EVENTS, partitions=1), cast("Any", SimLog(self.store)), self.world)


class SimRight:
    def __init__(self, rights: dict[str, Life], log: str, life: Life) -> None:
        self.rights, self.log, self.life = rights, log, life

    def release(self) -> None:
        if self.rights.get(self.log) is self.life:
            del self.rights[self.log]


def kinds_of(store: MemoryStore, partition: int) -> list[str]:
    return [kind for body in bodies(store, SOURCE, partition) for kind in msgspec.json.decode(body, type=list[str])]


def times_of(store: MemoryStore) -> list[int]:
    return [time for body in bodies(store, EVENTS, 0) for time in msgspec.json.decode(body, type=list[int])]


def bodies(store: MemoryStore, topic: str, partition: int) -> list[bytes]:
    rows = store.database.read(
        "SELECT body FROM topic_blobs JOIN topic_bodies ON body_id = topic_bodies.id"
        " WHERE topic = ? AND partition = ? ORDER BY first",
        (topic, partition),
    )
    return [body for (body,) in rows]
