"""What a message shows of a name that somebody has given."""

from __future__ import annotations

SHOWN_MOST = 80  # characters: names are short, and what is not is a mistake that its beginning tells


def shown(name: str) -> str:
    """The name in quotes, and its beginning alone where it is long.

    >>> shown("train"), shown("a" * 5000) == repr("a" * 79 + "…")
    ("'train'", True)
    """
    return repr(name if len(name) <= SHOWN_MOST else f"{name[: SHOWN_MOST - 1]}…")
