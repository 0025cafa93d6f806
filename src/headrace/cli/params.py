"""A pipeline's parameters and window as they are typed: `rounds=50`, `--rounds 50`, `--window 2013-01-01 60d`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from headrace.base.near import near
from headrace.data.window import Window
from headrace.definitions.project import ParamDef, PipelineDef
from headrace.errors import SettingsError
from headrace.runs.asking import misfit

_BOOLS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def given(words: Iterable[str], flags: Mapping[str, str]) -> dict[str, str]:
    """Names and texts of both spellings. Raises SettingsError for a word without `=` and for a name given twice.

    >>> given(["rounds=50"], {"learning-rate": "0.1"})
    {'rounds': '50', 'learning_rate': '0.1'}
    """
    found: dict[str, str] = {}
    pairs = [word.partition("=") for word in words]
    for name, equals, text in [*pairs, *((name.replace("-", "_"), "=", text) for name, text in flags.items())]:
        if not equals:
            raise SettingsError(f"expected name=value, got {name!r}", cure=f"{name}=…", code="HR1351")
        if name in found:
            raise SettingsError(f"{name} is given twice", cure="give it once", code="HR1351")
        found[name] = text
    return found


def typed(pipeline: PipelineDef, texts: Mapping[str, str]) -> dict[str, Any]:
    """The values by the types that the pipeline declares. Raises SettingsError where one does not fit."""
    params = {param.name: param for param in pipeline.params if param.kind == "value"}
    for name in texts:
        if name not in params and name == window_parameter(pipeline):
            raise SettingsError(
                f"{name} is the window that {pipeline.name} is about, and no parameter",
                cure="--window START LENGTH, for example --window 2013-01-01 60d",
                code="HR1351",
            )
        if name not in params:
            takes = ", ".join(params) or "no parameters"
            raise SettingsError(
                f"{pipeline.name} has no parameter {name!r}{near(name, params)}",
                cure=f"it takes {takes}",
                code="HR1351",
            )
    missing = [name for name, param in params.items() if param.required and name not in texts]
    if missing:
        raise SettingsError(f"{pipeline.name} needs {', '.join(missing)}", cure=f"{missing[0]}=…", code="HR1351")
    return {name: _value(params[name], text) for name, text in texts.items()}


def window(pipeline: PipelineDef, words: tuple[str, str] | None) -> tuple[int, int] | None:
    """Start and end in UTC microseconds; the end may be a length.

    Raises ProjectError for words that are no window, and SettingsError for a pipeline that takes none.
    """
    if words is None:
        return None
    chosen = Window(*words)
    if window_parameter(pipeline) is None:
        raise SettingsError(
            f"{pipeline.name} takes no window",
            where="--window",
            cure=f"give it a parameter: def {pipeline.name}(window: hr.Window, …), or leave --window out",
            code="HR1352",
        )
    return chosen.start_us, chosen.end_us


def window_parameter(pipeline: PipelineDef) -> str | None:
    """The name of the parameter that takes the run's window; None where there is none."""
    return next((param.name for param in pipeline.params if param.kind == "window"), None)


def _value(param: ParamDef, text: str) -> Any:
    value = _parsed(param, text)
    wanted = misfit(param, value)
    if wanted is not None:
        raise _unfit(param, wanted, text)
    return value


def _parsed(param: ParamDef, text: str) -> Any:
    try:
        match param.type:
            case "str":
                return text
            case "int":
                return int(text)
            case "float":
                return float(text)
            case "bool":
                return _BOOLS[text.lower()]
            case _:
                return msgspec.json.decode(text)
    except (ValueError, KeyError, msgspec.DecodeError):
        words = {"int": "a whole number", "float": "a number", "bool": "true or false"}
        raise _unfit(param, words.get(param.type, "JSON"), text) from None


def _unfit(param: ParamDef, wanted: str, text: str) -> SettingsError:
    return SettingsError(
        f"{param.name} is {wanted}, got {text!r}",
        where=f"--{param.name.replace('_', '-')}",
        cure=f"{param.name}={msgspec.json.encode(param.default).decode()}" if not param.required else None,
        code="HR1351",
    )
