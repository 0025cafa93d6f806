"""What a stream process has in hand while user code runs: a few bytes in a file, which outlive a killed process.

They are written to the page cache and never fsynced: only the death of a process is asked about, not that of a host.
"""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path

from headrace.streams.owner import Hand

_SHAPE = struct.Struct("<qqq")
_NOTHING = _SHAPE.pack(-1, -1, 0)
_FIRST = 8  # bytes of the first offset


class HandFile:
    """The hand of one shard. Whoever holds the shard's right may write it.

    The file is mapped, since a batch writes it twice. There is a hand as soon as there is its first offset, which is
    written last: a process that is killed before that leaves none, and user code has not run.
    """

    def __init__(self, path: Path) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(fd).st_size < _SHAPE.size:
                os.pwrite(fd, _NOTHING, 0)  # bytes that are there: a full disk is met here, not in a mapped page
            self._body = mmap.mmap(fd, _SHAPE.size)
        finally:
            os.close(fd)

    def left(self) -> Hand | None:
        """What the last owner had in hand when it died; None where it had nothing."""
        return _hand(self._body[:])

    def take(self, hand: Hand) -> None:
        body = _SHAPE.pack(hand.first, hand.end, hand.is_suspect)
        self._body[_FIRST:] = body[_FIRST:]
        self._body[:_FIRST] = body[:_FIRST]

    def drop(self) -> None:
        self._body[:_FIRST] = _NOTHING[:_FIRST]

    def close(self) -> None:
        self._body.close()


def left_in_hand(path: Path) -> Hand | None:
    """The same, looked at from outside; None where there was never an owner."""
    try:
        body = path.read_bytes()
    except FileNotFoundError:
        return None
    return _hand(body) if len(body) == _SHAPE.size else None


def _hand(body: bytes) -> Hand | None:
    first, end, is_suspect = _SHAPE.unpack(body)
    return Hand(first, end, bool(is_suspect)) if 0 <= first < end else None
