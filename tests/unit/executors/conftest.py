"""Parts for runner tests: a graph written by hand, values on disk, results in a dict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from headrace.definitions.nodes import Graph, Node, Scope
from headrace.definitions.project import ModelDef, ParamDef, PipelineDef, Project, TableDef, TopicDef
from headrace.executors.attempt import AttemptRunner, CurrentAttempt
from headrace.executors.parts import AskPin, Parts
from headrace.executors.protocol import Done, Failed, Start, Upstream
from headrace.runs.effects import NO_EFFECTS, Effects
from headrace.runs.facts import Read, TableWrite, Value
from headrace.storage.local import LocalStorage, attempt_prefix
from headrace.storage.values import Values

Indices = tuple[int, ...]


@dataclass
class Compiled:
    definition: PipelineDef
    functions: dict[str, Callable[..., Any]]
    helpers: dict[str, Callable[..., Any]] = field(default_factory=dict)


@dataclass
class Loaded:
    project: Project
    pipelines: dict[str, Compiled]


class FakeResults:
    """Accepted results by (node, indices), and the instances at which scopes have expanded."""

    def __init__(self, values: Values) -> None:
        self._values = values
        self.rows: dict[tuple[str, Indices], Value] = {}
        self.scopes: dict[str, list[Indices]] = {}
        self.reads = 0

    def add(self, node: str, indices: Indices, value: Any) -> None:
        self.rows[node, indices] = self._values.encode(value, prefix=f"up/{node}/{len(self.rows)}/1-1")

    def one(self, run: str, node: str, indices: Indices) -> Value | None:
        self.reads += 1
        return self.rows.get((node, indices))

    def below(self, run: str, node: str, prefix: Indices) -> list[tuple[Indices, Value]]:
        self.reads += 1
        return sorted((at, v) for (n, at), v in self.rows.items() if n == node and at[: len(prefix)] == prefix)

    def expanded(self, run: str, scope: str, prefix: Indices) -> list[Indices]:
        return [at for at in self.scopes.get(scope, []) if at[: len(prefix)] == prefix]


class FakeAccess:
    """Every read answers with what was asked; every write is noted."""

    def __init__(self, start: Start, ask: AskPin) -> None:
        self.start, self.ask = start, ask
        self.calls: list[tuple[Any, ...]] = []
        self.reads: tuple[Read, ...] = ()
        self.effects: Effects = NO_EFFECTS

    def read_table(self, table: TableDef, version: int | None, at_us: int | None) -> Any:
        return ("table", table.name, version, at_us)

    def load_model(self, model: ModelDef, *, alias: str | None, version: int | None) -> Any:
        return ("model", model.name, alias, version)

    def read_topic(self, topic: TopicDef, window: Any) -> Any:
        return ("topic", topic.name, window)

    def write_table(self, table: TableDef, rows: Any) -> None:
        self.calls.append(("write", table.name, rows))
        self.effects = Effects(tables=(TableWrite(table.name, table.mode, "p", len(rows), 1, "d"),))

    def append(self, topic: TopicDef, rows: Any) -> None:
        self.calls.append(("append", topic.name, rows))

    def register(self, model: ModelDef, value: Any, **more: Any) -> int:
        self.calls.append(("register", model.name, value, more))
        return 1

    def attempt(self) -> CurrentAttempt:
        return CurrentAttempt.of(self.start)


class Bench:
    """One pipeline `p` on a bench: run a node of it and look at the result."""

    def __init__(
        self,
        folder: Path,
        nodes: list[Node],
        functions: dict[str, Callable[..., Any]],
        *,
        scopes: tuple[Scope, ...] = (),
        params: tuple[ParamDef, ...] = (),
        helpers: dict[str, Callable[..., Any]] | None = None,
    ) -> None:
        graph = Graph(tuple(nodes), scopes)
        project = Project(
            "sample",
            tables={"orders": TableDef("orders")},
            topics={"scores": TopicDef("scores")},
            models={"delay": ModelDef("delay")},
        )
        compiled = Compiled(PipelineDef("p", "m:p", graph, params), functions, helpers or {})
        self.values = Values(LocalStorage(folder))
        self.results = FakeResults(self.values)
        self.access: FakeAccess | None = None
        self.serial = 0
        self.runner = AttemptRunner(
            Parts(Loaded(project, {"p": compiled}), self.values, self.results, self._make_access, self._prefix)
        )

    def report(self, node: str, **more: Any) -> Done | Failed:
        self.serial += 1
        return self.runner.run(Start(self.serial, "run1", "p", node, **more), lambda dataset, pin: pin)

    def result(self, node: str, **more: Any) -> Any:
        done = self.report(node, **more)
        assert isinstance(done, Done), done
        return self.values.decode(done.result)

    def upstream(self, node: str, value: Any, key: Indices = ()) -> Upstream:
        return Upstream(node, key, self.values.encode(value, prefix=f"up/{node}/{key}{self.serial}/1-1"))

    def _make_access(self, start: Start, ask: AskPin) -> Any:
        self.access = FakeAccess(start, ask)
        return self.access

    def _prefix(self, start: Start) -> str:
        return attempt_prefix(start.run, f"{start.node} {start.serial}", "", start.item, 1, 1)


@pytest.fixture
def new_bench(tmp_path: Path) -> Callable[..., Bench]:
    """`new_bench(nodes, functions, …)`"""
    return lambda *args, **more: Bench(tmp_path, *args, **more)
