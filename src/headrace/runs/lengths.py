"""How many items a map has: of a value in the graph, of a result, of the results of another map, at any depth.

What a result holds deeper inside is told by the worker that stored it, as deep as the maps of the graph go over it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from headrace.definitions.nodes import AnyInput, Const, Element, Graph, Param, Ref, Scope, Sequence
from headrace.runs.facts import Value
from headrace.runs.group import SUCCEEDED, Group, ScopeState
from headrace.runs.path import Path
from headrace.runs.plan import GraphPlan, shared_scopes


def mapped_levels(graph: Graph) -> dict[str, int]:
    """How deep the maps of the graph go over one result of each node: 1 over the result, 2 over its elements, and so on.

    A node that no map goes over is left out; so is one of which a map takes only the list of its results.
    """
    scopes = {scope.name: scope for scope in graph.scopes}
    where = {node.name: node.scope for node in graph.nodes}
    levels: dict[str, int] = {}
    for scope in graph.scopes:
        for name, level in _reached(scope.over, scope, 0, scopes, where):
            levels[name] = max(level, levels.get(name, 0))
    return {name: level for name, level in levels.items() if level > 0}


def _reached(
    over: AnyInput, scope: Scope, deeper: int, scopes: dict[str, Scope], where: dict[str, tuple[str, ...]]
) -> Iterator[tuple[str, int]]:
    match over:
        case Ref(node=name, item=item):
            lists = len(where[name]) - shared_scopes(scope.parent, where[name])
            yield name, deeper + (item is not None) + 1 - lists
        case Element(scope=outer):
            yield from _reached(scopes[outer].over, scopes[outer], deeper + 1, scopes, where)
        case Sequence(items=items) if deeper:
            for item in items:
                yield from _reached(item, scope, deeper - 1, scopes, where)
        case _:
            return


class Reached(Protocol):
    """What the lengths rest on: how far the run has come."""

    plan: GraphPlan
    params: dict[str, Any]
    values: dict[tuple[str, Path], Value]
    groups: dict[tuple[str, Path], Group]
    scopes: dict[tuple[str, Path], ScopeState]


class Lengths:
    """Answers from the state of one run."""

    def __init__(self, state: Reached) -> None:
        self._state = state

    def of(self, scope: Scope, path: Path) -> int | None:
        """How many items the map has at this place; None where it goes over what has no elements."""
        return self._length(scope.over, scope, path, ())

    def _length(self, over: AnyInput, scope: Scope, path: Path, indices: Path) -> int | None:
        """The length of the element at these indices of an input, as the scope at `path` sees it."""
        match over:
            case Const(value=value):
                return _plain(value, indices)
            case Param(name=name):
                return _plain(self._state.params.get(name), indices)
            case Sequence(items=items):
                return self._length(items[indices[0]], scope, path, indices[1:]) if indices else len(items)
            case Ref(node=name, item=item):
                own = self._state.plan.nodes[name].node.scope
                key = path[: shared_scopes(scope.parent, own)]
                return self._of_results(name, key, indices if item is None else (item, *indices))
            case Element(scope=name):
                outer = self._state.plan.scopes[name]
                above = outer.depth - 1
                return self._length(outer.scope.over, outer.scope, path[:above], (path[above], *indices))
            case _:
                return None

    def _of_results(self, name: str, key: Path, indices: Path) -> int | None:
        """The same of the results below the key: a list of what has succeeded, nested as the maps are."""
        node = self._state.plan.nodes[name]
        while len(key) < node.depth:
            if len(key) == node.depth - 1:
                group = self._state.groups[name, key]
                if not indices:
                    return group.succeeded
                key = (*key, _nth_succeeded(group, indices[0]))
            else:
                inner = self._expanded(node.node.scope[len(key) + 1], key)
                if not indices:
                    return len(inner)
                key = inner[indices[0]]
            indices = indices[1:]
        return _stored(self._state.values[name, key], indices)

    def _expanded(self, scope: str, key: Path) -> list[Path]:
        """Where the inner map has been expanded, directly below the key: the lists that a consumer is given."""
        count = self._state.scopes[self._state.plan.scopes[scope].scope.parent[-1], key].n
        places = ((*key, index) for index in range(count))
        return [place for place in places if self._state.scopes[scope, place].n >= 0]


def _nth_succeeded(group: Group, n: int) -> int:
    if group.succeeded == group.n:
        return n
    return [item for item in range(group.n) if group.status[item] == SUCCEEDED][n]


def _plain(value: Any, indices: Path) -> int | None:
    for index in indices:
        if not isinstance(value, list | tuple):
            return None
        value = value[index]  # pyright: ignore[reportUnknownVariableType]
    return len(value) if isinstance(value, list | tuple) else None  # pyright: ignore[reportUnknownArgumentType]


def _stored(value: Value, indices: Path) -> int | None:
    found: Any = value.length if value.lengths is None else value.lengths
    for index in indices:
        # A task may return fewer members than its annotation says.
        if not isinstance(found, list | tuple) or index >= len(found):  # pyright: ignore[reportUnknownArgumentType]
            return None
        found = found[index]  # pyright: ignore[reportUnknownVariableType]
    return len(found) if isinstance(found, list | tuple) else found  # pyright: ignore
