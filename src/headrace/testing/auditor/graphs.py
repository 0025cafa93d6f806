"""What must have ended before a node may start, worked out anew from the graph's data."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.definitions.nodes import AnyInput, Choice, Element, Graph, Mapping, Node, Ref, Sequence


def names_in(value: AnyInput, graph: Graph) -> Iterator[str]:
    """Nodes whose results an input is made of; of a map's element, those that the map goes over."""
    match value:
        case Ref(node=name):
            yield name
        case Sequence(items=items):
            for item in items:
                yield from names_in(item, graph)
        case Mapping(items=items):
            for item in items.values():
                yield from names_in(item, graph)
        case Choice(test=test, then=then, otherwise=otherwise):
            for item in (test, then, *([] if otherwise is None else [otherwise])):
                yield from names_in(item, graph)
        case Element(scope=scope):
            over = next(s.over for s in graph.scopes if s.name == scope)
            yield from names_in(over, graph)
        case _:
            return


def upstreams(node: Node, graph: Graph) -> set[str]:
    found = set(node.after)
    for value in (*node.inputs.values(), *(condition.test for condition in node.when)):
        found.update(names_in(value, graph))
    return found


def shared(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """How many map scopes two nodes stand in together."""
    n = 0
    while n < min(len(one), len(other)) and one[n] == other[n]:
        n += 1
    return n
