"""Whether commits are lost in a write-ahead log: SQLite reads it up to the first frame that is not sound, and is silent.

Each frame's checksum goes on from that of the frame before (sqlite.org/fileformat2.html#walformat).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_HEADER_BYTES = 32
_FRAME_HEADER_BYTES = 24
_MAGIC = 0x377F0682  # the last bit says in which order the bytes of a word are summed up
_MASK = 0xFFFFFFFF

Words = NDArray[np.uint32]


class Break(NamedTuple):
    """Where a log breaks off, counted from 1, and how many transactions were committed there and after."""

    frame: int
    commits: int


def break_of(path: str) -> Break | None:
    """The place from which on commits are lost; None where all can be read. The caller keeps writers away.

    A machine that loses power leaves the last transaction torn, which nobody was told of; so two must be there.
    """
    with open(path, "rb") as file:
        header = file.read(_HEADER_BYTES)
        if len(header) < _HEADER_BYTES:
            return None
        magic, page_bytes = int.from_bytes(header[:4], "big"), int.from_bytes(header[8:12], "big")
        order = ">u4" if magic & 1 else "<u4"
        if magic & ~1 != _MAGIC or _sum(header[:24], order, (0, 0)) != _pair(header[24:]):
            salt = None
            page_bytes = page_bytes if page_bytes in (4096, 16384) else 16384
        else:
            salt = header[16:24]
        frames = _frames(file.fileno(), page_bytes)
        return _break(frames, salt, order, _pair(header[24:]))


def _break(frames: Iterator[bytes], salt: bytes | None, order: str, so_far: tuple[int, int]) -> Break | None:
    at, commits, is_sound = 0, 0, True
    for number, frame in enumerate(frames, 1):
        if salt is None:  # the header itself is not sound: what follows it is as lost
            salt, is_sound, at = frame[8:16], False, 1
        if frame[8:16] != salt:
            if is_sound:  # from an earlier round of the log, unless those of this one go on behind it
                is_sound, at = False, number
            continue
        if is_sound:
            found = _sum(frame[:8] + frame[_FRAME_HEADER_BYTES:], order, so_far)
            if found == _pair(frame[16:24]):
                so_far = found
                continue
            is_sound, at = False, number
        commits += frame[4:8] != b"\0\0\0\0"
    return Break(at, commits) if commits >= 2 else None


def _frames(fd: int, page_bytes: int) -> Iterator[bytes]:
    size, at = page_bytes + _FRAME_HEADER_BYTES, _HEADER_BYTES
    while len(frame := os.pread(fd, size, at)) == size:
        yield frame
        at += size


def _sum(body: bytes, order: str, before: tuple[int, int]) -> tuple[int, int]:
    """SQLite's checksum: s0 += x + s1, s1 += y + s0 for each pair of words, all of it at once as two scalar products."""
    words = np.frombuffer(body, order).astype(np.uint32)
    first, second, ((a, b), (c, d)) = _factors(len(words) // 2)
    s0 = (a * before[0] + b * before[1] + int((words * first).sum(dtype=np.uint32))) & _MASK
    s1 = (c * before[0] + d * before[1] + int((words * second).sum(dtype=np.uint32))) & _MASK
    return s0, s1


@cache
def _factors(pairs: int) -> tuple[Words, Words, Any]:
    """By what each word counts in s0 and in s1, and the matrix for the sums before."""
    first, second = np.zeros(2 * pairs, np.uint32), np.zeros(2 * pairs, np.uint32)
    a, b, c, d = 1, 0, 0, 1  # the step's matrix [[1, 1], [1, 2]] to the power of the pairs that follow
    for at in range(2 * pairs - 2, -1, -2):
        first[at], first[at + 1] = (a + b) & _MASK, b
        second[at], second[at + 1] = (c + d) & _MASK, d
        a, b, c, d = (a + b) & _MASK, (a + 2 * b) & _MASK, (c + d) & _MASK, (c + 2 * d) & _MASK
    return first, second, ((a, b), (c, d))


def _pair(body: bytes) -> tuple[int, int]:
    return int.from_bytes(body[:4], "big"), int.from_bytes(body[4:8], "big")
