"""From a recorded body to a frozen definition: names given, references resolved, nodes in topological order."""

from __future__ import annotations

import heapq
import inspect
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import msgspec

from headrace.definitions.nodes import (
    AnyInput,
    Choice,
    Condition,
    Element,
    Graph,
    Mapping,
    Node,
    Param,
    Ref,
    Scope,
    Sequence,
    digest,
    refs,
)
from headrace.definitions.project import ParamDef, PipelineDef
from headrace.errors import GraphError
from headrace.graph.annotations import hints, is_named
from headrace.graph.draft import Draft
from headrace.graph.inputs import frozen_input
from headrace.graph.naming import node_names, scope_names
from headrace.graph.pipeline import Pipeline
from headrace.graph.reads import datasets_of, topics_of
from headrace.graph.recorder import Recorder, recording_to
from headrace.graph.task import Task

if TYPE_CHECKING:
    from headrace.data.recording import Dataset

_PARAM_TYPES = {str: "str", int: "int", float: "float", bool: "bool", list: "list", dict: "dict"}


@dataclass(frozen=True)
class Compiled:
    """A pipeline as data, and the user's objects that a run of it needs.

    `functions` holds the function of each task node by node name; `helpers` the functions passed as arguments
    (`predict=`), by `module:qualname`; `datasets` every topic, table and model that the body or its functions name;
    `lines` where each node was written.
    """

    definition: PipelineDef
    functions: dict[str, Callable[..., Any]]
    helpers: dict[str, Callable[..., Any]]
    datasets: tuple[Dataset, ...]
    tasks: tuple[Task[..., Any], ...]
    lines: dict[str, str]


def compile_pipeline(pipeline: Pipeline[..., Any]) -> Compiled:
    """Record the body and freeze it. The same body gives the same definition, in any process.

    Raises `GraphError` for the first thing that cannot become a graph, at the user's line.
    """
    params = parameters(pipeline)
    recorder = Recorder(pipeline.name, pipeline.fn)
    arguments = {param.name: _handle(pipeline, recorder, param) for param in params}
    with recording_to(recorder):
        returned = pipeline.fn(**arguments)
        result = None if returned is None else frozen_input(returned, recorder)
    return _frozen(pipeline, params, recorder, result)


def meaning(definition: PipelineDef) -> str:
    """The hash of what a pipeline does: texts, display groups and places in files do not change it."""
    graph = definition.graph
    bare = msgspec.structs.replace(
        graph, nodes=tuple(msgspec.structs.replace(node, group=None) for node in graph.nodes)
    )
    return digest(msgspec.structs.replace(definition, doc="", graph=bare))


def parameters(pipeline: Pipeline[..., Any]) -> tuple[ParamDef, ...]:
    """The parameters of the pipeline's function. Raises `GraphError` for one that no form, flag or API can fill."""
    known = hints(pipeline.fn)
    return tuple(
        _param(pipeline, parameter, known.get(parameter.name))
        for parameter in inspect.signature(pipeline.fn).parameters.values()
    )


def _param(pipeline: Pipeline[..., Any], parameter: inspect.Parameter, annotation: Any) -> ParamDef:
    if parameter.kind not in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY):
        raise _bad_param(pipeline, parameter.name, "a pipeline's parameters have names", "write them out one by one")
    for kind, name in (("window", "Window"), ("events", "Events")):
        if is_named(annotation, "headrace.data", name):
            if parameter.default is not inspect.Parameter.empty:
                raise _bad_param(pipeline, parameter.name, f"hr.{name} has no default", "leave the default out")
            return ParamDef(name=parameter.name, type="json", required=True, kind=kind)
    word = _param_type(annotation)
    if word is None:
        raise _bad_param(
            pipeline,
            parameter.name,
            f"a parameter is str, int, float, bool, a list or a dict, not {annotation!r}",
            "pass text and convert it inside a task; what a trigger fills is annotated hr.Window or hr.Events",
        )
    if parameter.default is inspect.Parameter.empty:
        return ParamDef(name=parameter.name, type=word, required=True)
    try:
        default = msgspec.json.decode(msgspec.json.encode(parameter.default))
    except (TypeError, msgspec.MsgspecError):
        default = ...
    if default != parameter.default:
        raise _bad_param(
            pipeline, parameter.name, f"the default {parameter.default!r} is not a plain value", "use text or numbers"
        )
    return ParamDef(name=parameter.name, type=word, default=default)


def _param_type(annotation: Any) -> str | None:
    origin = typing.get_origin(annotation)
    parts = [part for part in typing.get_args(annotation) if part is not type(None)]
    if origin is Literal:
        return _PARAM_TYPES.get(type(parts[0]))
    if origin is not None and origin not in (list, dict):
        return _param_type(parts[0]) if len(parts) == 1 and type(None) in typing.get_args(annotation) else None
    if annotation is None or annotation in (Any, object):
        return "json"
    return _PARAM_TYPES.get(origin or annotation)


def _bad_param(pipeline: Pipeline[..., Any], name: str, message: str, cure: str) -> GraphError:
    return GraphError(f"parameter {name} of {pipeline.name}: {message}", where=pipeline.where, cure=cure, code="HR1102")


def _handle(pipeline: Pipeline[..., Any], recorder: Recorder, param: ParamDef) -> Any:
    note = f"the window of {pipeline.name}" if param.kind == "window" else f"a parameter of {pipeline.name}"
    return recorder.parameter(Param(param.name), note, hints(pipeline.fn).get(param.name))


def _frozen(
    pipeline: Pipeline[..., Any], params: tuple[ParamDef, ...], recorder: Recorder, result: AnyInput | None
) -> Compiled:
    drafts = recorder.drafts.values()
    names = node_names(drafts)
    names |= scope_names(recorder.scopes.values(), drafts, names)
    lines = {names[draft.token]: draft.where for draft in drafts}
    nodes = _sorted([_node(draft, names) for draft in drafts], lines)
    scopes = tuple(
        Scope(names[scope.token], _renamed(scope.over, names), tuple(names[token] for token in scope.parent))
        for scope in sorted(recorder.scopes.values(), key=lambda scope: (len(scope.parent), names[scope.token]))
    )
    functions = {names[draft.token]: draft.function for draft in drafts if draft.function is not None}
    used = [*functions.values(), *recorder.functions.values()]
    windowed = any(param.kind == "window" for param in params)
    definition = PipelineDef(
        name=pipeline.name,
        target=pipeline.target,
        graph=Graph(nodes, scopes, None if result is None else _renamed(result, names)),
        params=params,
        window=pipeline.window,
        ready_within_us=pipeline.ready_within_us,
        triggers=tuple(trigger.definition for trigger in pipeline.triggers),
        max_active=pipeline.max_active,
        registers=_registered(drafts),
        reads=topics_of(used) if windowed else (),
        doc=inspect.cleandoc(pipeline.__doc__ or ""),
    )
    datasets = recorder.datasets | {(found.kind, found.name): found for found in datasets_of(used)}
    return Compiled(
        definition=definition,
        functions=functions,
        helpers=recorder.functions,
        datasets=tuple(datasets.values()),
        tasks=tuple(cast("list[Task[..., Any]]", recorder.tasks)),
        lines=lines,
    )


def _registered(drafts: Iterable[Draft]) -> str | None:
    found = [draft for draft in drafts if draft.kind == "register"]
    if len({draft.target for draft in found}) > 1:
        raise GraphError(
            f"one pipeline registers two models, {found[0].target} and {found[1].target}",
            where=found[1].where,
            cure="a model's policy decides when its pipeline runs: use a pipeline for each model",
        )
    return found[0].target if found else None


def _node(draft: Draft, names: dict[str, str]) -> Node:
    return Node(
        name=names[draft.token],
        kind=draft.kind,
        target=draft.target,
        inputs={name: _renamed(value, names) for name, value in draft.inputs.items()},
        after=tuple(sorted(names[token] for token in draft.after)),
        scope=tuple(names[token] for token in draft.scope),
        when=tuple(Condition(_renamed(condition.test, names), condition.wanted) for condition in draft.when),
        feed=draft.feed,
        to=draft.to,
        group=draft.group,
        options=draft.options,
    )


def _renamed(value: AnyInput, names: dict[str, str]) -> AnyInput:
    match value:
        case Ref(node=node, item=item):
            return Ref(names[node], item)
        case Element(scope=scope):
            return Element(names[scope])
        case Sequence(items=items, is_tuple=is_tuple):
            return Sequence(tuple(_renamed(item, names) for item in items), is_tuple)
        case Mapping(items=items):
            return Mapping({key: _renamed(item, names) for key, item in items.items()})
        case Choice(test=test, then=then, otherwise=otherwise):
            other = None if otherwise is None else _renamed(otherwise, names)
            return Choice(_renamed(test, names), _renamed(then, names), other)
        case _:
            return value


def _sorted(nodes: list[Node], lines: dict[str, str]) -> tuple[Node, ...]:
    """Topological order, by name where it is free, so that moving independent lines changes nothing."""
    waits = {node.name: _needs(node) for node in nodes}
    by_name = {node.name: node for node in nodes}
    followers: dict[str, list[str]] = {name: [] for name in by_name}
    for name, needs in waits.items():
        for need in needs:
            followers[need].append(name)
    left = {name: len(needs) for name, needs in waits.items()}
    ready = sorted(name for name, count in left.items() if count == 0)
    done: list[Node] = []
    while ready:
        name = heapq.heappop(ready)
        done.append(by_name[name])
        for follower in followers[name]:
            left[follower] -= 1
            if left[follower] == 0:
                heapq.heappush(ready, follower)
    if len(done) < len(nodes):
        raise _cycle({name: needs for name, needs in waits.items() if left[name]}, lines)
    return tuple(done)


def _needs(node: Node) -> set[str]:
    inputs = [*node.inputs.values(), *(condition.test for condition in node.when)]
    return {ref.node for value in inputs for ref in refs(value)} | set(node.after)


def _cycle(waits: dict[str, set[str]], lines: dict[str, str]) -> GraphError:
    path = [min(waits)]
    while path[-1] not in path[:-1]:
        path.append(min(need for need in waits[path[-1]] if need in waits))
    loop = path[path.index(path[-1]) :][::-1]
    return GraphError(
        f"these wait for each other: {' → '.join(loop)}",
        where=lines[loop[0]],
        cure="take one of the arrows out",
        code="HR1104",
    )
