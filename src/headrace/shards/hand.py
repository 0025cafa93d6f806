"""What a stream process has in hand while user code runs: a few bytes in a file, which outlive a killed process.

They are written to the page cache and never fsynced: only the death of a process is asked about, not that of a host.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

from headrace.streams.owner import Hand

_SHAPE = struct.Struct("<qqq")
_NOTHING = _SHAPE.pack(-1, -1, 0)


class HandFile:
    """The hand of one shard. Whoever holds the shard's right may write it."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def left(self) -> Hand | None:
        """What the last owner had in hand when it died; None where it had nothing."""
        body = os.pread(self._fd, _SHAPE.size, 0)
        if len(body) != _SHAPE.size:
            return None
        first, end, is_suspect = _SHAPE.unpack(body)
        return Hand(first, end, bool(is_suspect)) if 0 <= first < end else None

    def take(self, hand: Hand) -> None:
        os.pwrite(self._fd, _SHAPE.pack(hand.first, hand.end, hand.is_suspect), 0)

    def drop(self) -> None:
        os.pwrite(self._fd, _NOTHING, 0)

    def close(self) -> None:
        os.close(self._fd)
