"""The frozen graph of one pipeline: nodes, what flows into them, and the scopes of maps.

Everything here is plain data with a canonical JSON form, so the engine can work on a graph without importing the
project that it came from. The hash of a graph changes only when its meaning changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec


class Input(msgspec.Struct, frozen=True, tag_field="is"):
    """Where an argument of a task comes from. One of the subclasses below."""


class Const(Input, frozen=True, tag="const"):
    """A plain value written into the body: JSON types only."""

    value: Any


class Ref(Input, frozen=True, tag="ref"):
    """The result of another node; with `item`, one element of its `tuple[…]` result."""

    node: str
    item: int | None = None


class Param(Input, frozen=True, tag="param"):
    """A parameter of the pipeline: an `hr.Window`, `hr.Events` or a plain value."""

    name: str


class Element(Input, frozen=True, tag="element"):
    """The current item of the map scope called `scope`."""

    scope: str


class Sequence(Input, frozen=True, tag="sequence"):
    """A list or tuple in which at least one item is a handle."""

    items: tuple[AnyInput, ...]
    is_tuple: bool = False


class Mapping(Input, frozen=True, tag="mapping"):
    """A dict with string keys in which at least one value is a handle."""

    items: dict[str, AnyInput]


class Choice(Input, frozen=True, tag="choice"):
    """The value of `hr.when`: `then` where `test` was true, else `otherwise` (None without a second branch)."""

    test: AnyInput
    then: AnyInput
    otherwise: AnyInput | None = None


class DatasetRef(Input, frozen=True, tag="dataset"):
    """A reference such as `weather.latest()` or `delay.champion()`, pinned when it is first read in a run or batch."""

    kind: str  # "table" | "topic" | "model"
    name: str
    how: str  # "latest" | "at" | "version" | "alias"
    arg: str | int | None = None


class Function(Input, frozen=True, tag="function"):
    """A plain function of the project (for example `predict=`), found again as `module:qualname`."""

    module: str
    qualname: str


AnyInput = Const | Ref | Param | Element | Sequence | Mapping | Choice | DatasetRef | Function


class Condition(msgspec.Struct, frozen=True):
    """A branch of `hr.when`: the node runs only where `test` is `wanted`."""

    test: AnyInput
    wanted: bool


class Options(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a node is executed. Durations are microseconds."""

    retries: int = 0
    backoff_us: int = 1_000_000  # the first wait; doubles with each retry, with jitter
    backoff_max_us: int = 600_000_000
    timeout_us: int | None = None
    max_lost: int | None = None  # None: the project's default (5)
    trigger_rule: str = "all_success"  # all_success | all_done | one_success | one_failed | none_failed
    concurrency: int | None = None  # at most so many attempts of this node at once, per run
    rate: int | None = None  # at most so many starts …
    rate_us: int = 60_000_000  # … in this span
    allow_failed: int = 0  # so many items of a map may fail and their consumer still runs


# Of what Headrace itself does in a run with a model or a monitor: the store or a disk may refuse for a moment.
BUILT_IN = Options(retries=2, backoff_us=2_000_000)


class Node(msgspec.Struct, frozen=True, omit_defaults=True):
    """One call of a task. `name` is its identity within the pipeline."""

    name: str
    kind: str  # "task" | "register" | "write" | "append": what the worker does with it
    target: str  # `module:qualname` of the task's function; the dataset's name for the other kinds
    inputs: dict[str, AnyInput] = {}
    after: tuple[str, ...] = ()  # order without data
    scope: tuple[str, ...] = ()  # the map scopes it stands in, outermost first
    when: tuple[Condition, ...] = ()  # all must hold
    feed: dict[str, str] = {}  # parameters fed with a map's results one by one: {"rows": "iter"}
    to: str | None = None  # the table that its result is published to
    group: str | None = None  # `hr.group`, for display
    options: Options = Options()


class Scope(msgspec.Struct, frozen=True):
    """One `map`: every node in it runs once per element of `over`. `parent` holds the enclosing scopes."""

    name: str
    over: AnyInput
    parent: tuple[str, ...] = ()


class Graph(msgspec.Struct, frozen=True, omit_defaults=True):
    """The frozen graph: nodes in topological order, map scopes, and what the pipeline returns."""

    nodes: tuple[Node, ...]
    scopes: tuple[Scope, ...] = ()
    result: AnyInput | None = None


def refs(value: AnyInput | None) -> Iterator[Ref]:
    """Every `Ref` inside an input, branches and containers included.

    >>> [r.node for r in refs(Sequence((Ref("a"), Const(1), Choice(Ref("b"), Ref("c")))))]
    ['a', 'b', 'c']
    """
    match value:
        case Ref():
            yield value
        case Sequence(items=items):
            for item in items:
                yield from refs(item)
        case Mapping(items=items):
            for item in items.values():
                yield from refs(item)
        case Choice(test=test, then=then, otherwise=otherwise):
            for item in (test, then, otherwise):
                yield from refs(item)
        case _:
            return


def canonical(value: object) -> bytes:
    """The one JSON form of a graph or definition: sorted keys, no blanks, defaults left out."""
    return msgspec.json.encode(value, order="sorted")


def digest(value: object) -> str:
    """The first 16 hex digits of the SHA-256 of the canonical form.

    >>> digest(Graph(nodes=())) == digest(Graph(nodes=(), scopes=()))
    True
    """
    return hashlib.sha256(canonical(value)).hexdigest()[:16]
