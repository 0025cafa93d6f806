"""A run as its facts say, folded by the auditor's own hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from headrace.definitions.nodes import Graph, Node
from headrace.definitions.project import Project
from headrace.runs import facts as f
from headrace.testing.auditor.witness import Witness

ENDED = ("succeeded", "failed", "skipped", "cancelled")
COUNTED = ("running", "succeeded", "failed", "skipped", "cancelled")
Path = tuple[int, ...]
Start = tuple[str, str, str, int, int, int]  # (run, node, path, item, attempt, epoch)


@dataclass(slots=True)
class Item:
    state: str = "pending"
    attempt: int = 0
    epoch: int = 0
    failures: int = 0
    losses: int = 0


@dataclass
class RunFold:
    """One run. `most`: how many runs of its pipeline may be at work at once.

    `heard`: (an item, a task before it) → how many results the list that it was given had.
    `idle`: skips in this generation for which no cause is known.
    """

    created: f.RunCreated
    log: str
    graph: Graph | None
    state: str
    most: int | None = None
    generation: int = 1
    is_ended: bool = False
    is_ready: bool = False
    has_started: bool = False
    cancelled_us: int | None = None  # None too after a new engine has come
    items: dict[tuple[str, Path, int], Item] = field(default_factory=dict[tuple[str, Path, int], Item])
    cells: dict[tuple[str, Path], list[int]] = field(default_factory=dict[tuple[str, Path], list[int]])
    skipped: set[tuple[str, Path]] = field(default_factory=set[tuple[str, Path]])
    scopes: dict[tuple[str, Path], int] = field(default_factory=dict[tuple[str, Path], int])
    pins: dict[str, Any] = field(default_factory=dict[str, Any])
    idle: list[str] = field(default_factory=list[str])
    heard: dict[tuple[str, Path, int, str], int] = field(default_factory=dict[tuple[str, Path, int, str], int])

    def node(self, name: str) -> Node | None:
        return next((n for n in self.graph.nodes if n.name == name), None) if self.graph else None

    def item(self, fact: Any) -> Item:
        """The item that a fact is about."""
        return self.items.setdefault((fact.node, path_of(fact.path), fact.item), Item())

    def count(self, node: str, path: Path, **by: int) -> None:
        cell = self.cells.setdefault((node, path), [0, 0, 0, 0, 0])
        for name, change in by.items():
            cell[COUNTED.index(name)] += change

    def failed_beyond(self, node: Node, prefix: Path) -> bool:
        """Whether in one of its maps below a prefix more have failed than are allowed to."""
        return any(
            cell[COUNTED.index("failed")] > node.options.allow_failed
            for (name, path), cell in self.cells.items()
            if name == node.name and path[: len(prefix)] == prefix
        )

    def states(self, node: Node, prefix: Path) -> Iterator[str]:
        """The states of all instances of a node below a prefix of map indices; "open" where they are not known yet."""
        depth = len(node.scope)
        if self.skipped and any(
            (node.name, prefix[:i]) in self.skipped for i in range(min(len(prefix), max(depth - 1, 0)) + 1)
        ):
            yield "skipped"
        elif len(prefix) == depth:
            path, item = (prefix[:-1], prefix[-1]) if depth else ((), 0)
            found = self.items.get((node.name, path, item))
            yield found.state if found else "open"
        elif (n := self.scopes.get((node.scope[len(prefix)], prefix))) is None:
            yield "open"
        else:
            for i in range(n):
                yield from self.states(node, (*prefix, i))


@dataclass
class Book:
    """All runs, and what is known across them."""

    projects: Mapping[str, Project]
    witness: Witness
    runs: dict[str, RunFold] = field(default_factory=dict[str, RunFold])
    keys: set[str] = field(default_factory=set[str])
    started: set[Start] = field(default_factory=set[Start])
    done: dict[Start, str] = field(default_factory=dict[Start, str])  # accepted → its log
    late: list[Start] = field(default_factory=list[Start])  # succeeded some time after their run was cancelled

    def graph(self, code: str, pipeline: str) -> Graph | None:
        project = self.projects.get(code)
        definition = project.pipelines.get(pipeline) if project else None
        return definition.graph if definition else None


def path_of(text: str) -> Path:
    return tuple(int(part) for part in text.split(".")) if text else ()


def path_text(path: Path) -> str:
    return ".".join(map(str, path))
