"""Connections to one SQLite database: writers in the queue of the write lock, readers on connections of their own."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from headrace.errors import StoreError
from headrace.store.sql import failures, schema
from headrace.store.sql.lock import WriteLock
from headrace.store.sql.place import refuse_remote
from headrace.store.sql.wal import WalFile

CHECKPOINT_BYTES = 16 << 20
RESTART_BYTES = 64 << 20
WAL_LIMIT_BYTES = 256 << 20
FREE_LEAST = 2048  # pages of 16 KiB
GIVE_BACK_PAGES, GIVE_BACK_MOST = 128, 4096  # at once, and while the engine rests
_BUSY_S = 10.0
_RESTART_S = 0.1

# After a fork these belong to the parent: even closing them here would disturb it.
_left_to_parent: list[object] = []


class Database:
    """Shared by all threads of a process; a forked child opens its own connections on first use.

    `patience_s`: how long a writer waits for the write lock before it raises StoreError (HR4050); None for ever.
    """

    def __init__(self, path: str | Path, *, patience_s: float | None = 30.0) -> None:
        self.path = str(path)
        self.patience_s = patience_s
        self._guard = threading.Lock()
        self._pid = os.getpid()
        self._writer: sqlite3.Connection | None = None
        self._readers: list[sqlite3.Connection] = []
        self._lock: WriteLock | None = None
        self._wal: WalFile | None = None
        self._moved: tuple[bytes, int] = (b"", 0)
        self._owes_checkpoint = False  # the last one failed
        self._is_closed = False
        self._file: tuple[int, int] | None = None  # what is open, whatever its path means by now
        if self.is_memory:
            self._writer = _memory()
            return
        try:
            self._prepare(Path(path))
        except BaseException:
            self.close()
            raise
        self._file = _identity(self.path)

    @property
    def is_memory(self) -> bool:
        return self.path == ":memory:"

    @contextmanager
    def write(self) -> Generator[sqlite3.Connection]:
        """One short transaction under the write lock; an exception inside rolls back.

        Raises StoreError in plain words where the database refuses. The outcome of a transaction whose COMMIT failed
        is unknown until it is read; one whose COMMIT went through raises nothing, whatever becomes of its checkpoint.
        """
        with self._alone():
            if self._owes_checkpoint:
                self._checkpoint("PASSIVE")  # its error is told where nothing is written yet
                self._owes_checkpoint = False
            connection = self._writing()
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            except BaseException as error:
                self._undo(connection, error)
                if isinstance(error, sqlite3.Error):
                    raise failures.plain(error, self.path) from error
                raise
            if self._wal is not None:
                self._checkpoint_if_due(self._wal)

    def read(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of one query; the statement has ended when this returns, so it never holds the WAL back."""
        with self.reading() as connection:
            return connection.execute(sql, parameters).fetchall()

    @contextmanager
    def reading(self, *, is_snapshot: bool = False) -> Generator[sqlite3.Connection]:
        """A connection for queries; with `is_snapshot` all of them see one moment."""
        self._check_process()
        if self.is_memory:
            with self._guard:
                try:
                    yield self._writing()
                except sqlite3.Error as error:
                    raise failures.plain(error, self.path) from error
            return
        connection = self._borrow()
        try:
            if is_snapshot:
                connection.execute("BEGIN")
            yield connection
            if is_snapshot:
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            connection.close()
            raise failures.plain(error, self.path) from error
        except BaseException:
            connection.close()
            raise
        if self._is_closed:
            connection.close()
        else:
            self._readers.append(connection)

    def holder(self) -> tuple[int, float] | None:
        """(pid, seconds) of the process that holds the write lock; None where nobody does."""
        return None if self.is_memory or self._is_on_read_only_disk else self._write_lock().holder()

    def wal_bytes(self) -> int:
        """Bytes of the WAL that are in use; the commit after a finished checkpoint starts it again from 0."""
        with self._wal_file() as wal:
            return 0 if wal is None else wal.used_bytes()

    def wal_is_over_limit(self) -> bool:
        """True where streams should wait before they write on: a reader holds the WAL back."""
        with self._wal_file() as wal:
            return wal is not None and wal.exceeds(WAL_LIMIT_BYTES)

    def refuse_elsewhere(self) -> None:
        """Raise StoreError (HR4031) where the file was deleted, moved or replaced since it was opened."""
        if not self.is_memory and _identity(self.path) != self._file:
            raise failures.elsewhere(self.path)

    def refuse_broken_wal(self) -> None:
        """Raise StoreError (HR4043) where commits that were acknowledged cannot be read from the write-ahead log.

        SQLite leaves them out without a word, and the next commit overwrites them.
        """
        wal = Path(self.path + "-wal")
        if self.is_memory or not wal.exists() or wal.stat().st_size == 0:
            return
        from headrace.store.sql.wal_check import break_of

        with nullcontext() if self._is_on_read_only_disk else self._alone():
            found = break_of(self.path + "-wal")
        if found is not None:
            raise StoreError(
                f"the write-ahead log is damaged at its frame {found.frame:,}: {found.commits:,} commits are lost",
                where=self.path + "-wal",
                cure=f"stop everything and restore a backup; or go on without them:  mv {self.path}-wal /some/where",
                code="HR4043",
            )

    def checkpoint_truncate(self) -> None:
        """Move the whole WAL into the database and empty its file: for the engine, when it is idle."""
        if not self.is_memory:
            with self._alone():
                self._checkpoint("TRUNCATE")

    def give_back(self) -> None:
        """Make the file shorter where a good part of it is free: some pages at a time, so that others can write between.

        Little that is free is left for what comes next.
        """
        if self.is_memory:
            return
        for _ in range(GIVE_BACK_MOST // GIVE_BACK_PAGES):
            if not self._has_much_free():
                return
            with self._alone():
                try:  # as a script: `execute` takes one step, which is one page
                    self._writing().executescript(f"PRAGMA incremental_vacuum({GIVE_BACK_PAGES})")
                except sqlite3.Error as error:
                    self._drop_writer()
                    raise failures.plain(error, self.path) from error

    def _has_much_free(self) -> bool:
        with self.reading(is_snapshot=True) as connection:
            free = connection.execute("PRAGMA freelist_count").fetchone()[0]
            return free > max(FREE_LEAST, connection.execute("PRAGMA page_count").fetchone()[0] // 4)

    def stop_writing(self) -> None:
        """Let go of what writes, until something is written again: closing then waits for nobody."""
        if not self.is_memory:
            with self._alone():
                self._drop_writer()

    def close(self) -> None:
        """A second call does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._pid != os.getpid():
            self._leave_to_parent()
            return
        for reader in self._readers:
            reader.close()
        self._readers.clear()
        with self._guard:
            self._close_writer()

    # -- opening ------------------------------------------------------------------------------------------------

    def _prepare(self, path: Path) -> None:
        refuse_remote(path.parent)
        if not path.exists():
            lock = self._write_lock()
            lock.acquire(self.patience_s)
            try:
                if not path.exists():
                    schema.create(path)
            except OSError as error:
                raise failures.plain(error, self.path) from error
            finally:
                lock.release()
        if path.stat().st_size == 0:
            raise failures.empty(self.path)
        with self.reading() as connection:
            is_current = schema.is_current(connection, self.path)
        if not is_current:
            with self._alone():
                schema.upgrade(self._writing())
                self._drop_writer()

    @property
    def _is_on_read_only_disk(self) -> bool:
        return bool(os.statvfs(os.path.dirname(os.path.abspath(self.path))).f_flag & os.ST_RDONLY)

    def _write_lock(self) -> WriteLock:
        if self._lock is None:
            self._lock = WriteLock(Path(self.path + ".lock"))
        return self._lock

    def _writing(self) -> sqlite3.Connection:
        """The connection that writes; on a file the caller holds the write lock."""
        if self._writer is None:
            try:
                connection = sqlite3.connect(
                    self.path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False, cached_statements=256
                )
                for setting in ("journal_mode = WAL", "synchronous = FULL", "wal_autocheckpoint = 0"):
                    connection.execute(f"PRAGMA {setting}")
                connection.execute("SELECT 1 FROM logs").fetchone()  # opens the WAL, so its file is there
                self._wal = WalFile(self.path + "-wal", schema.PAGE_BYTES)
            except (sqlite3.Error, OSError) as error:
                raise failures.plain(error, self.path) from error
            self._writer = connection
        return self._writer

    @contextmanager
    def _wal_file(self) -> Generator[WalFile | None]:
        try:
            wal = None if self.is_memory else WalFile(self.path + "-wal", schema.PAGE_BYTES)
        except FileNotFoundError:
            wal = None
        try:
            yield wal
        finally:
            if wal is not None:
                wal.close()

    def _borrow(self) -> sqlite3.Connection:
        try:
            return self._readers.pop()
        except IndexError:
            pass
        # Without its log, on a disk where none can be made, the file is all there is, and nobody changes it.
        is_alone = self._is_on_read_only_disk and not os.path.exists(self.path + "-wal")
        try:
            return sqlite3.connect(
                f"file:{_quoted(self.path)}?mode=ro{'&immutable=1' if is_alone else ''}",
                uri=True,
                timeout=_BUSY_S,
                isolation_level=None,
                check_same_thread=False,
            )
        except sqlite3.Error as error:
            raise failures.plain(error, self.path) from error

    # -- holding ------------------------------------------------------------------------------------------------

    @contextmanager
    def _alone(self) -> Generator[None]:
        """Nobody else writes: neither a thread of this process nor another process."""
        self._check_process()
        if not self._guard.acquire(timeout=-1 if self.patience_s is None else self.patience_s):
            raise failures.held(self.path, os.getpid(), self.patience_s or 0.0)
        try:
            if self.is_memory:
                yield
                return
            lock = self._write_lock()
            lock.acquire(self.patience_s)
            try:
                yield
            finally:
                lock.release()
        finally:
            self._guard.release()

    def _undo(self, connection: sqlite3.Connection, error: BaseException) -> None:
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._drop_writer()
        if isinstance(error, sqlite3.Error):
            # A failed fsync must not be tried again on the same connection: its cache may hold what the disk lost.
            self._drop_writer()

    def _drop_writer(self) -> None:
        if self._writer is not None and not self.is_memory:
            self._writer.close()
            self._writer = None
            if self._wal is not None:
                self._wal.close()
                self._wal = None

    def _close_writer(self) -> None:
        if self._lock is None:
            if self._writer is not None:
                self._writer.close()
            return
        if self._writer is not None:
            # The last connection's close is a checkpoint, so it stands in the queue as well.
            self._lock.acquire(self.patience_s)
            try:
                self._drop_writer()
            finally:
                self._lock.release()
        self._lock.close()

    def _check_process(self) -> None:
        if self._is_closed:
            raise StoreError("the store is closed", where=self.path, cure="open it again")
        if self._pid == os.getpid():
            return
        if self.is_memory:
            raise StoreError("a :memory: store belongs to the process that made it", cure="use a file to share a store")
        self._leave_to_parent()

    def _leave_to_parent(self) -> None:
        _left_to_parent.extend([self._writer, *self._readers, self._lock, self._wal])
        self._guard = threading.Lock()
        self._writer, self._readers, self._lock, self._wal = None, [], None, None
        self._pid = os.getpid()

    # -- the WAL ------------------------------------------------------------------------------------------------

    def _checkpoint_if_due(self, wal: WalFile) -> None:
        """Once for each 16 MB more: what a slow reader holds back is not tried again at every commit.

        PASSIVE waits for nobody, so readers that relieve each other would let the log grow for ever; above 64 MB a
        RESTART waits, shortly, for a moment in which all of them read the database alone.
        """
        salt, moved_bytes = self._moved
        try:
            if wal.salt() != salt:
                moved_bytes = 0
            if wal.exceeds(moved_bytes + CHECKPOINT_BYTES):
                self._checkpoint("RESTART" if wal.exceeds(RESTART_BYTES) else "PASSIVE")
                self._moved = (wal.salt(), wal.used_bytes())
        except (StoreError, OSError) as error:
            # The commit before it stands. A full disk is met by the next one itself; of all else it is told.
            self._owes_checkpoint = getattr(error, "code", "") != "HR4020"

    def _checkpoint(self, mode: str) -> None:
        try:
            connection = self._writing()
            connection.execute(f"PRAGMA busy_timeout = {int(_RESTART_S * 1000)}")
            connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
            connection.execute(f"PRAGMA busy_timeout = {int(_BUSY_S * 1000)}")
        except sqlite3.Error as error:
            self._drop_writer()
            raise failures.plain(error, self.path) from error


def _identity(path: str) -> tuple[int, int] | None:
    """Device and inode; None where there is nothing."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_dev, found.st_ino)


def _memory() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False, cached_statements=256)
    connection.deserialize(schema.memory_image())
    return connection


def _quoted(path: str) -> str:
    return os.path.abspath(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
