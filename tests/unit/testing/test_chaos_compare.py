"""The comparison of witness and store sees each kind of damage, and nothing where there is none."""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from headrace.testing.chaos.asked import compare_requests
from headrace.testing.chaos.attempts import STEPS, compare_attempts
from headrace.testing.chaos.ledger import Asked, Ledger, Served, Signed, Struck
from headrace.testing.chaos.left import Left
from headrace.testing.chaos.published import compare_events, compare_slots, compare_stream, compare_tables
from headrace.testing.chaos.recovery import recoveries_s

ENGINE, WORKER, OLD_WORKER = 100, 201, 200
MINUTE_US = 60_000_000


class Store:
    """A small campaign that went well, and the means to spoil it."""

    def __init__(self, home: Path) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        for statement in import_module("headrace.store.sql.migrations.versions.0001_initial").STATEMENTS:
            self.connection.execute(statement)
        self.left = Left(home, self.connection)
        self.tasks: list[Signed] = []
        self.clients: list[Asked] = []
        self.strikes = [Struck("worker", OLD_WORKER, "kill", "", MINUTE_US)]
        self.engines = [Served("started", ENGINE, 0)]

    def ledger(self) -> Ledger:
        return Ledger(tuple(self.tasks), tuple(self.clients), tuple(self.strikes), tuple(self.engines))

    def insert(self, table: str, **values: Any) -> None:
        """A row; columns that are not named and may not be null are empty."""
        needed = [
            name
            for _, name, _, is_not_null, default, is_key in self.connection.execute(f"PRAGMA table_info({table})")
            if is_not_null and default is None and not is_key and name not in values
        ]
        row = dict.fromkeys(needed, 0) | values
        names = ", ".join(row)
        self.connection.execute(f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(row))})", [*row.values()])

    def spoil(self, sql: str) -> None:
        assert self.connection.execute(sql).rowcount == 1

    def client(self, number: int, verb: str, name: str, *numbers: int, what: str = "acknowledged") -> None:
        self.clients.append(Asked("asked", number, verb, name, numbers, 0))
        self.clients.append(Asked(what, number, verb, name, numbers, 0))

    def run(self, run: str, pipeline: str, cause: str = "person", key: str = "", **params: int) -> None:
        self.insert(
            "runs", run=run, pipeline=pipeline, cause=cause, key=key or run, params=json.dumps(params), log="engine",
            state="succeeded", events="[]", ended_us=1,
        )  # fmt: skip

    def task(
        self, run: str, node: str, item: int = 0, *, result: object = None, epochs: tuple[int, ...] = (1,)
    ) -> None:
        """Accepted at the last of the epochs; the earlier ones were in a worker that was killed."""
        body = json.dumps(["json", json.dumps(result)])
        self.insert("items", run=run, node=node, path="", item=item, state="succeeded", epoch=epochs[-1], result=body)
        self.fact("AttemptSucceeded", [run, node, "", item])
        for epoch in epochs:
            pid = WORKER if epoch == epochs[-1] else OLD_WORKER
            self.tasks.append(Signed("began", pid, ENGINE, 0, run, node, item, epoch, epoch))

    def fact(self, kind: str, body: list[Any], at_us: int = 0) -> None:
        seq = self.left.one("SELECT count(*) FROM facts") + 1
        self.insert("facts", log="engine", seq=seq, kind=kind, body=json.dumps(body), at_us=at_us)
        self.connection.execute(
            "INSERT INTO logs (name, head) VALUES ('engine', 1) ON CONFLICT DO UPDATE SET head = head + 1"
        )

    def rows(self, topic: str, partition: int, rows: list[dict[str, Any]]) -> None:
        stream = io.BytesIO()
        pl.DataFrame(rows).write_ipc_stream(stream)
        body = self.left.one("SELECT count(*) FROM topic_bodies") + 1
        first = self.left.one(
            "SELECT coalesce(sum(rows), 0) FROM topic_blobs WHERE topic = ? AND partition = ?", topic, partition
        )
        self.insert("topic_bodies", id=body, body=bytes(8) + stream.getvalue())
        self.insert("topic_blobs", topic=topic, partition=partition, first=first, rows=len(rows), body_id=body)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    sound = Store(tmp_path)
    sound.client(0, "trigger", "chain", 1)
    sound.run("r1", "chain", n=1)
    sound.task("r1", "draw", result=1)
    sound.task("r1", "grow", epochs=(1, 2))
    sound.task("r1", "shrink", result=STEPS)
    sound.client(1, "trigger", "publish", 2)
    sound.run("r2", "publish", n=2)
    sound.task("r2", "write")
    sound.task("r2", "tell", result=2)
    (tmp_path / "artifacts").mkdir()
    pl.DataFrame({"n": [2], "twice": [4]}).write_parquet(tmp_path / "artifacts" / "part")
    sound.insert("table_versions", name="doubles", version=1, parts='[["part", 1]]', run="r2")
    sound.rows("told", 0, [{"n": 2}])
    sound.client(2, "append", "signals", 3, 4)
    sound.rows("signals", 1, [{"n": 3, "loud": False}, {"n": 4, "loud": True}])
    sound.run("r3", "answer", "event")
    sound.spoil("""UPDATE runs SET events = '[["signals", 1, 1, 2]]' WHERE run = 'r3'""")
    sound.task("r3", "hear", result=[4])
    sound.client(3, "append", "rows", 10, -40)
    sound.rows("rows", 0, [{"n": 10}, {"n": -40}])
    sound.rows("scores", 1, [{"n": 10, "twice": 20}])
    sound.insert("dead_letters", stream="score", topic="rows", partition=0, offset=1, reason="error")
    sound.tasks.append(Signed("scored", 300, ENGINE, 0, values=(10, -40)))
    for slot in (100, 102):
        sound.run(f"tick{slot}", "tick", "schedule", key=f"schedule:tick:schedule:{slot}000000")
        sound.task(f"tick{slot}", "look")
    sound.insert("schedules", pipeline="tick", slug="schedule", last_us=104_000_000)
    sound.fact("SlotsSkipped", ["tick", "schedule", 103_999_999, 104_000_000, 1, "as it is said", 0, "paused"])
    yield sound
    sound.connection.close()


def found(store: Store) -> set[tuple[str, str]]:
    """(kind, the first word of what it is about)."""
    ledger, left = store.ledger(), store.left
    violations = [
        *compare_requests(ledger, left), *compare_attempts(ledger, left), *compare_tables(left), *compare_events(left),
        *compare_slots(left, 100, 2), *compare_stream(ledger, left),
    ]  # fmt: skip
    return {(violation.kind, violation.key.split()[0]) for violation in violations}


def test_nothing_is_wrong_with_a_campaign_that_went_well(store: Store) -> None:
    assert found(store) == set()


def run_again(store: Store) -> None:
    store.run("r9", "chain", n=1)
    for task in ("draw", "grow", "shrink"):
        store.task("r9", task, result=STEPS)


def accept_twice(store: Store) -> None:
    store.fact("AttemptSucceeded", ["r1", "draw", "", 0])


def enter_twice(store: Store) -> None:
    store.tasks.append(Signed("began", WORKER, ENGINE, 0, "r1", "draw", 0, 1, 1))


def enter_after_the_end(store: Store) -> None:
    store.tasks.append(Signed("began", WORKER, ENGINE, 0, "r1", "draw", 0, 2, 2))


def forget_the_kill(store: Store) -> None:
    store.strikes.clear()


def forget_to_sign(store: Store) -> None:
    store.tasks[:] = [entry for entry in store.tasks if entry.task != "tell"]


def refuse(store: Store) -> None:
    store.client(9, "append", "rows", 99, what="refused")


def acknowledge_nothing(store: Store) -> None:
    store.client(9, "trigger", "chain", 99)


def acknowledge_rows(store: Store) -> None:
    store.client(9, "append", "rows", 99)


def halve_an_append(store: Store) -> None:
    store.client(9, "append", "signals", 98, 99, what="killed")
    store.rows("signals", 0, [{"n": 98, "loud": False}])


def append_again(store: Store) -> None:
    store.rows("signals", 0, [{"n": 3, "loud": False}])


def score_again(store: Store) -> None:
    store.rows("scores", 0, [{"n": 10, "twice": 20}])


def tell_again(store: Store) -> None:
    store.rows("told", 0, [{"n": 2}])


def fire_again(store: Store) -> None:
    store.run("r9", "answer", "event")
    store.spoil("""UPDATE runs SET events = '[["signals", 1, 1, 2]]' WHERE run = 'r9'""")
    store.task("r9", "hear", result=[4])


def slot_again(store: Store) -> None:
    store.run("tick9", "tick", "schedule", key="again:100000000")
    store.task("tick9", "look")


def spoilt(sql: str) -> Callable[[Store], None]:
    return lambda store: store.spoil(sql)


DAMAGE: list[tuple[Callable[[Store], None], tuple[str, str]]] = [
    (run_again, ("doubled", "trigger")),
    (acknowledge_nothing, ("lost", "trigger")),
    (acknowledge_rows, ("lost", "rows")),
    (halve_an_append, ("wrong", "rows")),
    (append_again, ("doubled", "rows")),
    (refuse, ("wrong", "append")),
    (spoilt("UPDATE runs SET state = 'failed' WHERE run = 'r1'"), ("wrong", "run")),
    (spoilt("DELETE FROM items WHERE node = 'draw'"), ("lost", "run")),
    (accept_twice, ("doubled", "r1")),
    (spoilt("DELETE FROM facts WHERE seq = 2"), ("lost", "log")),
    (spoilt("""UPDATE items SET result = '["json", "7"]' WHERE node = 'shrink'"""), ("wrong", "run")),
    (enter_twice, ("doubled", "run")),
    (enter_after_the_end, ("doubled", "run")),
    (forget_the_kill, ("wrong", "run")),
    (forget_to_sign, ("wrong", "run")),
    (spoilt("UPDATE table_versions SET version = 2"), ("lost", "table")),
    (spoilt("DELETE FROM table_versions"), ("lost", "table")),
    (spoilt("DELETE FROM topic_blobs WHERE topic = 'told'"), ("lost", "topic")),
    (tell_again, ("doubled", "topic")),
    (spoilt("UPDATE runs SET events = '[]' WHERE run = 'r3'"), ("lost", "event")),
    (fire_again, ("doubled", "event")),
    (spoilt("""UPDATE items SET result = '["json", "[3]"]' WHERE node = 'hear'"""), ("wrong", "run")),
    (spoilt("UPDATE runs SET key = 'tick:106000000' WHERE run = 'tick100'"), ("lost", "slot")),
    (slot_again, ("doubled", "slot")),
    (spoilt("DELETE FROM topic_blobs WHERE topic = 'scores'"), ("lost", "row")),
    (score_again, ("doubled", "row")),
    (spoilt("DELETE FROM dead_letters"), ("lost", "row")),
    (spoilt("UPDATE dead_letters SET offset = 0"), ("doubled", "row")),
]


@pytest.mark.parametrize(("damage", "seen"), DAMAGE)
def test_each_damage_is_seen(store: Store, damage: Callable[[Store], None], seen: tuple[str, str]) -> None:
    damage(store)
    assert seen in found(store)


def test_a_run_in_a_process_that_was_killed_may_end_lost(store: Store) -> None:
    store.client(9, "run", "chain", 99, what="killed")
    store.run("r9", "chain", "here", n=99)
    store.spoil("UPDATE runs SET state = 'lost', log = 'run:9' WHERE run = 'r9'")
    assert found(store) == set()


def test_recovery_is_from_the_start_of_an_undisturbed_engine_to_its_first_result_of_older_work(store: Store) -> None:
    store.engines += [Served("ended", ENGINE, 5 * MINUTE_US, -9), Served("started", 101, 5 * MINUTE_US)]
    store.fact("AttemptSucceeded", ["r1", "draw", "", 0], at_us=5 * MINUTE_US + 700_000)
    assert recoveries_s(store.ledger(), store.left) == [0.7]
    store.strikes.append(Struck("worker", WORKER, "kill", "", 5 * MINUTE_US + 300_000))
    assert recoveries_s(store.ledger(), store.left) == []
