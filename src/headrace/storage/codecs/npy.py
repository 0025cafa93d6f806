"""Numpy arrays as `.npy` files, read by mmap: a reader's pages are loaded when they are touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class Npy:
    """`numpy.ndarray` without Python objects. What is read is read-only: `array.copy()` gives one to change."""

    name = "npy"
    suffix = ".npy"

    def write(self, value: Any, path: Path) -> None:
        import numpy as np

        with path.open("wb") as file:
            np.save(file, value, allow_pickle=False)

    def load(self, path: Path) -> Any:
        import numpy as np

        array = np.load(path, mmap_mode=None, allow_pickle=False) if _is_small(path) else np.load(path, mmap_mode="r")
        array.flags.writeable = False
        return array

    def hand_out(self, loaded: Any) -> Any:
        import numpy as np

        return np.asarray(loaded).view(np.ndarray)


def _is_small(path: Path) -> bool:
    return path.stat().st_size <= 65_536  # a copy is cheaper than a mapping; an empty array has no mapping
