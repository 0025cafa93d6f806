"""`SqlStore`: the port `Store` on one SQLite file, or on `:memory:` for tests and simulations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from headrace.base.facts import Stored
from headrace.ports import Append, Committed, LogState, Request
from headrace.store.sql import kinds
from headrace.store.sql.commit import Prepared, commit
from headrace.store.sql.connection import Database
from headrace.store.sql.reads import topics


class SqlStore:
    """Any number of threads may share one; a process forked from this one opens its own connections.

    >>> store = SqlStore(":memory:")
    >>> store.head("engine")
    0

    `database` is what the functions in `store.sql.reads` read from.
    """

    def __init__(self, path: str | Path, *, patience_s: float | None = 30.0) -> None:
        """Open the store, making a new one where there is none.

        `patience_s`: how long a write waits for another process that holds the store; None for ever. Raises StoreError
        for a newer schema (HR4010), a foreign or damaged file (HR4040), a network file system (HR4070).
        """
        self.database = Database(path, patience_s=patience_s)

    def commit(self, appends: Sequence[Append]) -> Committed:
        prepared = [Prepared(append) for append in appends]
        with self.database.write() as connection:
            return commit(connection, prepared)

    def head(self, log: str) -> int:
        rows = self.database.read("SELECT head FROM logs WHERE name = ?", (log,))
        return rows[0][0] if rows else 0

    def log(self, name: str) -> LogState:
        rows = self.database.read("SELECT head, epoch, coalesce(owner, '') FROM logs WHERE name = ?", (name,))
        return LogState(*rows[0]) if rows else LogState(0)

    def heads(self, prefix: str) -> dict[str, int]:
        """Heads of all logs whose name begins with `prefix`."""
        sql = "SELECT name, head FROM logs WHERE name >= ? AND name < ? ORDER BY name"
        return dict(self.database.read(sql, (prefix, prefix + "\U0010ffff")))

    def facts(self, log: str, *, after: int, limit: int = 1000, kinds: Sequence[str] | None = None) -> list[Stored]:
        """The next facts of a log in order, at most `limit`; with `kinds` those of other kinds are passed over."""
        chosen = "" if kinds is None else f" AND kind IN ({', '.join('?' * len(kinds))})"
        rows = self.database.read(
            f"SELECT seq, kind, version, body FROM facts WHERE log = ? AND seq > ?{chosen} ORDER BY seq LIMIT ?",
            (log, after, *(kinds or ()), limit),
        )
        return [Stored(log, seq, read_fact(kind, version, body)) for seq, kind, version, body in rows]

    def ask(self, verb: str, body: Any, *, key: str, at_us: int) -> int:
        row = (key, verb, msgspec.json.encode(body).decode(), at_us)
        with self.database.write() as connection:
            connection.execute("INSERT OR IGNORE INTO inbox (key, verb, body, at_us) VALUES (?, ?, ?, ?)", row)
            return int(connection.execute("SELECT id FROM inbox WHERE key = ?", (key,)).fetchone()[0])

    def requests(self, *, limit: int = 200) -> list[Request]:
        rows = self.database.read(
            "SELECT id, key, verb, body, at_us FROM inbox WHERE status IS NULL ORDER BY id LIMIT ?", (limit,)
        )
        return [Request(number, key, verb, msgspec.json.decode(body), at_us) for number, key, verb, body, at_us in rows]

    def answer(self, request: int) -> tuple[str, Any] | None:
        rows = self.database.read("SELECT status, answer FROM inbox WHERE id = ? AND status IS NOT NULL", (request,))
        return (rows[0][0], msgspec.json.decode(rows[0][1])) if rows else None

    def topic_columns(self, topic: str) -> dict[str, str] | None:
        return topics.columns(self.database, topic)

    def holder(self) -> tuple[int, float] | None:
        """(pid, seconds) of the process that holds the write lock; None where nobody does."""
        return self.database.holder()

    def refuse_elsewhere(self) -> None:
        """Raise StoreError (HR4031) where the file was deleted, moved or replaced since it was opened."""
        self.database.refuse_elsewhere()

    def wal_bytes(self) -> int:
        return self.database.wal_bytes()

    def wal_is_over_limit(self) -> bool:
        return self.database.wal_is_over_limit()

    def checkpoint_truncate(self) -> None:
        self.database.checkpoint_truncate()

    def close(self) -> None:
        self.database.close()


read_fact = kinds.read
