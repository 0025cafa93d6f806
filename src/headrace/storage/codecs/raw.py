"""Bytes as they are."""

from __future__ import annotations

from pathlib import Path


class RawBytes:
    """`bytes`."""

    name = "bytes"
    suffix = ".bin"

    def write(self, value: bytes, path: Path) -> None:
        path.write_bytes(value)

    def load(self, path: Path) -> bytes:
        return path.read_bytes()

    def hand_out(self, loaded: bytes) -> bytes:
        return loaded
