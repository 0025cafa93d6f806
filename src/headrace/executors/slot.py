"""Sixteen bytes that a worker shares with its engine: which attempt it began last, and since when it runs."""

from __future__ import annotations

import mmap
import sys
from dataclasses import dataclass
from pathlib import Path

_SIZE_BYTES = 16


@dataclass(frozen=True, slots=True)
class Begun:
    """`serial`: the last attempt whose code was entered (0: none). `since_us`: monotonic, None when it has ended."""

    serial: int
    since_us: int | None


def last_begun(path: Path) -> int:
    """The serial in the slot of a worker that is gone; 0 where its engine died before the slot was made."""
    body = path.read_bytes() if path.exists() else b""
    return int.from_bytes(body[:8], sys.byteorder)


class Slot:
    """Two aligned 8-byte words, each written at once: never torn, readable after the worker's death, no system call."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        with path.open("w+b" if create else "r+b") as file:
            if create:
                file.write(bytes(_SIZE_BYTES))  # and no hole: on a full disk whoever wrote into one would be killed
                file.flush()
            self._map = mmap.mmap(file.fileno(), _SIZE_BYTES)
        self._words = memoryview(self._map).cast("q")

    def begin(self, serial: int, now_us: int) -> None:
        # The serial first: who dies between the two lines counts as begun, which never runs anything twice.
        self._words[0] = serial
        self._words[1] = now_us

    def end(self) -> None:
        self._words[1] = 0

    def read(self) -> Begun:
        return Begun(self._words[0], self._words[1] or None)

    def close(self) -> None:
        self._words.release()
        self._map.close()
