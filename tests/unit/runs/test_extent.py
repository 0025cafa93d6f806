"""How much of a run's maps is to come, from what the rows of a run in the middle of them say."""

from __future__ import annotations

import pytest

from headrace.definitions.nodes import Const, Element, Graph, Node, Scope
from headrace.runs.extent import Extent
from headrace.runs.rows import CellRow, ScopeRow

GRAPH = Graph(
    (Node("one", "task", "m:one"), Node("a", "task", "m:a", scope=("s",)), Node("b", "task", "m:b", scope=("s", "t"))),
    (Scope("s", Const([[1], [2, 3]])), Scope("t", Element("s"), ("s",))),
)


def cell(node: str, path: str = "", *, succeeded: int = 0, failed: int = 0, is_skipped: bool = False) -> CellRow:
    return CellRow("r", node, path, 0, succeeded, failed, 0, 0, is_skipped, None, False)


def expanded(scope: str, path: str, n: int) -> ScopeRow:
    return ScopeRow("r", scope, path, n)


@pytest.mark.parametrize(
    ("node", "cells", "scopes", "left"),
    [
        ("one", [], [], (1, 1)),
        ("one", [cell("one", failed=1)], [], (0, 0)),
        ("one", [cell("one", is_skipped=True)], [], (0, 0)),
        ("a", [], [], None),
        ("a", [], [expanded("s", "", 0)], (0, 0)),
        ("a", [cell("a", succeeded=1)], [expanded("s", "", 3)], (2, 3)),
        ("a", [cell("a", succeeded=2, failed=1)], [expanded("s", "", 3)], (0, 0)),
        ("b", [], [expanded("s", "", 2), expanded("t", "0", 1)], None),
        (
            "b",
            [cell("b", "1", succeeded=1)],
            [expanded("s", "", 2), expanded("t", "0", 1), expanded("t", "1", 2)],
            (2, 3),
        ),
        ("b", [cell("b", "0", is_skipped=True)], [expanded("s", "", 2), expanded("t", "1", 2)], (2, 2)),
        ("b", [cell("b", is_skipped=True)], [expanded("s", "", 2)], (0, 0)),
    ],
)
def test_what_is_left(node: str, cells: list[CellRow], scopes: list[ScopeRow], left: tuple[int, int] | None) -> None:
    extent = Extent(GRAPH, cells, scopes)
    assert extent.left(node) == left
    assert extent.has_ended(node) == (left == (0, 0))
