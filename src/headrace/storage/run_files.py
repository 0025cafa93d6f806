"""The files that runs leave behind, deleted once no row names them: their artifacts, and the logs of their workers."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from headrace.errors import CodecError, StoreError
from headrace.runs.rows import LeftFiles
from headrace.storage.local import LocalStorage, safe_name
from headrace.storage.values import Values


class LocalRunFiles:
    """Implements `ports.RunFiles`. `is_backed_up`: whether a backup is being made, which may still copy what goes."""

    def __init__(self, storage: LocalStorage, logs: Path, is_backed_up: Callable[[], bool]) -> None:
        self._storage, self._logs, self._is_backed_up = storage, logs, is_backed_up
        self._values = Values(storage)

    def drop(self, runs: Sequence[LeftFiles]) -> bool:
        if self._is_backed_up():
            return False
        for left in runs:
            try:
                kept = self._kept(left)
            except CodecError:  # which files belong to the value cannot be told, so all of them stay
                continue
            self._storage.prune(safe_name(left.run), kept)
        self._storage.settle()
        return True

    def drop_logs(self, before_us: int) -> None:
        try:
            for file in self._logs.iterdir() if self._logs.is_dir() else ():
                if file.stat().st_mtime_ns < before_us * 1000 and file.is_file():
                    _drop_unless_open(file)
        except FileNotFoundError:
            return  # somebody else clears up as well
        except OSError as error:
            raise StoreError(
                f"old logs cannot be deleted: {error}", where=str(self._logs), cure="see dmesg", code="HR4022"
            ) from error

    def _kept(self, left: LeftFiles) -> set[str]:
        files = (file.path for value in left.values for file in self._values.files(value))
        return {*left.paths, *(path for path in files if path is not None)}


def _drop_unless_open(file: Path) -> None:
    """Whoever writes a log holds a shared lock on it, as do the processes that were given it."""
    with file.open("rb") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            return
        os.unlink(file)
