"""What the composition root gives to whoever runs attempts: the project's code, values, results, and access to data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from headrace.data.access import Access
from headrace.definitions.project import PipelineDef, Project
from headrace.executors.protocol import Start
from headrace.runs.effects import Effects
from headrace.runs.facts import Read, Value


class LoadedPipeline(Protocol):
    """`functions` by node name, `helpers` (functions that are arguments) by `module:qualname`."""

    @property
    def definition(self) -> PipelineDef: ...
    @property
    def functions(self) -> Mapping[str, Callable[..., Any]]: ...
    @property
    def helpers(self) -> Mapping[str, Callable[..., Any]]: ...


class LoadedProject(Protocol):
    @property
    def project(self) -> Project: ...
    @property
    def pipelines(self) -> Mapping[str, LoadedPipeline]: ...


class Values(Protocol):
    """`storage.values.Values`."""

    def encode(self, value: Any, *, prefix: str, what: str = "the value", levels: int = 1) -> Value: ...
    def decode(self, value: Value) -> Any: ...
    def decode_all(self, values: list[Value]) -> list[Any]: ...
    def item(self, value: Value, *indices: int) -> Any: ...


class Results(Protocol):
    """Accepted results of the run, read from the store. A prefix is the first indices of an instance, () for all."""

    def one(self, run: str, node: str, indices: tuple[int, ...]) -> Value | None:
        """The result of one instance; None where it did not succeed."""
        ...

    def below(self, run: str, node: str, prefix: tuple[int, ...]) -> Iterable[tuple[tuple[int, ...], Value]]:
        """(all indices, result) of the node's succeeded instances below the prefix, in order."""
        ...

    def expanded(self, run: str, scope: str, prefix: tuple[int, ...]) -> Iterable[tuple[int, ...]]:
        """The instances below the prefix at which the map scope has expanded, empty maps included, in order."""
        ...


class AttemptAccess(Access, Protocol):
    """Access to data for one attempt; afterwards it tells what was read, and what is to be published."""

    @property
    def reads(self) -> tuple[Read, ...]: ...
    @property
    def effects(self) -> Effects: ...


AskPin = Callable[[str, Any], Any]
"""`(dataset, what it would be now) -> what the run reads`; waits for the engine."""

MakeAccess = Callable[[Start, AskPin], AttemptAccess]
Prefix = Callable[[Start], str]


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything `AttemptRunner` works with. `prefix` says where an attempt's artifacts go."""

    loaded: LoadedProject
    values: Values
    results: Results
    make_access: MakeAccess
    prefix: Prefix
