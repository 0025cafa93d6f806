"""What every codec that writes a file can do."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol


class Codec(Protocol):
    """One stored form. `load` may return a stand-in for the value, from which `hand_out` makes each reader's own.

    So a worker reads a file once for ten thousand items, and no item sees what another did to its argument.
    """

    name: str
    suffix: str

    def write(self, value: Any, path: Path) -> None: ...
    def load(self, path: Path) -> Any: ...
    def hand_out(self, loaded: Any) -> Any: ...
