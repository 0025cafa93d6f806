"""Random graphs, built directly as data: maps in maps, branches, rules. A node's target says what its attempts return."""

from __future__ import annotations

import random
from dataclasses import dataclass

from headrace.definitions.nodes import (
    AnyInput,
    Choice,
    Condition,
    Const,
    Element,
    Graph,
    Node,
    Options,
    Param,
    Ref,
    Scope,
)
from headrace.testing.simulator.draw import Draw

FORGIVING_LEAST = 4  # nodes of a graph that begins with a map of which some may fail
_RULES = ("all_done", "one_success", "one_failed", "none_failed")


def draw_graph(rng: random.Random, drawn: Draw, size: int, most: int = 99, *, is_forgiving: bool = False) -> Graph:
    """A graph of so many nodes, cut off after `most`: a node needs earlier ones only.

    `is_forgiving`: it begins with a map of which some items may fail.
    """
    return _Growing(rng, drawn, min(size, most), is_forgiving).graph()


@dataclass
class _Made:
    name: str
    scope: tuple[str, ...]
    gives: str  # "list" | "lists" | "bool" | "plain"


class _Growing:
    """A graph while it is drawn."""

    def __init__(self, rng: random.Random, drawn: Draw, size: int, is_forgiving: bool) -> None:
        self.rng, self.drawn = rng, drawn
        self.nodes: list[Node] = []
        self.scopes: list[Scope] = []
        self.made: list[_Made] = []
        self.paths: list[tuple[str, ...]] = [()]
        first = self._forgiving() if is_forgiving else []
        for node in first[:size]:
            self._add(node, "list" if node.target == "m:list" else "plain")
        for i in range(len(first), size):
            self._grow(f"n{i}")

    def graph(self) -> Graph:
        names = {node.name for node in self.nodes}  # a map over what was cut off goes too
        scopes = (s for s in self.scopes if not isinstance(s.over, Ref) or s.over.node in names)
        return Graph(tuple(self.nodes), tuple(scopes))

    def _grow(self, name: str) -> None:
        rng = self.rng
        scope = rng.choice(self.paths[-3:]) if rng.random() < 0.7 else ()
        gives = self._gives(scope)
        inputs: dict[str, AnyInput] = {}
        if scope:
            inputs["item"] = Element(scope[-1])
        for i in range(min(len(self.made), rng.choice((0, 1, 1, 1, 2)))):
            inputs[f"a{i}"] = self._input(scope)
        after = (rng.choice(self.made).name,) if self.made and rng.random() < 0.1 else ()
        when: tuple[Condition, ...] = ()
        tests = self._tests(scope)
        if tests and rng.random() < 0.5:
            when = (Condition(Ref(rng.choice(tests).name), rng.random() < 0.5),)
        to = f"t{rng.randint(0, 1)}" if self.drawn.has("tables") and rng.random() < 0.25 else None
        appends = gives == "plain" and self.drawn.has("tables") and rng.random() < 0.15
        kind, target = ("append", "notes") if appends else ("task", f"m:{gives}")
        to = None if appends else to
        node = Node(name, kind, target, inputs, after, scope, when, to=to, options=self._options(scope))
        self._add(node, gives)
        if gives in ("list", "lists") and self.drawn.has("maps"):
            self._open(name, scope, gives)

    def _add(self, node: Node, gives: str) -> None:
        self.nodes.append(node)
        self.made.append(_Made(node.name, node.scope, gives))

    def _forgiving(self) -> list[Node]:
        """A map of which some items may fail, and what is made of the others: one by one, and of all together.

        What is made of them fails now and then: when the run goes again, it rests on what was forgiven.
        """
        rng = self.rng
        self.scopes.append(Scope("s0", Ref("n0")))
        self.paths.append(("s0",))
        few = Options(allow_failed=rng.choice((0, 1, 1, 2)), max_lost=rng.choice((None, 0)))
        made = [
            Node("n0", "task", "m:list", options=Options(retries=2, backoff_us=10_000)),
            Node("n1", "task", "m:shaky", {"item": Element("s0")}, scope=("s0",), options=few),
        ]
        if rng.random() < 0.5:
            inputs: dict[str, AnyInput] = {"item": Element("s0"), "a0": Ref("n1")}
            made.append(Node("n2", "task", "m:plain", inputs, scope=("s0",), options=Options(retries=1)))
        name, all_of = f"n{len(made)}", Ref(made[-1].name)
        if rng.random() < 0.6:
            return [*made, Node(name, "task", "m:shaky", {"a0": all_of})]
        self.scopes.append(Scope("s1", all_of))
        self.paths.append(("s1",))
        return [*made, Node(name, "task", "m:shaky", {"item": Element("s1")}, scope=("s1",))]

    def _gives(self, scope: tuple[str, ...]) -> str:
        roll = self.rng.random()
        if self.drawn.has("maps") and roll < 0.4 and len(scope) < 2:
            return "lists" if roll < 0.1 else "list"
        return "bool" if self.drawn.has("branches") and roll < 0.65 else "plain"

    def _input(self, scope: tuple[str, ...]) -> AnyInput:
        first = self.rng.choice(self.made[-4:])
        tests = self._tests(scope)
        if tests and self.rng.random() < 0.2:
            return Choice(Ref(self.rng.choice(tests).name), Ref(first.name), Ref(self.rng.choice(self.made).name))
        return Ref(first.name)

    def _tests(self, scope: tuple[str, ...]) -> list[_Made]:
        """Nodes that can be the test of a branch in this scope: they stand in it or around it."""
        return [m for m in self.made if m.gives == "bool" and m.scope == scope[: len(m.scope)]]

    def _open(self, name: str, scope: tuple[str, ...], gives: str) -> None:
        rng = self.rng
        if len(scope) >= 3 or rng.random() < 0.3:
            return
        over: AnyInput = Ref(name)
        if not scope and rng.random() < 0.2:
            over = rng.choice((Const([1, 2]), Param("items")))
        # A map over everything that another map made stands outside of it.
        parent = scope if rng.random() < 0.8 else ()
        outer = (*parent, f"s{len(self.scopes)}")
        self.scopes.append(Scope(outer[-1], over, parent))
        self.paths.append(outer)
        if gives == "lists" and over == Ref(name) and parent == scope and rng.random() < 0.7:
            inner = (*outer, f"s{len(self.scopes)}")
            self.scopes.append(Scope(inner[-1], Element(outer[-1]), outer))
            self.paths.append(inner)

    def _options(self, scope: tuple[str, ...]) -> Options:
        rng, has = self.rng, self.drawn.has
        return Options(
            retries=rng.choice((0, 0, 1, 2)),
            backoff_us=rng.choice((10_000, 1_000_000, 5_000_000)),
            timeout_us=rng.choice((None, 2_000_000, 20_000_000)) if has("timeouts") else None,
            max_lost=rng.choice((None, None, 0, 1)),
            trigger_rule=rng.choice(_RULES) if has("rules") and rng.random() < 0.4 else "all_success",
            concurrency=rng.choice((None, 1, 2)) if has("limits") else None,
            rate=rng.choice((None, None, 2)) if has("limits") else None,
            rate_us=2_000_000,
            allow_failed=rng.choice((0, 1, 5)) if scope and rng.random() < 0.3 else 0,
        )
