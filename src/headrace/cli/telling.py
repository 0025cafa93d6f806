"""Telling people what happens, for work that goes on whether or not they can be told."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Telling:
    """Shows things. Where that fails the caller goes on, and it is said once, by `say`, when something can be shown again.

    For any thread. A disk that is full and a value that no words were foreseen for are the same here.

    >>> shown = []
    >>> telling = Telling(shown.append)
    >>> telling.tell(lambda n: shown.append(1 / n), 0)
    >>> telling.tell(shown.append, "on it goes")
    >>> shown
    ['on it goes', '1 line before this one could not be printed in time (ZeroDivisionError: division by zero)']
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._lock = threading.Lock()
        self._missed, self._why = 0, ""

    def tell(self, show: Callable[[T], None], what: T) -> None:
        """Show it. Raises nothing but what ends a process."""
        with self._lock:
            try:
                show(what)
                if self._missed:
                    lines = "1 line" if self._missed == 1 else f"{self._missed:,} lines"
                    self._say(f"{lines} before this one could not be printed in time ({self._why})")
                    self._missed = 0
            except Exception as error:
                self._missed += 1
                self._why = f"{type(error).__name__}: {error}"
