"""What the engine looks up about a graph, computed once per graph: who waits for whom, and at which level of the maps.

A node inside d nested maps has *instances* named by d indices. What an instance of `consumer` needs of `upstream` is
always one key: (upstream, the first c indices), c being how many map scopes the two share. Where c is the upstream's
own depth that is a single instance; where it is less, it is everything below: a join.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from headrace.definitions.nodes import AnyInput, Element, Graph, Node, Scope, refs


@dataclass(frozen=True, slots=True)
class Need:
    """A node needs `upstream` at the first `shared` indices of its own."""

    upstream: str
    shared: int


@dataclass(frozen=True, slots=True)
class NodePlan:
    """A node with its needs split by level: those of the whole task run, and those of each item of its map."""

    node: Node
    depth: int
    group_needs: tuple[Need, ...]
    item_needs: tuple[Need, ...]
    inputs: tuple[AnyInput, ...]  # data inputs: the arguments
    keeps_value: bool  # a single instance's value is handed to a consumer

    @property
    def name(self) -> str:
        return self.node.name


@dataclass(frozen=True, slots=True)
class ScopePlan:
    """A map scope with what must be known before it expands, and the nodes directly inside it."""

    scope: Scope
    depth: int  # of the instances inside: 1 for an outermost map
    needs: tuple[Need, ...]
    nodes: tuple[str, ...]  # innermost scope is this one
    below: tuple[str, ...]  # stand in a scope inside this one
    children: tuple[str, ...]  # scopes whose parent is this one


@dataclass(frozen=True, slots=True)
class GraphPlan:
    """All look-ups for one graph."""

    graph: Graph
    nodes: dict[str, NodePlan]
    scopes: dict[str, ScopePlan]
    consumers: dict[str, tuple[tuple[str, int], ...]] = field(default_factory=dict[str, tuple[tuple[str, int], ...]])
    openers: dict[str, tuple[tuple[str, int], ...]] = field(default_factory=dict[str, tuple[tuple[str, int], ...]])


def make_plan(graph: Graph) -> GraphPlan:
    """Index a graph. Pure, and cheap enough to be repeated at every restart."""
    where = {node.name: node.scope for node in graph.nodes}
    scopes = {scope.name: scope for scope in graph.scopes}
    single: set[str] = set()
    nodes: dict[str, NodePlan] = {}
    for node in graph.nodes:
        group_needs: list[Need] = []
        item_needs: list[Need] = []
        for upstream in _upstreams(node, scopes):
            shared = shared_scopes(node.scope, where[upstream])
            if shared == len(where[upstream]):
                single.add(upstream)
            (item_needs if shared == len(node.scope) > 0 else group_needs).append(Need(upstream, shared))
        nodes[node.name] = NodePlan(
            node, len(node.scope), tuple(group_needs), tuple(item_needs), tuple(node.inputs.values()), False
        )
    scope_plans: dict[str, ScopePlan] = {}
    for scope in graph.scopes:
        needs: list[Need] = []
        for upstream in dict.fromkeys(_sources(scope.over, scopes)):
            shared = shared_scopes(scope.parent, where[upstream])
            if shared == len(where[upstream]):
                single.add(upstream)
            needs.append(Need(upstream, shared))
        path = (*scope.parent, scope.name)
        scope_plans[scope.name] = ScopePlan(
            scope,
            len(path),
            tuple(needs),
            tuple(n.name for n in graph.nodes if n.scope == path),
            tuple(n.name for n in graph.nodes if len(n.scope) > len(path) and n.scope[: len(path)] == path),
            tuple(s.name for s in graph.scopes if s.parent == path),
        )
    nodes = {
        name: NodePlan(p.node, p.depth, p.group_needs, p.item_needs, p.inputs, name in single)
        for name, p in nodes.items()
    }
    consumers: dict[str, list[tuple[str, int]]] = {}
    for plan in nodes.values():
        for need in (*plan.group_needs, *plan.item_needs):
            consumers.setdefault(need.upstream, []).append((plan.name, need.shared))
    openers: dict[str, list[tuple[str, int]]] = {}
    for scope_plan in scope_plans.values():
        for need in scope_plan.needs:
            openers.setdefault(need.upstream, []).append((scope_plan.scope.name, need.shared))
    return GraphPlan(
        graph,
        nodes,
        scope_plans,
        {name: tuple(rows) for name, rows in consumers.items()},
        {name: tuple(rows) for name, rows in openers.items()},
    )


def _upstreams(node: Node, scopes: dict[str, Scope]) -> Iterator[str]:
    """Names of the nodes that `node` waits for, each once: arguments, order, branches, and what it maps over."""
    seen: dict[str, None] = {}
    for value in node.inputs.values():
        seen.update(dict.fromkeys(_sources(value, scopes)))
    seen.update(dict.fromkeys(node.after))
    for condition in node.when:
        seen.update(dict.fromkeys(ref.node for ref in refs(condition.test)))
    yield from seen


def _sources(value: AnyInput, scopes: dict[str, Scope]) -> Iterator[str]:
    """Names of the nodes that a value is made of. An element is made of what its scope maps over."""
    yield from (ref.node for ref in refs(value))
    for scope in _elements(value):
        yield from _sources(scopes[scope].over, scopes)


def _elements(value: AnyInput) -> Iterator[str]:
    match value:
        case Element(scope=scope):
            yield scope
        case _ if hasattr(value, "items"):
            items = value.items  # type: ignore[union-attr]
            for item in items.values() if isinstance(items, dict) else items:
                yield from _elements(item)
        case _:
            return


def shared_scopes(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """How many maps two tasks stand in together."""
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count
