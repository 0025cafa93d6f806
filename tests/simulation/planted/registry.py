"""What a planted bug is, and the list of all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

Apply = Callable[[pytest.MonkeyPatch], None]
PLANTS: list[Plant] = []


@dataclass(frozen=True)
class Plant:
    """`area`: what it weakens. `name` says in words what goes wrong."""

    area: str
    name: str
    apply: Apply


def plant(area: str) -> Callable[[Apply], Apply]:
    """Plant a bug: the function's name, with its underscores as blanks, is the bug in words."""

    def add(apply: Apply) -> Apply:
        PLANTS.append(Plant(area, apply.__name__.replace("_", " "), apply))
        return apply

    return add
