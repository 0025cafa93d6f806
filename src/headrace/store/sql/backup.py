"""A copy of the database at one moment, made beside writers that go on, and a copy as it is read without being changed."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from headrace.errors import StoreError
from headrace.store.sql import failures, schema
from headrace.store.sql.connection import Database

GIVE_UP_BYTES = 1 << 30
_PAGES_AT_ONCE = 512
_OF_THE_SOURCE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

Tell = Callable[[int, int], None]
"""Hears how many bytes of how many are copied."""


def copy_database(database: Database, target: Path, tell: Tell) -> None:
    """Copy what is committed now to the new file `target`; it is on the disk when this returns.

    One reader sees one moment, so writers go on and nothing is copied twice. As long as it reads, the write-ahead log
    is not begun anew: streams wait where it passes their limit, and at `GIVE_UP_BYTES` the copy is given up. Raises
    StoreError, with the side that failed as `where`; what was copied so far is left.
    """

    def step(_: int, left: int, pages: int) -> None:
        tell((pages - left) * schema.PAGE_BYTES, pages * schema.PAGE_BYTES)
        if database.wal_bytes() > GIVE_UP_BYTES:
            raise StoreError(
                f"the write-ahead log has grown by {GIVE_UP_BYTES >> 20} MB while the database was copied",
                where=str(target),
                cure="back up to a faster disk, or while less is written",
                code="HR4051",
            )

    with database.reading(is_snapshot=True) as source:
        source.execute("SELECT 1 FROM logs").fetchone()  # from here on it sees this moment
        try:
            copy = sqlite3.connect(target, isolation_level=None)
            try:
                # Nobody reads it before it is whole, so it needs neither a journal nor an order of its writes.
                copy.execute("PRAGMA journal_mode = OFF")
                copy.execute("PRAGMA synchronous = OFF")
                source.backup(copy, pages=_PAGES_AT_ONCE, progress=step)
            finally:
                copy.close()
            _fsync(target)
        except sqlite3.Error as error:
            is_source = getattr(error, "sqlite_errorcode", 0) & 0xFF in _OF_THE_SOURCE
            raise failures.plain(error, database.path if is_source else str(target)) from error
        except OSError as error:
            raise failures.plain(error, str(target)) from error


class Copy:
    """A database that nobody writes, read without a file beside it: also on a disk that is read-only."""

    def __init__(self, path: Path) -> None:
        """Raises StoreError: HR4040 where it is no store, HR4010 where a newer Headrace made it."""
        self.path = path
        if path.stat().st_size == 0:
            raise failures.empty(str(path))
        try:
            self._connection = sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)
        except sqlite3.Error as error:
            raise failures.plain(error, str(path)) from error
        try:
            schema.is_current(self._connection, str(path))
        except sqlite3.Error as error:
            self.close()
            raise failures.plain(error, str(path)) from error
        except BaseException:
            self.close()
            raise

    def read(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of one query. Raises StoreError."""
        try:
            return self._connection.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise failures.plain(error, str(self.path)) from error

    def heads(self) -> dict[str, int]:
        """The number of the last fact of each log."""
        return dict(self.read("SELECT name, head FROM logs ORDER BY name"))

    def close(self) -> None:
        self._connection.close()


def _fsync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
