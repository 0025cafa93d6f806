"""The write lock: an advisory lock on a file of its own, in whose queue all writers of one database stand.

The lock is freed by the kernel when its holder dies. The holder writes its pid into the file, so that others can say
whom they wait for.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from pathlib import Path

from headrace.store.sql import failures

_RECORD = "{:<20d} {:<24d}\n"
_ASKS, _ASK_EVERY_S = 50, 0.0002
_BLANK = b" " * 45 + b"\n"


class WriteLock:
    """`<database>.lock`. One thread of a process may hold it at a time; the caller sees to that."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = _open(path)

    def acquire(self, patience_s: float | None) -> None:
        """None waits in the kernel's queue for ever: the fastest way, for processes that a watchdog looks after.

        Raises StoreError (HR4050) that names the holder after `patience_s` seconds.
        """
        if patience_s is None:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
        elif not self._is_soon_free():
            self._wait(patience_s)
        try:
            os.pwrite(self._fd, _RECORD.format(os.getpid(), time.monotonic_ns()).encode(), 0)
        except OSError as error:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
            raise failures.plain(error, str(self.path)) from error

    def release(self) -> None:
        # Blank first: the next holder's pid must never be read with this one's time.
        os.pwrite(self._fd, _BLANK, 0)
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def holder(self) -> tuple[int, float] | None:
        """Pid of the process that holds the lock and the seconds since it took it; None where it is free."""
        fd = _open(self.path)
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read_holder(fd)
        finally:
            os.close(fd)
        return None

    def close(self) -> None:
        os.close(self._fd)

    def _is_soon_free(self) -> bool:
        """Take the lock by asking for it for a while: cheaper than a thread that waits, where commits are short."""
        for _ in range(_ASKS):
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_ASK_EVERY_S)
            else:
                return True
        return False

    def _wait(self, patience_s: float) -> None:
        queued = _Queued(self.path)
        fd = queued.take(patience_s)
        if fd is None:
            pid, seconds = self.holder() or (None, patience_s)
            raise failures.held(str(self.path), pid, max(seconds, patience_s))
        # The lock belongs to the open file that waited for it, so that one takes the place of ours.
        os.close(self._fd)
        self._fd = fd


class _Queued:
    """A place in the lock's queue that can be given up: `flock` has no timeout, so a thread waits in our stead."""

    def __init__(self, path: Path) -> None:
        self._fd = _open(path)
        self._guard = threading.Lock()
        self._granted = threading.Event()
        self._given_up = False
        threading.Thread(target=self._wait, name="headrace-write-lock", daemon=True).start()

    def take(self, patience_s: float) -> int | None:
        if self._granted.wait(patience_s):
            return self._fd
        with self._guard:
            if self._granted.is_set():
                return self._fd
            self._given_up = True
        return None

    def _wait(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        with self._guard:
            if not self._given_up:
                self._granted.set()
                return
        os.close(self._fd)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise failures.plain(error, str(path)) from error


def _read_holder(fd: int) -> tuple[int, float] | None:
    kernel = _kernel_holder(os.fstat(fd).st_ino)
    words = os.pread(fd, len(_BLANK), 0).split()
    if len(words) != 2:
        return None if kernel is None else (kernel, 0.0)
    pid, since_ns = int(words[0]), int(words[1])
    if kernel is not None and kernel != pid:
        # The record is left over from a holder that was killed; the time of the new one is not known yet.
        return kernel, 0.0
    return pid, (time.monotonic_ns() - since_ns) / 1e9


def _kernel_holder(inode: int) -> int | None:
    """The holder as Linux knows it; None elsewhere, or where it lives in another container."""
    try:
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        words = line.split()
        if len(words) >= 8 and words[1] == "FLOCK" and words[3] == "WRITE" and words[5].endswith(f":{inode}"):
            return int(words[4]) or None
    return None
