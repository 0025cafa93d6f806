"""Projects with a real engine, ended with everything that they started."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from living import Living

Make = Callable[..., Living]


@pytest.fixture
def living(tmp_path: Path) -> Iterator[Make]:
    """`living(code, toml)` lays a project out; its processes end with the test."""
    made: list[Living] = []

    def make(code: str, toml: str = "") -> Living:
        made.append(Living(tmp_path / f"project{len(made)}", code, toml))
        return made[-1]

    yield make
    for project in made:
        project.end()
