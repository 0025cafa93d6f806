"""What went wrong with the database, in plain words: SQLite's and the system's errors as StoreError with a cure."""

from __future__ import annotations

import errno
import os
import sqlite3

from headrace.errors import DamagedError, StoreError

_FULL, _READ_ONLY, _DAMAGED, _BUSY, _IO = "HR4020", "HR4030", "HR4040", "HR4050", "HR4080"
_BY_CODE = {
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_CANTOPEN: _READ_ONLY,
    sqlite3.SQLITE_PERM: _READ_ONLY,
    sqlite3.SQLITE_AUTH: _READ_ONLY,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_BUSY: _BUSY,
    sqlite3.SQLITE_LOCKED: _BUSY,
    sqlite3.SQLITE_PROTOCOL: _BUSY,
    sqlite3.SQLITE_IOERR: _IO,
}
_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EEXIST)
_SAY = {
    _FULL: ("the disk is full", "free some space, then try again: nothing was half written"),
    _READ_ONLY: (
        "the database cannot be written or opened",
        "check that the file, its folder and the files beside it (-wal, -shm, .lock) belong to you and are writable",
    ),
    _DAMAGED: (
        "the database is damaged or not a Headrace store",
        "keep the file, look at the disk, and restore a copy; headrace doctor shows what is broken",
    ),
    _BUSY: ("another program holds the database", "close other programs that have this file open for writing"),
    _IO: ("the disk refused to read or write", "look at the system's log for disk errors before going on"),
}


def plain(error: sqlite3.Error | OSError, path: str) -> StoreError:
    """The StoreError for an error of SQLite or of the file system, with the original as text."""
    code = _of_system(error) if isinstance(error, OSError) else _of_sqlite(error, path)
    said, cure = _SAY.get(code, ("the database refused", "please report this: it is not expected"))
    kind = DamagedError if code == _DAMAGED else StoreError
    return kind(f"{said} ({error})", where=path, cure=cure, code=code)


def held(path: str, pid: int | None, seconds: float) -> StoreError:
    """Somebody holds the write lock and does not let go."""
    who = f"by process {pid}" if pid else "by an unknown process"
    cure = f"see what it does:  ps -fp {pid}  (a stopped one goes on with  kill -CONT {pid})" if pid else None
    return StoreError(f"the store is held {who} for {seconds:.0f} s", where=path, cure=cure, code=_BUSY)


def elsewhere(path: str) -> StoreError:
    """The file that is open is not the one at the path any longer: nobody else would ever see what is written there."""
    return StoreError(
        "the store was deleted or moved while it was in use: nothing more is written to it",
        where=path,
        cure=f"put {os.path.dirname(os.path.abspath(path))} back and start again; without it, everything begins anew",
        code="HR4031",
    )


def empty(path: str) -> StoreError:
    """A file without a byte: a store never is one, since it is made whole and put into its place."""
    return DamagedError(
        "the database is empty (0 bytes): what was in it is lost",
        where=path,
        cure=f"restore a copy; or remove {os.path.dirname(os.path.abspath(path))} on purpose, which begins anew",
        code=_DAMAGED,
    )


def _of_sqlite(error: sqlite3.Error, path: str) -> str:
    extended = getattr(error, "sqlite_errorcode", None)
    if extended is None:  # raised by Python, for a text that is none
        return _DAMAGED if "decode to UTF-8" in str(error) else "HR4000"
    code = _BY_CODE.get(extended & 0xFF, "HR4000")
    # A full disk shows as an I/O error where the shared-memory file could not grow.
    return _FULL if code == _IO and _is_full(path) else code


def _of_system(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _FULL
    return _READ_ONLY if error.errno in _NOT_ALLOWED else _IO


def _is_full(path: str) -> bool:
    try:
        space = os.statvfs(os.path.dirname(os.path.abspath(path)))
    except OSError:
        return False
    return space.f_bavail * space.f_frsize < 1 << 20
