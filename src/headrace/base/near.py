"""What was probably meant by a name that there is none of."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def near(name: str, known: Iterable[str]) -> str:
    """What was probably meant, as the end of a message; "" where nothing is close.

    >>> near("wrokers", ["workers", "schedules"])
    " (did you mean 'workers'?)"
    """
    close = closest(name, known)
    return "" if close is None else f" (did you mean {close!r}?)"


def closest(name: str, known: Iterable[str], *, least: float = 0.6) -> str | None:
    """The name that is the most like it; None where none is by `least`, of 0 (nothing in common) to 1 (the same).

    >>> closest("dayly", ["daily", "weekly"]), closest("dayly", ["daily"], least=0.9)
    ('daily', None)
    """
    return next(iter(difflib.get_close_matches(name, list(known), 1, least)), None)
