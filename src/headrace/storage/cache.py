"""The values that a worker read lately, bounded by their bytes."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any


class RecentValues:
    """Least recently used go first. One value always stays, however large, so that a map over it reads it once."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._held: OrderedDict[str, tuple[Any, int]] = OrderedDict()
        self._bytes = 0

    def get(self, key: str) -> Any:
        """What was put, or None."""
        found = self._held.get(key)
        if found is None:
            return None
        self._held.move_to_end(key)
        return found[0]

    def put(self, key: str, value: Any, size_bytes: int) -> None:
        if key in self._held:
            self._bytes -= self._held.pop(key)[1]
        self._held[key] = (value, size_bytes)
        self._bytes += size_bytes
        while self._bytes > self._limit_bytes and len(self._held) > 1:
            self._bytes -= self._held.popitem(last=False)[1][1]
