"""The one write verb: append facts at the seq their owner expects, and change the rows that follow from them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import msgspec

from headrace.base.facts import Fact, encode
from headrace.data.facts import TopicAppended
from headrace.errors import DisagreementError, SupersededError
from headrace.ports import Append, Committed
from headrace.runs.facts import CodeDeployed
from headrace.store.sql.projector import CHANGES
from headrace.store.sql.projector.work import Group, Work

_INSERT = "INSERT INTO facts (log, seq, kind, version, at_us, body) VALUES (?, ?, ?, ?, ?, ?)"


class Prepared:
    """An append with its facts encoded before the write lock is taken, but for those whose offsets it must give out."""

    __slots__ = ("append", "encoded")

    def __init__(self, append: Append) -> None:
        _check_bodies(append)
        self.append = append
        self.encoded = [None if _lacks_offset(fact) else encode(fact) for fact in append.facts]


def commit(connection: sqlite3.Connection, appends: Sequence[Prepared]) -> Committed:
    """Do it all within the transaction that is open on `connection`.

    Raises SupersededError where a log is not where its owner left it, DisagreementError where a fact does not fit
    the rows. Either way the caller rolls back.
    """
    work = Work(connection)
    heads: dict[str, int] = {}
    stored: dict[str, tuple[Fact, ...]] = {}
    for prepared in appends:
        append = prepared.append
        if not append.facts:
            continue
        head = _take_seqs(connection, append)
        facts = _with_offsets(connection, append.facts)
        first = head - len(facts) + 1
        _insert(connection, append.log, first, facts, prepared.encoded)
        bodies = {first + i: body for i, body in append.bodies.items()}
        project(work, append.log, first, facts, bodies)
        heads[append.log] = head
        stored[append.log] = stored.get(append.log, ()) + facts
    work.flush()
    return Committed(heads, stored)


def project(work: Work, log: str, seq: int, facts: Sequence[Fact], bodies: dict[int, bytes]) -> None:
    """Change the rows for facts that lie at `seq` and after; neighbours of one kind go to the database together."""
    for shape, neighbours in groupby(facts, type):
        same = list(neighbours)
        change: Callable[[Work, Group[Any]], None] = CHANGES[shape]
        change(work, Group(log, seq, same, bodies))
        seq += len(same)


def _take_seqs(connection: sqlite3.Connection, append: Append) -> int:
    """Move the log's head over the new facts. The seq that its owner expects is the fence."""
    name, n, expected = append.log, len(append.facts), append.expected_seq
    if expected is None:
        sql = "INSERT INTO logs (name, head) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET head = head + excluded.head"
        return int(connection.execute(sql + " RETURNING head", (name, n)).fetchone()[0])
    moved = connection.execute("UPDATE logs SET head = head + ? WHERE name = ? AND head = ?", (n, name, expected))
    if moved.rowcount == 0 and expected == 0:
        moved = connection.execute("INSERT OR IGNORE INTO logs (name, head) VALUES (?, ?)", (name, n))
    if moved.rowcount != 1:
        row = connection.execute("SELECT head, owner FROM logs WHERE name = ?", (name,)).fetchone()
        raise _superseded(name, expected, row[0] if row else 0, row[1] if row else None)
    return expected + n


def _insert(
    connection: sqlite3.Connection, log: str, first: int, facts: Sequence[Fact], encoded: Sequence[bytes | None]
) -> None:
    rows = [
        (log, first + i, type(fact).__name__, fact.version, getattr(fact, "at_us", None), body or encode(fact))
        for i, (fact, body) in enumerate(zip(facts, encoded, strict=True))
    ]
    try:
        connection.executemany(_INSERT, rows)
    except sqlite3.IntegrityError as error:
        raise _superseded(log, first - 1, None, None) from error


def _with_offsets(connection: sqlite3.Connection, facts: tuple[Fact, ...]) -> tuple[Fact, ...]:
    """Give out offsets in the appending transaction, so commit order is offset order, for deploys too."""
    if not any(_lacks_offset(fact) for fact in facts):
        return facts
    next_offset: dict[tuple[str, int], int] = {}
    given: list[Fact] = []
    for fact in facts:
        if isinstance(fact, TopicAppended):
            place = (fact.topic, fact.partition)
            if fact.first == -1:
                if place not in next_offset:
                    sql = "SELECT next FROM topic_parts WHERE topic = ? AND partition = ?"
                    next_offset[place] = (connection.execute(sql, place).fetchone() or (0,))[0]
                fact = msgspec.structs.replace(fact, first=next_offset[place])
            next_offset[place] = fact.first + fact.rows
        elif isinstance(fact, CodeDeployed) and fact.heads is None:
            fact = msgspec.structs.replace(fact, heads=_heads(connection))
        given.append(fact)
    return tuple(given)


def _lacks_offset(fact: Fact) -> bool:
    if type(fact) is TopicAppended:
        return fact.first == -1
    return type(fact) is CodeDeployed and fact.heads is None


def _heads(connection: sqlite3.Connection) -> dict[str, dict[int, int]]:
    heads: dict[str, dict[int, int]] = {}
    for topic, partition, end in connection.execute("SELECT topic, partition, next FROM topic_parts ORDER BY 1, 2"):
        heads.setdefault(topic, {})[partition] = end
    return heads


def _check_bodies(append: Append) -> None:
    carriers = {i for i, fact in enumerate(append.facts) if type(fact) is TopicAppended}
    if carriers != set(append.bodies):
        raise DisagreementError(
            f"each TopicAppended comes with its bytes and nothing else does: facts at {sorted(carriers)},"
            f" bodies at {sorted(append.bodies)}",
            where=append.log,
            cure="give Append.bodies one entry for each TopicAppended, by its index in the facts",
        )


def _superseded(log: str, expected: int, head: int | None, owner: str | None) -> SupersededError:
    found = "another writer was faster" if head is None else f"its last fact is {head}"
    by = f" and its owner is {owner}" if owner else ""
    return SupersededError(
        f"expected fact {expected} to be the last of this log, but {found}{by}",
        where=log,
        cure="another process owns this log: this one must stop acting for it",
    )
