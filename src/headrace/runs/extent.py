"""How many items the maps of a run have: what tells a task that has ended from one of which items are to come."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from headrace.definitions.nodes import Graph, Node
from headrace.runs.path import Path, path_of
from headrace.runs.rows import ScopeRow


class Counted(Protocol):
    """Counts of a task run's items at one path."""

    @property
    def node(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def succeeded(self) -> int: ...
    @property
    def failed(self) -> int: ...
    @property
    def skipped(self) -> int: ...
    @property
    def cancelled(self) -> int: ...
    @property
    def is_skipped(self) -> bool: ...


class Extent:
    """Questions about one run, whose maps have expanded as `scopes` say and whose items have ended as `cells` say."""

    def __init__(self, graph: Graph, cells: Iterable[Counted], scopes: Iterable[ScopeRow]) -> None:
        self._nodes = {node.name: node for node in graph.nodes}
        self._n = {(scope.scope, path_of(scope.path)): scope.n for scope in scopes}
        self._ended: dict[tuple[str, Path], int | None] = {}  # None: all that there are, since it was skipped whole
        for cell in cells:
            ended = cell.succeeded + cell.failed + cell.skipped + cell.cancelled
            self._ended[cell.node, path_of(cell.path)] = None if cell.is_skipped else ended

    def has_ended(self, node: str) -> bool:
        """Whether nothing of the task is to come."""
        return self.left(node) == (0, 0)

    def left(self, node: str) -> tuple[int, int] | None:
        """(items of the task that have not ended, all that it has where it was not skipped whole); None while a map
        around it has not expanded everywhere. Of a task that has ended it is (0, 0).
        """
        found = self._left(self._nodes[node], ())
        return (0, 0) if found is not None and found[0] == 0 else found

    def _left(self, node: Node, path: Path) -> tuple[int, int] | None:
        ended = self._ended.get((node.name, path), 0)
        if ended is None:
            return (0, 0)
        if not node.scope:
            return (1 - ended, 1)
        n = self._n.get((node.scope[len(path)], path))
        if n is None or len(path) + 1 == len(node.scope):
            return None if n is None else (n - ended, n)
        inner = [self._left(node, (*path, item)) for item in range(n)]
        known = [x for x in inner if x is not None]
        return (sum(x for x, _ in known), sum(x for _, x in known)) if len(known) == len(inner) else None
