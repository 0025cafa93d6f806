"""A call of Headrace that Python itself refuses, said with how the call is written."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable
from types import FrameType
from typing import Any

_REFUSED = re.compile(r"([\w.]+)\(\) (?:missing|got|takes) ")
_ALSO = {"Model.register": "; hr.split makes fit and test of one frame"}


def misused(error: TypeError) -> str | None:
    """How the function is called that the user's code calls in a wrong way; None where it is none of Headrace's.

    Such an error has no frame of the function itself: its arguments did not even reach it.
    """
    found = _REFUSED.match(str(error))
    frame = _innermost(error)
    if found is None or frame is None:
        return None
    owner, _, method = found[1].partition(".")
    public = importlib.import_module("headrace")
    called = getattr(public, owner, None) if owner in dir(public) else None
    if called is None or frame.f_globals.get(owner, called) is not called:
        return None
    function = getattr(called, method, None) if method else called
    if function is None:
        return None
    name = owner if method in ("", "__init__") else method
    return f"call it as {name}({_arguments(function)}){_ALSO.get(found[1], '')}"


def _arguments(function: Callable[..., Any]) -> str:
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return ", ".join(
        parameter.name
        if parameter.kind is not parameter.KEYWORD_ONLY and parameter.default is parameter.empty
        else f"{parameter.name}=…"
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name != "self" and parameter.kind not in variadic
    )


def _innermost(error: BaseException) -> FrameType | None:
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    return None if step is None else step.tb_frame
