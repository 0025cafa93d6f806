"""From a Python value in a body to a frozen input: constants, handles, references, functions, containers of them."""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import msgspec

from headrace.data.reference import Reference
from headrace.data.secret import Secret
from headrace.data.where import user_line
from headrace.definitions import nodes
from headrace.definitions.nodes import AnyInput, Const
from headrace.errors import GraphError
from headrace.graph.handle import Handle

if TYPE_CHECKING:
    from headrace.graph.recorder import Recorder

_SHOWN = 40  # characters of a constant in a node's name


def frozen_input(value: object, recorder: Recorder) -> AnyInput:
    """The input for a value. Raises `GraphError` when it is neither a handle nor a constant that JSON can hold."""
    try:
        return _frozen(value, recorder)
    except RecursionError:
        raise GraphError(
            "this value holds itself, or is nested too deep to be written into a graph",
            where=user_line(),
            cure="make it inside the task",
            code="HR1105",
        ) from None


def _frozen(value: object, recorder: Recorder) -> AnyInput:
    match value:
        case Handle():
            return recorder.use(value)
        case Reference():
            recorder.note_dataset(value.dataset)
            return value.ref
        case None | bool() | int() | str():
            return _plain(value)
        case float() if math.isfinite(value):
            return _plain(value)
        case list():
            return _list(cast("list[object]", value), recorder)
        case tuple():
            return nodes.Sequence(tuple(_frozen(item, recorder) for item in cast("tuple[object, ...]", value)), True)
        case Mapping():
            return _mapping(cast("Mapping[object, object]", value), recorder)
        case _:
            return _function(value, recorder)


def shown(value: AnyInput) -> str | None:
    """How a constant reads in a node's name; None for anything that is not a constant."""
    if not isinstance(value, Const):
        return None
    text = value.value if isinstance(value.value, str) else msgspec.json.encode(value.value, order="sorted").decode()
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 9]}~{nodes.digest(value)[:8]}"


def _plain(value: bool | int | float | str | None) -> Const:
    # Enums and other subclasses are refused: they would arrive in the task as the plain type.
    if type(value) not in (bool, int, float, str, types.NoneType):
        raise _no_constant(value)
    try:
        msgspec.json.encode(value)
    except ValueError as error:  # a lone surrogate, or a number of more than 4,300 digits
        raise GraphError(
            f"this {type(value).__name__} cannot be written into a graph: {error}",
            where=user_line(),
            cure="make it inside the task",
            code="HR1105",
        ) from None
    return Const(value)


def _list(value: list[object], recorder: Recorder) -> AnyInput:
    items = [_frozen(item, recorder) for item in value]
    if all(isinstance(item, Const) for item in items):
        return Const([cast("Const", item).value for item in items])
    return nodes.Sequence(tuple(items))


def _mapping(value: Mapping[object, object], recorder: Recorder) -> AnyInput:
    items: dict[str, AnyInput] = {}
    for key, item in value.items():
        if type(key) is not str:
            raise GraphError(
                f"the key {key!r} of a dict in a pipeline body is not a string",
                where=user_line(),
                cure="use string keys, or build the dict inside a task",
                code="HR1105",
            )
        _plain(key)
        items[key] = _frozen(item, recorder)
    if all(isinstance(item, Const) for item in items.values()):
        return Const({key: cast("Const", item).value for key, item in items.items()})
    return nodes.Mapping(items)


def _function(value: object, recorder: Recorder) -> nodes.Function:
    fn = getattr(value, "fn", value)  # a task stands for its function
    if not isinstance(fn, types.FunctionType):
        raise _no_constant(value)
    if "<lambda>" in fn.__qualname__:
        raise GraphError(
            "a lambda has no name by which a worker finds it again",
            where=user_line(),
            cure="write it as a function of the module",
            code="HR1105",
        )
    found = nodes.Function(fn.__module__, fn.__qualname__)
    recorder.functions[f"{found.module}:{found.qualname}"] = cast("Callable[..., Any]", fn)
    return found


def _no_constant(value: object) -> GraphError:
    kind = type(value)
    if getattr(value, "definition", None) is not None and hasattr(value, "kind"):
        cure = "read a dataset inside the task, or pass a reference such as latest() or champion()"
    elif isinstance(value, Secret):
        cure = f"call {value.name}.value() inside the task"
    else:
        cure = "make it inside the task, or pass plain JSON values: text, numbers, booleans, lists, dicts"
    return GraphError(
        f"a value of type {kind.__module__}.{kind.__qualname__} cannot be written into a graph",
        where=user_line(),
        cure=cure,
        code="HR1105",
    )
