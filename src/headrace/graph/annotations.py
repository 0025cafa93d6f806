"""Reading the annotations of user functions, also those that only a type checker can resolve."""

from __future__ import annotations

import collections.abc
import importlib
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

_STREAMED = (
    collections.abc.Iterable,
    collections.abc.Iterator,
    collections.abc.Generator,
    collections.abc.AsyncIterable,
)
_SCALARS = (int, float, bool, complex, str, bytes, types.NoneType)


class Unresolved:
    """A name in an annotation that does not exist at run time, for example one imported under TYPE_CHECKING."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __getattr__(self, name: str) -> Unresolved:
        if name.startswith("__"):
            raise AttributeError(name)
        return Unresolved(f"{self.text}.{name}")

    def __getitem__(self, _: object) -> Unresolved:
        return self

    def __or__(self, _: object) -> Unresolved:
        return self

    __ror__ = __or__

    def __call__(self) -> None:
        """Being callable lets `typing` accept it as a type."""


class _Names(dict[str, Any]):
    def __missing__(self, name: str) -> Any:
        builtins_ = self["__builtins__"]
        known = builtins_ if isinstance(builtins_, dict) else vars(builtins_)
        return known[name] if name in known else Unresolved(name)


def hints(fn: Callable[..., Any]) -> dict[str, Any]:
    """Parameter (and "return") → annotation, evaluated; what cannot be is `Unresolved`, nothing raises.

    >>> def count(rows: "list[pl.DataFrame]") -> int: ...
    >>> hints(count)["return"]
    <class 'int'>
    """
    try:
        raw = inspect.get_annotations(fn)
    except TypeError:  # a callable object has none
        return {}
    except NameError:  # Python 3.14 evaluates them late
        texts = importlib.import_module("annotationlib")
        raw = texts.get_annotations(fn, format=texts.Format.STRING)
    names = _names_of(fn)
    return {name: _evaluated(value, names) if isinstance(value, str) else value for name, value in raw.items()}


def is_named(annotation: object, module: str, name: str) -> bool:
    """Whether the annotation is the class `name` of that top-level package, resolved or not, `| None` included."""
    if isinstance(annotation, Unresolved):
        return annotation.text.rpartition(".")[2] == name
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        return any(is_named(part, module, name) for part in typing.get_args(annotation))
    return getattr(annotation, "__name__", None) == name and str(getattr(annotation, "__module__", "")).startswith(
        module
    )


def tuple_length(annotation: object) -> int | None:
    """How many values `tuple[A, B]` holds; None for anything else, `tuple[A, ...]` included."""
    if typing.get_origin(annotation) is not tuple:
        return None
    parts = typing.get_args(annotation)
    return None if Ellipsis in parts else len(parts)


def item_of(annotation: object, index: int | None = None) -> Any:
    """The annotation of an element: of `list[T]` it is T, of a fixed tuple that of its place; None where unknown."""
    parts = typing.get_args(annotation)
    if index is not None:
        return parts[index] if tuple_length(annotation) is not None and index < len(parts) else None
    if tuple_length(annotation) is None and len(parts) in (1, 2):
        return parts[0]
    return None


def is_streamed(annotation: object) -> bool:
    """Whether a parameter wants its items one by one: `Iterable[T]`, not `list[T]`."""
    return (typing.get_origin(annotation) or annotation) in _STREAMED


def is_scalar(annotation: object) -> bool:
    """Whether a value of this annotation certainly has no items to map over."""
    return annotation in _SCALARS if isinstance(annotation, type) else False


def _names_of(fn: Callable[..., Any]) -> Mapping[str, Any]:
    names = _Names(getattr(fn, "__globals__", {}))
    names.setdefault("__builtins__", __builtins__)
    code = getattr(fn, "__code__", None)
    if code is not None:
        for name, cell in zip(code.co_freevars, getattr(fn, "__closure__", None) or (), strict=False):
            try:
                names[name] = cell.cell_contents
            except ValueError:  # a cell that is not filled yet
                continue
    return names


def _evaluated(text: str, names: Mapping[str, Any]) -> Any:
    try:
        return eval(text, {"__builtins__": {}}, names)
    except Exception:  # any class may refuse to be indexed; the annotation is then known only by its text
        return Unresolved(text)
