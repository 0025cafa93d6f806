"""Where a test's data lie: a folder of its own, chosen when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

_chosen: list[Callable[[], Path]] = []


@contextmanager
def own_place(make: Callable[[], Path]) -> Generator[None]:
    """Inside, `place()` answers `make()`: made once, and only if somebody asks."""
    made: list[Path] = []

    def once() -> Path:
        if not made:
            made.append(make())
        return made[0]

    _chosen.append(once)
    try:
        yield
    finally:
        _chosen.remove(once)


def place() -> Path | None:
    """The folder of the test that is running; None outside of tests."""
    return _chosen[-1]() if _chosen else None
