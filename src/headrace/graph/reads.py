"""Which datasets the user's functions name, found in their compiled code without running it.

A function that says `departures.read(window)` or `delay.examples(flights, window)` names a global. That is a good
approximation, not a proof: a dataset found by other ways (a registry, `getattr`) is not seen, and a run then does not
wait for it.
"""

from __future__ import annotations

import dis
import inspect
import types
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from headrace.data.model import Model
from headrace.data.table import Table
from headrace.data.topic import Running, Source, Topic

if TYPE_CHECKING:
    from headrace.data.recording import Dataset

_WRITES = ("append", "write", "register")
_NAMES = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF")
_ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD")


class _Named(NamedTuple):
    """A project object named in code, and the attribute taken of it."""

    value: object
    attribute: str | None


def topics_of(functions: Iterable[Callable[..., Any]]) -> tuple[str, ...]:
    """The topics that the functions read, sorted: joined ones, histories of tables and labels of examples included."""
    found: set[str] = set()
    for value, attribute in _named(functions):
        if attribute in _WRITES:
            continue
        match value:
            case Topic():
                found.add(value.name)
            case Source():
                found.update((value.topic.name, *(dataset.name for dataset, _ in value.joined)))
            case Running():
                found.add(value.topic.name)
            case Model(labels=Topic() as labels) if attribute == "examples":
                found.add(labels.name)
            case _:
                continue
    return tuple(sorted(found))


def datasets_of(functions: Iterable[Callable[..., Any]]) -> Iterator[Dataset]:
    """Every dataset that the functions name, for reading or writing, and what stands behind it."""
    for value, _ in _named(functions):
        yield from behind(value)


def behind(value: object) -> Iterator[Dataset]:
    """The datasets that an object is made of: a source's topics, a model and its labels, a dataset itself."""
    match value:
        case Topic() | Table():
            yield value
        case Source():
            yield value.topic
            for dataset, _ in value.joined:
                yield dataset
        case Running():
            yield value.topic
        case Model():
            yield value
            if value.labels is not None:
                yield value.labels
        case _:
            return


def _named(functions: Iterable[Callable[..., Any]]) -> Iterator[_Named]:
    """What the functions name, and the functions of the same project that they call."""
    seen: set[types.CodeType] = set()
    waiting = [fn for fn in functions if inspect.isfunction(fn)]
    while waiting:
        fn = waiting.pop()
        if fn.__code__ in seen:
            continue
        seen.add(fn.__code__)
        for found in _loads(fn.__code__, _scope_of(fn)):
            inner = getattr(found.value, "fn", found.value)
            if inspect.isfunction(inner):
                if inner.__module__.partition(".")[0] == fn.__module__.partition(".")[0]:
                    waiting.append(inner)
            else:
                yield found


def _loads(code: types.CodeType, names: dict[str, Any]) -> Iterator[_Named]:
    instructions = list(dis.get_instructions(code))
    for at, instruction in enumerate(instructions):
        if instruction.opname in _NAMES and instruction.argval in names:
            yield _followed(names[instruction.argval], instructions[at + 1 :])
    for constant in code.co_consts:  # lambdas, comprehensions and inner functions
        if isinstance(constant, types.CodeType):
            yield from _loads(constant, names)


def _followed(value: object, rest: Iterable[dis.Instruction]) -> _Named:
    """Follow attributes through modules: `sources.departures.read` names `departures`."""
    for instruction in rest:
        if instruction.opname not in _ATTRIBUTES:
            return _Named(value, None)
        if not isinstance(value, types.ModuleType):
            return _Named(value, instruction.argval)
        value = vars(value).get(instruction.argval)
    return _Named(value, None)


def _scope_of(fn: types.FunctionType) -> dict[str, Any]:
    names = dict(fn.__globals__)
    for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True):
        try:
            names[name] = cell.cell_contents
        except ValueError:  # a cell that is not filled yet
            continue
    return names
