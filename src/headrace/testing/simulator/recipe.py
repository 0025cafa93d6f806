"""A schedule as data: what its seed drew, and what was left out of it since. Shrinking leaves out; a corpus keeps it."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import msgspec

from headrace.testing.simulator.draw import Draw, draw


@dataclass(frozen=True)
class Recipe:
    """`left_out`: faults that do not strike, as (name, how many of it came before). `undone`: what people do not do,
    by its number in their plan. `most_nodes`: how many nodes each graph keeps. `salt`: another order of messages.
    """

    seed: int
    draw: Draw
    left_out: frozenset[tuple[str, int]] = frozenset()
    undone: frozenset[int] = frozenset()
    most_nodes: int = 99
    salt: int = 0
    about: dict[str, Any] = field(default_factory=dict[str, Any])  # why it is kept: for people

    @property
    def size(self) -> tuple[int, ...]:
        """Smaller is easier to read."""
        drawn = self.draw
        return (
            len(drawn.features), len(drawn.faults), drawn.asks - len(self.undone), self.most_nodes, drawn.workers,
            drawn.length_s, -len(self.left_out),
        )  # fmt: skip


def recipe_of(seed: int) -> Recipe:
    return Recipe(seed, draw(random.Random(f"{seed}/draw")))


def encode(recipe: Recipe) -> bytes:
    return msgspec.json.format(msgspec.json.encode(recipe, order="sorted"), indent=1)


def decode(body: bytes) -> Recipe:
    return msgspec.json.decode(body, type=Recipe)
