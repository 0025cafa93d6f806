"""Bugs planted on purpose: each takes one safeguard away. A simulator that does not notice is too weak."""

from __future__ import annotations

from planted import execution, fencing, learning, retention, retrying, scheduling, starting, streams
from planted.registry import PLANTS, Plant

__all__ = [
    "PLANTS",
    "Plant",
    "execution",
    "fencing",
    "learning",
    "retention",
    "retrying",
    "scheduling",
    "starting",
    "streams",
]
