"""Pickle, the last resort: between tasks of one author, in a worker only, always visible as `codec == "pickle"`."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any


class Pickled:
    """Anything pickle takes. The engine and the server never read it: unpickling runs code."""

    name = "pickle"
    suffix = ".pickle"

    def write(self, value: Any, path: Path) -> None:
        path.write_bytes(pickle.dumps(value, protocol=5))

    def load(self, path: Path) -> bytes:
        return path.read_bytes()

    def hand_out(self, loaded: bytes) -> Any:
        return pickle.loads(loaded)
