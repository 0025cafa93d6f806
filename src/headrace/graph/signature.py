"""Arguments by parameter name: binding a call in a body, and turning stored values back into a call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from headrace.data.where import user_line
from headrace.errors import GraphError

Parameter = inspect.Parameter


def bind(fn: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Parameter → argument, defaults left out. Raises `GraphError` for a missing or unknown argument."""
    signature = inspect.signature(fn)
    try:
        return dict(signature.bind(*args, **kwargs).arguments)
    except TypeError as error:
        raise GraphError(
            f"{name}{_shape(signature)} cannot be called like this: {error}",
            where=user_line(),
            cure=f"call it with {', '.join(signature.parameters) or 'no arguments'}",
            code="HR1102",
        ) from None


def call_with(fn: Callable[..., Any], values: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Positional and keyword arguments for a call with values by parameter name, `*args` and `**kwargs` included.

    >>> def total(first, *rest, scale=1): ...
    >>> call_with(total, {"first": 1, "rest": (2, 3), "scale": 10})
    ([1, 2, 3], {'scale': 10})
    """
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    parameters = inspect.signature(fn).parameters.values()
    by_position = any(p.kind is Parameter.VAR_POSITIONAL and p.name in values for p in parameters)
    for parameter in parameters:
        if parameter.name not in values:
            if by_position and parameter.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD):
                args.append(parameter.default)
            continue
        value = values[parameter.name]
        match parameter.kind:
            case Parameter.VAR_POSITIONAL:
                args.extend(value)
            case Parameter.VAR_KEYWORD:
                kwargs.update(value)
            case Parameter.KEYWORD_ONLY:
                kwargs[parameter.name] = value
            case Parameter.POSITIONAL_ONLY:
                args.append(value)
            case _ if by_position:
                args.append(value)
            case _:
                kwargs[parameter.name] = value
    return args, kwargs


def required(fn: Callable[..., Any]) -> list[str]:
    """The parameters without a default."""
    variadic = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    return [
        parameter.name
        for parameter in inspect.signature(fn).parameters.values()
        if parameter.default is Parameter.empty and parameter.kind not in variadic
    ]


def _shape(signature: inspect.Signature) -> str:
    return f"({', '.join(signature.parameters)})"
