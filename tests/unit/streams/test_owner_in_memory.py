"""The loop of a stream process with every part given: no file, no frame, no process; as a simulation drives it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import msgspec
import pytest

from headrace.data.facts import TopicAppended
from headrace.errors import SupersededError
from headrace.ports import Append
from headrace.runs.facts import LogTaken
from headrace.shards import batch, shard
from headrace.shards.batch import News, Part, Read, Ready
from headrace.shards.runner import TICK_US, Owner, Step, StreamRunner
from headrace.shards.shard import ShardOwner
from headrace.store.sql.engine_store import EngineSqlStore
from headrace.store.sql.reads import streams as stream_rows
from headrace.store.sql.reads import topics
from headrace.streams.owner import Dead, Hand, Outcome, Shard
from headrace.streams.place import Place
from headrace.streams.sizing import BatchSize
from headrace.streams.trigger import TriggerStep

PLACES = [Place("score", 0), Place("score", 1)]


class Killed(BaseException):
    """The process is gone: whatever it touches from here on raises."""


@dataclass
class StillClock:
    mono_us: int = 0

    def now_us(self) -> int:
        return 1

    def monotonic_us(self) -> int:
        return self.mono_us


class Right:
    def release(self) -> None: ...


@dataclass
class Host:
    """What outlives a process: the store, and what the dead had in hand."""

    store: EngineSqlStore
    hands: dict[int, Hand] = field(default_factory=dict[int, Hand])
    calls: list[int] = field(default_factory=list[int])
    call_us: int = 0
    refusing: set[int] = field(default_factory=set[int])  # shards whose hand cannot be written

    def append(self, partition: int, words: list[str]) -> None:
        fact = TopicAppended("events", partition, len(words), 1, encoding="json")
        self.store.commit([Append("clients", None, (fact,), {0: msgspec.json.encode(words)})])

    def words(self, topic: str, partition: int) -> list[str]:
        blobs = topics.blobs(self.store.database, topic, partition, 0)
        return [word for body in topics.bodies(self.store.database, blobs) for word in msgspec.json.decode(body)]

    def dead(self) -> list[tuple[str, str]]:
        return [(x.reason, x.payload) for x in stream_rows.dead_letters(self.store.database, "score")]


@dataclass
class HeldHand:
    host: Host
    number: int
    process: Process

    def left(self) -> Hand | None:
        return self.host.hands.get(self.number)

    def take(self, hand: Hand) -> None:
        if self.number in self.host.refusing:
            raise OSError("the disk refuses")
        self.host.hands[self.number] = hand

    def drop(self) -> None:
        self.process.live()
        self.host.hands.pop(self.number, None)

    def close(self) -> None: ...


@dataclass
class Words:
    """A stream of words in upper case: "poison" raises, "killer" takes the process along."""

    host: Host
    process: Process
    holds: tuple[type[BaseException], ...] = ()
    is_shared: bool = True

    def missing(self) -> str:
        return ""

    def models(self, shard: Shard) -> list[tuple[str, int, str]]:
        return []

    def start(self, shard: Shard, news: News) -> tuple[int, str]:
        return 0, "start is earliest"

    def read(self, parts: Sequence[Part]) -> Read[list[tuple[int, int, str]]]:
        rows = [
            (shard.shard, offset, self.host.words("events", shard.shard)[offset])
            for shard, todo in parts
            for offset in range(todo.first, todo.end)
        ]
        return Read(rows, tuple(part.todo.rows for part in parts), tuple(() for _ in parts))

    def ready(self, rows: list[tuple[int, int, str]], news: News) -> Ready[list[tuple[int, int, str]]]:
        return Ready(rows, {})

    def run(self, ready: Ready[list[tuple[int, int, str]]]) -> list[str]:
        words = [word for _, _, word in ready.rows]
        self.process.clock.mono_us += self.host.call_us
        self.host.calls.append(len({number for number, _, _ in ready.rows}))
        if "killer" in words:
            self.process.is_dead = True
            raise Killed
        if "poison" in words:
            raise ValueError("poison")
        return [word.upper() for word in words]

    def pack(self, ready: Ready[list[tuple[int, int, str]]], made: list[str], sizes: Sequence[int]) -> list[Outcome]:
        found: list[Outcome] = []
        start = 0
        for size in sizes:
            number, upper = ready.rows[start][0], made[start : start + size]
            fact = TopicAppended("out", number, size, 1, encoding="json")
            found.append(Outcome(size, 0, (), ((fact, msgspec.json.encode(upper)),)))
            start += size
        return found

    def dead(self, rows: list[tuple[int, int, str]], at: int, reason: str, error: str) -> Dead:
        return Dead(rows[at][1], reason, error, rows[at][2])


class Idle:
    """A trigger that finds nothing."""

    is_suspect = False

    def take_over(self) -> Step:
        return TriggerStep(cast("Any", None))

    def shared(self, news: News) -> None: ...
    def work(self, news: News, *, is_idle: bool) -> None: ...
    def adopt(self, step: Any) -> None: ...
    def drop_hand(self) -> None: ...
    def close(self) -> None: ...


@dataclass
class Process:
    """Implements `shards.runner.Parts` over a host."""

    host: Host
    is_dead: bool = False

    def __post_init__(self) -> None:
        self.clock = StillClock()
        self.words = {name: Words(self.host, self) for name in ("score", "other")}

    def live(self) -> None:
        if self.is_dead:
            raise Killed

    def right(self, place: Place) -> Right:
        return Right()

    def owner(self, place: Place) -> Owner:
        number = place.number
        if number is None:
            return Idle()
        row = stream_rows.shard(self.host.store.database, place.name, number)
        shard = Shard(place.name, number, "events", "c1")
        if row is not None:
            shard = Shard(place.name, number, "events", "c1", row.next_batch, row.next_offset, None, row.deaths)
        return ShardOwner(shard, self.words[place.name], HeldHand(self.host, number, self), self.clock)

    def look(self) -> News:
        return News({"events": topics.heads(self.host.store.database, "events")})

    def adopt(self) -> None: ...
    def settle(self, is_committed: bool) -> None: ...


def started(host: Host, places: Sequence[Place] = PLACES) -> StreamRunner:
    process = Process(host)
    runner = StreamRunner(host.store, process, process.clock, name="test")
    runner.want(places)
    return runner


def run_until_quiet(runner: StreamRunner) -> None:
    while runner.tick():
        pass


@pytest.fixture
def host():
    made = Host(EngineSqlStore(":memory:"))
    yield made
    made.store.close()


def test_a_killer_is_cut_down_to_its_row_over_many_processes_and_nothing_else_is_lost(host):
    host.append(0, ["a", "b", "killer", "c", "poison", "d"])
    host.append(1, ["x", "y"])
    for _ in range(12):
        runner = started(host)
        try:
            while runner.tick():
                pass
            break
        except Killed:
            continue
    assert host.dead() == [("crashed", "killer"), ("error", "poison")]
    assert host.words("out", 0) == ["A", "B", "C", "D"]
    assert host.words("out", 1) == ["X", "Y"]
    assert host.hands == {}


def test_a_shard_that_is_refused_does_not_take_the_work_of_the_others_along(host):
    runner = started(host)
    run_until_quiet(runner)
    head = host.store.head("shard:score:0")
    host.store.commit([Append("shard:score:0", head, (LogTaken(head + 1, "another", 1),))])
    host.append(0, ["a"])
    host.append(1, ["x"])
    with pytest.raises(SupersededError):
        runner.tick()
    assert host.words("out", 0) == []
    assert host.words("out", 1) == ["X"]


def test_small_batches_of_all_shards_go_through_one_call(host):
    runner = started(host)
    run_until_quiet(runner)
    host.append(0, ["a", "b"])
    host.append(1, ["x"])
    assert runner.tick()
    assert host.calls == [2]
    assert (host.words("out", 0), host.words("out", 1)) == (["A", "B"], ["X"])


def test_where_a_call_for_several_raises_each_is_called_alone_and_the_row_is_found(host):
    runner = started(host)
    host.append(0, ["a", "poison"])
    host.append(1, ["x"])
    run_until_quiet(runner)
    assert host.dead() == [("error", "poison")]
    assert (host.words("out", 0), host.words("out", 1)) == (["A"], ["X"])
    host.append(0, ["b"])
    host.append(1, ["y"])
    host.calls.clear()
    run_until_quiet(runner)
    assert host.calls == [2]


def test_a_slow_call_for_several_is_made_once_wherever_its_shards_stand(host):
    trigger = Place("investigate", slug="event outcomes")
    runner = started(host, [PLACES[0], trigger, PLACES[1]])
    run_until_quiet(runner)
    host.call_us = 2 * TICK_US
    host.append(0, ["a"])
    host.append(1, ["x"])
    run_until_quiet(runner)
    assert host.calls == [2]
    assert (host.words("out", 0), host.words("out", 1)) == (["A"], ["X"])


def test_a_hand_that_cannot_be_written_is_held_against_no_row(host):
    host.refusing.add(1)
    host.append(0, ["a"])
    host.append(1, ["x"])
    runner = started(host)
    with pytest.raises(OSError, match="the disk refuses"):
        run_until_quiet(runner)
    assert host.dead() == []
    assert host.hands == {}, "no process has died in the call"
    host.refusing.clear()
    run_until_quiet(started(host))
    assert (host.words("out", 0), host.words("out", 1)) == (["A"], ["X"])


def test_larger_batches_go_through_one_call_where_they_have_learnt_that_it_fits(host, monkeypatch):
    monkeypatch.setattr(batch, "SHARED_ROWS", 5)
    monkeypatch.setattr(shard, "BatchSize", partial(BatchSize, 6))
    runner = started(host)
    host.append(0, ["a", "b", "c"])
    host.append(1, ["x", "y", "z"])
    run_until_quiet(runner)
    assert host.calls == [2]


def test_batches_that_do_not_fit_one_call_go_through_calls_of_their_own(host, monkeypatch):
    monkeypatch.setattr(batch, "SHARED_ROWS", 5)
    monkeypatch.setattr(shard, "BatchSize", partial(BatchSize, 5))
    runner = started(host)
    host.append(0, ["a", "b", "c"])
    host.append(1, ["x", "y", "z"])
    run_until_quiet(runner)
    assert host.calls == [1, 1]


def test_what_one_stream_has_done_is_committed_before_another_begins_a_call_that_comes_too_late(host):
    runner = started(host, [*PLACES, Place("other", 0), Place("other", 1)])
    run_until_quiet(runner)
    host.call_us = 2 * TICK_US
    host.append(0, ["a"])
    host.append(1, ["x"])
    assert runner.tick()
    assert (host.calls, host.words("out", 0)) == ([2], ["A"])
    run_until_quiet(runner)
    assert (host.calls, host.words("out", 0)) == ([2, 2], ["A", "A"])


def test_what_a_shard_has_done_is_committed_before_the_rows_of_another_that_may_kill(host):
    host.append(0, ["killer"])
    with pytest.raises(Killed):
        run_until_quiet(started(host))
    host.append(1, ["x"])
    with pytest.raises(Killed):
        run_until_quiet(started(host, [PLACES[1], PLACES[0]]))
    assert host.words("out", 1) == ["X"]
