"""Which of what waits in the rows no decision survives: found by trying each suspect once more, alone."""

from __future__ import annotations

from collections.abc import Iterable, Set

Key = int | tuple[str, int]
"""What waits in the rows: a request by its id, a fact of another log by log and seq."""


class Suspicion:
    """Acting on several failed and any of them may be to blame; who fails again, alone, is given up.

    >>> suspicion = Suspicion()
    >>> suspicion.failed([1, 2], "ValueError"); suspicion.failed([2], "ValueError again")
    >>> suspicion.given_up(1), suspicion.given_up(2)
    (None, 'ValueError again')
    """

    def __init__(self) -> None:
        self._why: dict[Key, str | None] = {}  # None: not tried alone yet

    def __bool__(self) -> bool:
        return bool(self._why)

    def __contains__(self, key: Key) -> bool:
        return key in self._why

    def failed(self, keys: Iterable[Key], why: str) -> None:
        for key in keys:
            self._why[key] = why if key in self._why else None

    def given_up(self, key: Key) -> str | None:
        """Why nobody tries it again; None where that is not so."""
        return self._why.get(key)

    def keep(self, waiting: Set[Key]) -> None:
        """Forget those that do not wait any longer."""
        self._why = {key: why for key, why in self._why.items() if key in waiting}
