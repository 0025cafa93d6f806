"""What the tasks of a body are given, against what their parameters are annotated with. Only what is certain is told."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from headrace.definitions.nodes import AnyInput, Const, Node, Param, Ref
from headrace.definitions.project import Problem
from headrace.graph.annotations import hints, is_named
from headrace.graph.compile import Compiled
from headrace.graph.pipeline import Pipeline

_PLAIN = (str, int, float, bool, bytes, list, dict)
_FRAMES = ("DataFrame", "Series")
_FITS = {("bool", "int"), ("bool", "float"), ("int", "float")}  # what is given, and where Python takes it as it is


def passing_problems(pipeline: Pipeline[..., Any], compiled: Compiled) -> Iterator[Problem]:
    """Constants, parameters and results that are of another kind than the parameter of the task that they go to.

    Judged are `str int float bool bytes list dict` and frames, each against each; whatever else is annotated, a union
    or a class, may take anything.
    """
    nodes = {node.name: node for node in compiled.definition.graph.nodes}
    body = hints(pipeline.fn)
    for node in nodes.values():
        fn = compiled.functions.get(node.name)
        wanted = {} if fn is None else hints(fn)
        for name, value in node.inputs.items():
            want = _kind(wanted.get(name))
            given, what = _given(value, node, nodes, compiled.functions, body)
            if want is None or given is None or name in node.feed or want == given or (given, want) in _FITS:
                continue
            yield Problem(
                "HR1112",
                f"{name} of {node.name} is annotated as {want}, and {what} is {given}",
                compiled.lines[node.name],
                "pass what it takes, or change the annotation",
                "warning",
            )


def _given(
    value: AnyInput,
    node: Node,
    nodes: Mapping[str, Node],
    functions: Mapping[str, Callable[..., Any]],
    body: Mapping[str, Any],
) -> tuple[str | None, str]:
    """The kind of an input, None where it is not certain, and what it is called."""
    match value:
        case Const(value=constant):
            return _kind(type(constant)), repr(constant)[:40]
        case Param(name=name):
            return _kind(body.get(name)), f"the parameter {name}"
        case Ref(node=source, item=None) if source in functions and nodes[source].scope == node.scope:
            return _kind(hints(functions[source]).get("return")), f"the result of {source}"
        case _:
            return None, ""


def _kind(annotation: object) -> str | None:
    """The word for an annotation whose values are certainly of no other kind; None for all others."""
    plain = typing.get_origin(annotation) or annotation
    if plain in _PLAIN:
        return getattr(plain, "__name__", None)
    if isinstance(annotation, type):
        return next((name for name in _FRAMES if is_named(annotation, "polars", name)), None)
    return None
