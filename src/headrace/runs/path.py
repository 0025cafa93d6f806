"""Where in nested maps something stands: the indices of the enclosing maps, outermost first."""

from __future__ import annotations

Path = tuple[int, ...]


def path_text(path: Path) -> str:
    """`(3, 0)` as "3.0": how a path stands in facts and rows."""
    return ".".join(map(str, path))


def item_key(run: str, node: str, path: Path, item: int) -> str:
    """What all attempts of an item have in common, and nothing else has: the idempotency key that they are given.

    >>> item_key("r1", "load", (3,), 0)
    'r1/load/3/0'
    """
    return f"{run}/{node}/{path_text(path)}/{item}"


def path_of(text: str) -> Path:
    return tuple(map(int, text.split("."))) if text else ()
