"""The store in memory, without the locks and looks that only files and other processes need, and a process's way to it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

from headrace.errors import ConflictError, StoreError
from headrace.ports import Append, Committed, LogState
from headrace.runs.rows import OldDetails
from headrace.store.sql import failures
from headrace.store.sql.connection import Database
from headrace.store.sql.engine_store import EngineSqlStore
from headrace.testing.simulator.world import Crash, World


class MemoryDatabase(Database):
    """One connection, one thread: the same SQL, and nobody to wait for."""

    def __init__(self) -> None:
        super().__init__(":memory:")
        self.connection = super()._writing()

    @contextmanager
    def write(self) -> Generator[sqlite3.Connection]:
        connection = self.connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException as error:
            connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise failures.plain(error, self.path) from error
            raise
        connection.execute("COMMIT")

    def read(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql, parameters).fetchall()

    @contextmanager
    def reading(self, *, is_snapshot: bool = False) -> Generator[sqlite3.Connection]:
        del is_snapshot
        yield self.connection


class MemoryStore(EngineSqlStore):
    """The real store on that database. `writes` counts transactions of anybody."""

    def __init__(self) -> None:
        super().__init__(":memory:")
        self.database.close()
        self.database = MemoryDatabase()
        self.writes = 0

    def commit(self, appends: Sequence[Append]) -> Committed:
        committed = super().commit(appends)
        self.writes += 1
        return committed

    def ask(self, verb: str, body: Any, *, key: str, at_us: int) -> int:
        self.writes += 1
        return super().ask(verb, body, key=key, at_us=at_us)


class FaultyStore:
    """One process's way to the store, with faults around the one write verb: before, after, unknown, and death.

    Implements `ports.EngineStore`. `is_hurt` says that a fault was put into this round, `is_unsure` that the process could
    not find out once what had become of a commit. `supersede`, where given, lets another process take the log over
    between decision and commit. `dropping` is called before details are looked for that may go. While `is_closing` a run
    whose process died is ended by another, which fails more often than most.
    """

    def __init__(
        self,
        store: MemoryStore,
        world: World,
        *,
        supersede: Callable[[], None] | None = None,
        dropping: Callable[[], None] = lambda: None,
        fault: str = "superseded while committing",
    ) -> None:
        self._store, self._world, self._supersede, self._fault = store, world, supersede, fault
        self._dropping = dropping
        self._own = 0
        self.is_hurt = self.is_unsure = self.is_closing = False

    def commit(self, appends: Sequence[Append]) -> Committed:
        self._before()
        before = self._store.writes
        committed = self._store.commit(appends)
        self._own += self._store.writes - before
        for append in appends:
            for fact in append.facts:
                self._world.say(f"{append.log} up to {committed.heads[append.log]}", fact)
        self._after()
        return committed

    def log(self, name: str) -> LogState:
        self._may_not_be_read()
        return self._store.log(name)

    def change_count(self) -> int:
        """As SQLite's data_version: what others have written, not this process itself."""
        return self._store.writes - self._own

    def tidy(self) -> None:
        return

    def old_details(self, before_us: int, limit: int) -> OldDetails | None:
        found = self._store.old_details(before_us, limit)
        if found is not None:
            self._dropping()
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def _strikes(self, fault: str) -> bool:
        struck = self._world.strikes(fault)
        self.is_hurt |= struck
        return struck

    def _fails_to_close(self) -> bool:
        return self.is_closing and self._strikes("a dead run cannot be closed")

    def _may_not_be_read(self) -> None:
        if self.is_hurt and self._world.strikes("head cannot be read"):
            self.is_unsure = True
            raise StoreError("simulated: the head cannot be read", code="HR4080")

    def _before(self) -> None:
        if self._supersede is not None and self._strikes(self._fault):
            self._supersede()
        if self._strikes("another writer is faster"):
            raise ConflictError("simulated: a number went to another writer")
        if self._strikes("store fails before") or self._fails_to_close():
            raise StoreError("simulated: the disk is full", code="HR4020")
        if self._strikes("process dies before commit"):
            raise Crash

    def _after(self) -> None:
        if self._strikes("store fails after") or self._fails_to_close():
            raise StoreError("simulated: the outcome is unknown", code="HR4080")
        if self._strikes("process dies after commit"):
            raise Crash
