"""The code of docs/authoring.md runs: its blocks in order, as one module; then the tests that it shows."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from headrace.base.place import own_place

PAGE = Path(__file__).parents[2] / "docs" / "authoring.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(text: str) -> Iterator[tuple[int, str]]:
    """Each Python block with the number of its first line."""
    for found in BLOCK.finditer(text):
        yield text.count("\n", 0, found.start(1)) + 1, found[1]


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module that the page is: known by name, as functions are found again by it."""
    module = ModuleType("authoring_page")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def test_every_block_runs_and_the_tests_it_shows_pass(page: ModuleType, tmp_path: Path) -> None:
    found = list(blocks(PAGE.read_text()))
    for line, block in found:
        # Empty lines in front: an error names the line of the page.
        exec(compile("\n" * (line - 1) + block, str(PAGE), "exec", dont_inherit=True), vars(page))
    shown = [name for name in vars(page) if name.startswith("test_")]
    for name in shown:
        with own_place(lambda name=name: tmp_path / name):
            getattr(page, name)()
    assert len(found) > 10
    assert len(shown) == 2


def test_no_option_is_left_out() -> None:
    from headrace.graph.options import TaskOptions

    text = PAGE.read_text()
    assert [name for name in TaskOptions.__annotations__ if f"`{name}`" not in text] == []
