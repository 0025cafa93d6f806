"""Rights on one host: kernel locks on files, free at the holder's death, without timers."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from headrace.errors import EngineUnavailableError, StoreError

ENGINE_LOCK = "engine.lock"  # in the folder of locks: the right to serve the project
LOOK_S, LOOKS_MOST = 0.001, 1000  # who looks at a right is soon done with it

_held: set[int] = set()


def _leave_to_parent() -> None:
    """A forked child has no right: else it would keep what its parent's death should free."""
    for fd in _held:
        os.close(fd)
    _held.clear()


os.register_at_fork(after_in_child=_leave_to_parent)


@dataclass(slots=True)
class Right:
    """A right that is held: the open file keeps the lock. Closing it, or dying, gives it back."""

    path: Path
    fd: int

    def release(self) -> None:
        if self.fd >= 0:
            _held.discard(self.fd)
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Right:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def take_right(path: Path) -> Right | None:
    """Take the right now, or None where another process has it. The holder's pid stands in the file.

    Where somebody only looks at it that moment is waited for.
    Raises StoreError where the file cannot be made or written.
    """
    fd = -1
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        _lock(fd)
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
    except OSError as error:
        if fd >= 0:
            os.close(fd)
        if isinstance(error, BlockingIOError):
            return None
        raise _unusable(error, path) from error
    _held.add(fd)
    return Right(path, fd)


def _lock(fd: int) -> None:
    """Take the lock for this process alone. Raises BlockingIOError where another one has it."""
    for _ in range(LOOKS_MOST):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)  # raises where it is held, not looked at
            fcntl.flock(fd, fcntl.LOCK_UN)
            time.sleep(LOOK_S)
        else:
            return
    raise BlockingIOError


def take_engine_right(locks: Path) -> Right:
    """The right to serve the project. Raises EngineUnavailableError (HR5010) where an engine has it."""
    path = locks / ENGINE_LOCK
    right = take_right(path)
    if right is None:
        raise EngineUnavailableError(
            f"an engine serves this project already (process {holder_of(path)})",
            where=str(locks),
            cure="use that one, or end it first",
            code="HR5010",
        )
    return right


@contextmanager
def backing_up(locks: Path, word: str) -> Generator[None]:
    """While inside, no file that a row named when this began is deleted. `word` tells this backup from any other.

    On a disk that nobody can write nothing is deleted anyway. Raises StoreError where the lock cannot be taken.
    """
    if os.statvfs(locks if locks.exists() else locks.parent).f_flag & os.ST_RDONLY:
        yield
        return
    path = locks / f"backup-{word}.lock"
    right = take_right(path)
    assert right is not None, "the word is that of another backup"
    with right:
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def is_backed_up(locks: Path) -> bool:
    """Whether a backup is being made."""
    return any(holder_of(path) is not None for path in locks.glob("backup-*.lock"))


def holder_of(path: Path) -> int | None:
    """Pid of the process that holds the right, None where nobody does."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared, so that two who look are no holders to each other
    except BlockingIOError:
        text = os.pread(fd, 32, 0).decode(errors="replace").strip()
        return int(text) if text.isdigit() else 0
    else:
        return None
    finally:
        os.close(fd)


def _unusable(error: OSError, path: Path) -> StoreError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError("the disk is full", where=str(path), cure="free some space, then try again", code="HR4020")
    cure = f"make {path.parent} a folder that you may write to"
    return StoreError(f"a lock cannot be taken: {error}", where=str(path), cure=cure, code="HR4030")
