"""What a recorder has noted before names are known: calls, map scopes and inlined pipelines, by token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from headrace.definitions.nodes import AnyInput, Condition, Options


@dataclass(eq=False, slots=True)
class Inlined:
    """One call of a pipeline in another's body. Its nodes are named under it."""

    base: str
    constants: tuple[str, ...]
    parent: Inlined | None
    where: str


@dataclass(eq=False, slots=True)
class Draft:
    """One recorded call. References to it hold `token` until the names are given."""

    token: str
    base: str
    constants: tuple[str, ...]
    inlined: Inlined | None
    kind: str
    target: str
    inputs: dict[str, AnyInput]
    scope: tuple[str, ...]
    when: tuple[Condition, ...]
    where: str
    group: str | None = None
    feed: dict[str, str] = field(default_factory=dict[str, str])
    to: str | None = None
    options: Options = field(default_factory=Options)
    function: Callable[..., Any] | None = None
    after: set[str] = field(default_factory=set[str])


@dataclass(eq=False, slots=True)
class DraftScope:
    """One recorded map."""

    token: str
    over: AnyInput
    parent: tuple[str, ...]
    where: str
