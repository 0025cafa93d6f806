"""What a store was told, in the order of its commits, to be told again to an empty one in other portions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import Any, NamedTuple
from unittest import mock

from headrace.base.facts import Fact
from headrace.ports import Append, Committed
from headrace.store.sql.store import SqlStore

Rows = dict[str, list[tuple[Any, ...]]]
NOT_TOLD = ("alembic_version", "sqlite_sequence")


class Told(NamedTuple):
    """One fact as it was stored, with the bytes that came with it."""

    log: str
    fact: Fact
    body: bytes | None


class Asked(NamedTuple):
    """A request of a client; who asks has no log."""

    verb: str
    body: Any
    key: str
    at_us: int


class History:
    """All that one store was told, and its rows when it was closed."""

    def __init__(self) -> None:
        self.commits: list[list[Told]] = []
        self.asked: list[Asked] = []
        self.rows: Rows = {}

    @property
    def facts(self) -> list[Told]:
        return [told for commit in self.commits for told in commit]


@contextmanager
def listening() -> Iterator[History]:
    """Whatever store is written and closed in this block is heard."""
    heard = History()
    commit, ask, close = SqlStore.commit, SqlStore.ask, SqlStore.close

    def commit_and_note(store: SqlStore, appends: Any) -> Committed:
        committed = commit(store, appends)
        left = {log: list(facts) for log, facts in committed.facts.items()}
        told: list[Told] = []
        for append in appends:
            for at in range(len(append.facts)):
                told.append(Told(append.log, left[append.log].pop(0), append.bodies.get(at)))
        heard.commits.append(told)
        return committed

    def ask_and_note(store: SqlStore, verb: str, body: Any, *, key: str, at_us: int) -> int:
        heard.asked.append(Asked(verb, body, key, at_us))
        return ask(store, verb, body, key=key, at_us=at_us)

    def close_and_note(store: SqlStore) -> None:
        heard.rows = rows_of(store)
        close(store)

    with (
        mock.patch.object(SqlStore, "commit", commit_and_note),
        mock.patch.object(SqlStore, "ask", ask_and_note),
        mock.patch.object(SqlStore, "close", close_and_note),
    ):
        yield heard


def rows_of(store: SqlStore) -> Rows:
    """Every row of every table."""
    names = [name for (name,) in store.database.read("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {
        name: sorted(store.database.read(f'SELECT * FROM "{name}"'), key=repr) for name in names if name not in NOT_TOLD
    }


def tell(asked: Iterable[Asked], portions: Iterable[list[Told]]) -> Rows:
    """The rows of a new store that is told this."""
    store = SqlStore(":memory:")
    try:
        for verb, body, key, at_us in asked:
            store.ask(verb, body, key=key, at_us=at_us)
        heads: dict[str, int] = {}
        for portion in portions:
            appends: list[Append] = []
            for log, some in groupby(portion, lambda told: told.log):
                told = list(some)
                bodies = {at: one.body for at, one in enumerate(told) if one.body is not None}
                appends.append(Append(log, heads.get(log, 0), tuple(one.fact for one in told), bodies))
                heads[log] = heads.get(log, 0) + len(told)
            store.commit(appends)
        return rows_of(store)
    finally:
        store.close()


def differences(one: Rows, other: Rows) -> dict[str, Any]:
    """The rows by table that only one of them has."""
    return {
        name: (
            [row for row in one[name] if row not in other[name]],
            [row for row in other[name] if row not in one[name]],
        )
        for name in one
        if one[name] != other[name]
    }
