"""Frames on a byte stream: four bytes of length, then a msgpack array of messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

_LENGTH_BYTES = 4
_encoder = msgspec.msgpack.Encoder()


def frame(messages: Sequence[Any]) -> bytes:
    """The bytes of one frame."""
    body = _encoder.encode(messages)
    return len(body).to_bytes(_LENGTH_BYTES, "little") + body


class FrameReader:
    """Collects bytes and gives the messages of every complete frame. `shape` is `list[…]` of their union.

    >>> FrameReader(list[int]).feed(frame([1, 2]))
    [1, 2]
    """

    def __init__(self, shape: Any) -> None:
        self._decoder: msgspec.msgpack.Decoder[list[Any]] = msgspec.msgpack.Decoder(shape)
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[Any]:
        self._pending += data
        messages: list[Any] = []
        start = 0
        with memoryview(self._pending) as pending:
            while len(pending) - start >= _LENGTH_BYTES:
                begin = start + _LENGTH_BYTES
                end = begin + int.from_bytes(pending[start:begin], "little")
                if end > len(pending):
                    break
                messages += self._decoder.decode(pending[begin:end])
                start = end
        del self._pending[:start]
        return messages
