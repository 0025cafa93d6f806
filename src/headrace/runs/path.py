"""Where in nested maps something stands: the indices of the enclosing maps, outermost first."""

from __future__ import annotations

Path = tuple[int, ...]


def path_text(path: Path) -> str:
    """`(3, 0)` as "3.0": how a path stands in facts and rows."""
    return ".".join(map(str, path))


def path_of(text: str) -> Path:
    return tuple(map(int, text.split("."))) if text else ()
