"""Artifacts in a folder without fsync, and what it means that two values are the same to the last bit."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl


class Shelf:
    """Implements `storage.values.Files`."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.root = Path(self._folder.name)

    def write(self, path: str, fill: Callable[[Path], None]) -> Path:
        target = self.locate(path)
        assert not target.exists(), "a name is written once"
        try:
            fill(target)
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        return target

    def write_bytes(self, path: str, body: bytes) -> Path:
        return self.write(path, lambda target: target.write_bytes(body) and None)

    def locate(self, path: str) -> Path:
        return self.root / path

    def files(self) -> list[Path]:
        return sorted(self.root.iterdir())

    def close(self) -> None:
        self._folder.cleanup()


def bits(value: Any) -> Any:
    """Something that is equal for two values exactly when no reader could tell them apart."""
    kind = type(value)
    if kind is pl.DataFrame:
        return "frame", list(value.schema.items()), value.height, repr(value.rows())
    if kind is pl.Series:
        return "series", value.name, value.dtype, repr(value.to_list())
    if kind is pl.LazyFrame:
        return "lazy", bits(value.collect())
    if kind is np.ndarray:
        return "array", value.dtype.descr if value.dtype.names else value.dtype.str, value.shape, value.tobytes()
    if kind is np.bool_:
        return bits(bool(value))  # the one type that is not kept: a branch tests it without numpy
    if kind in (list, tuple):
        return kind, [bits(item) for item in value]
    if kind is dict:
        return kind, [(bits(key), bits(item)) for key, item in value.items()]
    if kind in (set, frozenset):
        return kind, sorted(repr(bits(item)) for item in value)
    return kind, repr(value)
