"""How much of a write-ahead log is in use, read from the log's own file.

The WAL index (`-shm`) would say it directly, but SQLite holds POSIX locks on that file, and a process that opens and
closes it by itself loses them. The `-wal` file carries no locks. Its size says nothing, since it is written again from
its start; but frames of the current round carry the salt of the header (sqlite.org/fileformat2.html#walformat).
"""

from __future__ import annotations

import os

_HEADER_BYTES = 32
_FRAME_HEADER_BYTES = 24


class WalFile:
    """The `-wal` file beside a database, held open as long as the writing connection that keeps it from going away."""

    def __init__(self, path: str, page_bytes: int) -> None:
        self._frame_bytes = page_bytes + _FRAME_HEADER_BYTES
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def used_bytes(self) -> int:
        """Bytes of frames of the current round."""
        low, high = 0, max(0, os.fstat(self._fd).st_size - _HEADER_BYTES) // self._frame_bytes
        salt = self.salt()
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._holds(middle, salt) else (low, middle - 1)
        return low * self._frame_bytes

    def exceeds(self, used_bytes: int) -> bool:
        """Whether more than so many bytes are in use; two small reads."""
        return self._holds(used_bytes // self._frame_bytes + 1, self.salt())

    def salt(self) -> bytes:
        """Changes when the log is written from its start again."""
        return os.pread(self._fd, 8, 16)

    def close(self) -> None:
        os.close(self._fd)

    def _holds(self, frame: int, salt: bytes) -> bool:
        at = _HEADER_BYTES + (frame - 1) * self._frame_bytes + 8
        return len(salt) == 8 and os.pread(self._fd, 8, at) == salt
