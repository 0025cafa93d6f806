"""`headrace check`: every mistake in a loaded project that can be found without a run, with its line and its cure."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, cast

from headrace.data.where import is_library, is_own
from headrace.definitions.nodes import AnyInput, Choice, DatasetRef, Mapping, Node, Sequence
from headrace.definitions.project import OnEvent, Problem, Schedule
from headrace.graph.annotations import hints, is_named
from headrace.graph.columns import column_problems
from headrace.graph.compile import Compiled
from headrace.graph.loaded import Loaded
from headrace.graph.passing import passing_problems
from headrace.graph.pipeline import Pipeline
from headrace.graph.stream import Stream
from headrace.graph.syntax import syntax_problems

_NEEDS_EVENTS = "it takes hr.Events, which only the rows of a topic bring"
_ON_EVENT = "triggers=[hr.event(topic)] starts it for each row"


def check(loaded: Loaded) -> tuple[Problem, ...]:
    """All findings, those of loading included, in order of file and line; each once."""
    found = [
        *loaded.problems,
        *_bodies(loaded),
        *column_problems(loaded),
        *_streams(loaded),
        *_unused_tasks(loaded),
    ]
    return tuple(sorted(dict.fromkeys(found), key=_place))


def _place(problem: Problem) -> tuple[str, int, str]:
    file, _, line = problem.where.rpartition(":")
    return file, int(line) if line.isdigit() else 0, problem.message


def _bodies(loaded: Loaded) -> Iterator[Problem]:
    for name, pipeline in loaded.bodies.items():
        yield from syntax_problems(pipeline.fn, name)
        yield from _triggers(pipeline)
        compiled = loaded.pipelines.get(name)
        if compiled is not None:
            yield from passing_problems(pipeline, compiled)
        if compiled is not None and _takes(pipeline.fn, "Window"):
            yield from _latest_in_window(compiled)


def _triggers(pipeline: Pipeline[..., Any]) -> Iterator[Problem]:
    """A window that the trigger cannot give, required parameters that it cannot fill, and triggers given twice."""
    needed = [
        parameter.name
        for parameter in inspect.signature(pipeline.fn).parameters.values()
        if parameter.default is inspect.Parameter.empty
        and not any(is_named(hints(pipeline.fn).get(parameter.name), "headrace.data", n) for n in ("Window", "Events"))
    ]
    seen: set[str] = set()
    takes_events = _takes(pipeline.fn, "Events")
    if takes_events and not pipeline.triggers:
        yield Problem(
            "HR1108", f"nothing starts {pipeline.name}: {_NEEDS_EVENTS}", pipeline.where, _ON_EVENT, "warning"
        )
    for trigger in pipeline.triggers:
        definition = trigger.definition
        if takes_events and not isinstance(definition, OnEvent):
            message = f"{pipeline.name} cannot be started by this trigger: {_NEEDS_EVENTS}"
            yield Problem("HR1108", message, trigger.where, f"take this trigger off; {_ON_EVENT}")
        if needed:
            message = f"a trigger cannot fill {', '.join(needed)} of {pipeline.name}"
            yield Problem("HR1108", message, trigger.where, "give it a default")
        if not isinstance(definition, Schedule) and pipeline.window is None and _takes(pipeline.fn, "Window"):
            message = f"{pipeline.name} needs a window, and this trigger has no slot to take it from"
            yield Problem(
                "HR1108", message, trigger.where, 'say its length: @hr.pipeline(window="60d"), or window="all"'
            )
        slug = getattr(definition, "slug", None)
        if slug is not None and slug in seen:
            what = f"two triggers of {pipeline.name} are told apart by nothing: {slug}"
            cure = "keep one of them" if isinstance(definition, OnEvent) else "a pipeline has one schedule"
            yield Problem("HR1108", what, trigger.where, cure)
        seen.update([slug] if slug else [])


def _takes(fn: Callable[..., Any], name: str) -> bool:
    return any(is_named(hint, "headrace.data", name) for param, hint in hints(fn).items() if param != "return")


def _latest_in_window(compiled: Compiled) -> Iterator[Problem]:
    for node in compiled.definition.graph.nodes:
        for reference in _references(node):
            if reference.how == "latest":
                message = f"{node.name} reads {reference.name}.latest() in a pipeline with a window: a backfill would"
                cure = f"read inside the task as of the window, or use {reference.name}.at(…)"
                yield Problem("HR1109", f"{message} see today's rows", compiled.lines[node.name], cure, "warning")


def _references(node: Node) -> Iterator[DatasetRef]:
    waiting: list[AnyInput | None] = list(node.inputs.values())
    while waiting:
        match waiting.pop():
            case DatasetRef() as reference:
                yield reference
            case Sequence(items=items):
                waiting.extend(items)
            case Mapping(items=named):
                waiting.extend(named.values())
            case Choice(then=then, otherwise=otherwise):
                waiting.extend((then, otherwise))
            case _:
                continue


def _streams(loaded: Loaded) -> Iterator[Problem]:
    for stream in loaded.streams.values():
        yield from _bound(stream)


def _bound(stream: Stream[..., Any]) -> Iterator[Problem]:
    """Names of `bind=` against the parameters, and the class of a bound model against the annotation."""
    parameters = list(inspect.signature(stream.fn).parameters.values())
    if not parameters:
        yield Problem("HR1202", f"{stream.name} takes no batch", stream.where, "its first parameter is the batch")
        return
    rest = {parameter.name: parameter for parameter in parameters[1:]}
    for name in sorted(stream.bind.keys() - rest.keys()):
        cure = f"parameters to bind are {', '.join(rest)}" if rest else "add the parameter after the batch"
        yield Problem("HR1202", f"bind= names {name!r}, which {stream.name} does not take", stream.where, cure)
    for name, parameter in rest.items():
        if name not in stream.bind and parameter.default is inspect.Parameter.empty:
            cure = f'bind={{"{name}": table.latest()}} or a default'
            yield Problem("HR1202", f"nothing fills {name!r} of {stream.name}", stream.where, cure)
    known = hints(stream.fn)
    for name, reference in stream.bind.items():
        wanted = known.get(name)
        given = cast("type | None", getattr(reference.dataset, "of", None))
        if isinstance(wanted, type) and isinstance(given, type) and not issubclass(given, wanted):
            message = f"{name} of {stream.name} is {wanted.__name__}, and {reference.dataset.name} is {given.__name__}"
            yield Problem("HR1202", message, stream.where, "bind another model, or change the annotation")


def _unused_tasks(loaded: Loaded) -> Iterator[Problem]:
    if any(name not in loaded.pipelines for name in loaded.bodies):
        return  # a body that did not compile may be the one that calls them
    used = {task.fn for compiled in loaded.pipelines.values() for task in compiled.tasks}
    for task in loaded.tasks:
        file = task.where.rpartition(":")[0]
        if task.fn not in used and not is_own(file) and not is_library(file):
            cure = "call it in the body of a pipeline, or take @hr.task off"
            yield Problem("HR1110", f"the task {task.name} is in no pipeline", task.where, cure, "warning")
