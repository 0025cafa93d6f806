"""From the frozen inputs of a node to the arguments of its function, for one instance of the node.

An instance is named by one index for each map that it stands in. A reference to a node with no map beyond those that
both share is a single value; to a deeper node it is a list of results, nested as the maps are.
"""

from __future__ import annotations

import copy
import importlib
from collections import OrderedDict
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import msgspec

from headrace.data.events import Events, OffsetRange
from headrace.data.window import Window
from headrace.definitions.nodes import (
    AnyInput,
    Choice,
    Const,
    DatasetRef,
    Element,
    Function,
    Mapping,
    Node,
    Param,
    Ref,
    Sequence,
    refs,
)
from headrace.definitions.project import CHAMPION
from headrace.errors import CodecError
from headrace.executors.parts import AttemptAccess, LoadedPipeline, Parts
from headrace.executors.protocol import Start
from headrace.runs.facts import Value
from headrace.runs.lengths import mapped_levels

Indices = tuple[int, ...]
Joined = list[Any]  # of Values, or of lists of the next map
_LISTINGS_KEPT = 8


class Pipeline:
    """Look-ups of one pipeline, made once per worker, and the lists of results that its maps go over."""

    def __init__(self, loaded: LoadedPipeline) -> None:
        graph = loaded.definition.graph
        self.loaded = loaded
        self.nodes = {node.name: node for node in graph.nodes}
        self.scopes = {scope.name: scope for scope in graph.scopes}
        self.params = {param.name: param for param in loaded.definition.params}
        self.levels = mapped_levels(graph)
        self.listings: OrderedDict[tuple[str, str, Indices], Joined] = OrderedDict()


class Arguments:
    """The inputs of one attempt, each read when it is asked for."""

    def __init__(self, parts: Parts, pipeline: Pipeline, node: Node, start: Start, access: AttemptAccess) -> None:
        self._parts = parts
        self._pipeline = pipeline
        self._node = node
        self._start = start
        self._access = access
        self._where = (*start.path, start.item) if node.scope else ()

    def all(self) -> dict[str, Any]:
        """Every argument by parameter name; those that are fed one by one as iterators."""
        feed = self._node.feed
        return {
            name: self._fed(value) if feed.get(name) == "iter" else self._pick(value, self._where, ())
            for name, value in self._node.inputs.items()
        }

    def _fed(self, value: AnyInput) -> Iterator[Any]:
        if isinstance(value, Ref) and value.item is None:
            joined = self._joined(value.node, self._where)
            if joined is not None:
                return (self._decoded(member) for member in joined)
        return iter(self._pick(value, self._where, ()))

    def _pick(self, value: AnyInput, where: Indices, indices: Indices) -> Any:
        """The input as the instance `where` sees it; with `indices`, only that element of it."""
        match value:
            case Const(value=constant):
                return _own(_at(constant, indices))
            case Ref(node=node, item=item):
                return self._result(node, where, indices if item is None else (item, *indices))
            case Param(name=name):
                return _at(self._param(name), indices)
            case Element(scope=name):
                scope = self._pipeline.scopes[name]
                depth = len(scope.parent)
                return self._pick(scope.over, where[:depth], (where[depth], *indices))
            case Sequence(items=items, is_tuple=is_tuple):
                if indices:
                    return self._pick(items[indices[0]], where, indices[1:])
                members = [self._pick(item, where, ()) for item in items]
                return tuple(members) if is_tuple else members
            case Mapping(items=fields):
                return {key: self._pick(item, where, ()) for key, item in fields.items()}
            case Choice(test=test, then=then, otherwise=otherwise):
                chosen = then if self._pick(test, where, ()) else otherwise
                return None if chosen is None else self._pick(chosen, where, indices)
            case DatasetRef():
                return _at(self._read(value), indices)
            case Function(module=module, qualname=qualname):
                return self._function(module, qualname)

    def _result(self, name: str, where: Indices, indices: Indices) -> Any:
        joined = self._joined(name, where)
        if joined is not None:
            found: Any = joined
            while indices and isinstance(found, list):
                found, indices = found[indices[0]], indices[1:]
            return self._parts.values.item(found, *indices) if indices else self._decoded(found)
        value = self._single(name, where)
        if value is None:
            return None
        return self._parts.values.item(value, *indices) if indices else self._parts.values.decode(value)

    def _single(self, name: str, where: Indices) -> Value | None:
        """The result of the one instance; None where the node's rule lets the task start without it."""
        key = where[: len(self._pipeline.nodes[name].scope)]
        for upstream in self._start.upstream:
            if upstream.node == name and upstream.key == key:
                return upstream.value
        value = self._parts.results.one(self._start.run, name, key)
        if value is not None:
            return value
        if self._node.options.trigger_rule == "all_success" and not self._pipeline.nodes[name].options.allow_failed:
            raise CodecError(
                f"the result of {name!r} is neither in the message nor in the store",
                where=f"{self._start.run}/{self._start.node}",
                cure="run its task again: headrace runs retry " + self._start.run,
                code="HR1414",
            )
        return None

    def _joined(self, name: str, where: Indices) -> Joined | None:
        """The results below the maps that both nodes share; None where that is a single instance."""
        node = self._pipeline.nodes[name]
        shared = _shared(node.scope, self._node.scope[: len(where)])
        if shared == len(node.scope):
            return None
        key = (self._start.run, name, where[:shared])
        listings = self._pipeline.listings
        if key in listings:
            return listings[key]
        rows = list(self._parts.results.below(*key))
        joined = self._nested(node, rows, where[:shared])
        if self._is_final(name):
            listings[key] = joined
            if len(listings) > _LISTINGS_KEPT:
                listings.popitem(last=False)
        return joined

    def _is_final(self, name: str) -> bool:
        """Whether no retry of the run can add to the results: a map goes over them, or they are needed by default."""
        scopes = self._pipeline.scopes
        is_mapped = any(ref.node == name for scope in self._node.scope for ref in refs(scopes[scope].over))
        return is_mapped or self._node.options.trigger_rule == "all_success"

    def _nested(self, node: Node, rows: list[tuple[Indices, Value]], prefix: Indices) -> Joined:
        if len(prefix) == len(node.scope) - 1:
            return [value for _, value in rows]
        # Which inner maps there are is asked for: one without items has no row.
        inner = node.scope[len(prefix) + 1]
        level = len(prefix) + 1
        grouped: dict[Indices, list[tuple[Indices, Value]]] = {
            instance[:level]: [] for instance in self._parts.results.expanded(self._start.run, inner, prefix)
        }
        for indices, value in rows:
            grouped.setdefault(indices[:level], []).append((indices, value))
        return [self._nested(node, below, instance) for instance, below in sorted(grouped.items())]

    def _decoded(self, found: Value | Joined) -> Any:
        if isinstance(found, Value):
            return self._parts.values.decode(found)
        if all(isinstance(member, Value) for member in found):
            return self._parts.values.decode_all(found)
        return [self._decoded(member) for member in found]

    @cached_property
    def _params(self) -> dict[str, Any]:
        return msgspec.json.decode(self._start.params)

    def _param(self, name: str) -> Any:
        param = self._pipeline.params[name]
        if param.kind == "window":
            return Window.of(*self._start.window) if self._start.window is not None else None
        if param.kind == "events":
            ranges = tuple(OffsetRange(*part) for part in self._start.events)
            return Events(ranges[0].topic, ranges) if ranges else None
        return self._params[name] if name in self._params else _own(param.default)

    def _read(self, ref: DatasetRef) -> Any:
        project = self._parts.loaded.project
        match ref.kind, ref.how, ref.arg:
            case "table", how, arg:
                number = int(arg) if arg is not None else None
                table = project.tables[ref.name]
                return self._access.read_table(
                    table, number if how == "version" else None, number if how == "at" else None
                )
            case "model", "version", arg:
                return self._access.load_model(project.models[ref.name], alias=None, version=int(arg or 0))
            case "model", _, arg:
                return self._access.load_model(project.models[ref.name], alias=str(arg or CHAMPION), version=None)
            case _:
                window = Window.of(*self._start.window) if self._start.window is not None else None
                return self._access.read_topic(project.topics[ref.name], window)

    def _function(self, module: str, qualname: str) -> Any:
        found = self._pipeline.loaded.helpers.get(f"{module}:{qualname}")
        if found is not None:
            return found
        target: Any = importlib.import_module(module)
        for part in qualname.split("."):
            target = getattr(target, part)
        return target


def _at(value: Any, indices: Indices) -> Any:
    for index in indices:
        value = value.row(index, named=True) if hasattr(value, "row") else value[index]
    return value


def _own(value: Any) -> Any:
    # Constants live in the graph, which all attempts of this worker share.
    return copy.deepcopy(value) if isinstance(value, list | dict) else value


def _shared(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count
