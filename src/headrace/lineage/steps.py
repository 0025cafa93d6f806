"""A trace as a tree of steps: each says what it is, in words and as data, and what it came from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec


class Step(msgspec.Struct, frozen=True):
    """One thing that took part. `kind` is row, batch, task, client, model, run, table, topic or code.

    `says` are lines for people; `data` is the same and more as plain JSON values, times in UTC microseconds. `sources`
    are what it came from; what the tree has told already is told again without them.
    """

    kind: str
    name: str
    says: tuple[str, ...] = ()
    data: dict[str, Any] = {}
    sources: tuple[Step, ...] = ()

    def all(self) -> Iterator[Step]:
        """This step and all below, in the order of the tree."""
        yield self
        for source in self.sources:
            yield from source.all()


class Trace(msgspec.Struct, frozen=True):
    """Where the thing called `key` came from."""

    key: str
    root: Step

    def lines(self) -> list[str]:
        """The tree for people: one step a paragraph, indented below what it went into.

        >>> code = Step("code", "3f2a", ("deployed 2013-03-01T00:00Z",))
        >>> print("\\n".join(Trace("f1", Step("row", "scores/0/7", ("p_late 0.4",), {}, (code,))).lines()))
        row scores/0/7
            p_late 0.4
          code 3f2a
              deployed 2013-03-01T00:00Z
        """
        return list(_lines(self.root, 0))

    def find(self, kind: str, name: str | None = None) -> Step | None:
        """The first step of that kind, and name."""
        return next((step for step in self.root.all() if step.kind == kind and name in (None, step.name)), None)


def _lines(step: Step, depth: int) -> Iterator[str]:
    indent = "  " * depth
    yield f"{indent}{step.kind} {step.name}"
    for line in step.says:
        yield f"{indent}    {line}"
    for source in step.sources:
        yield from _lines(source, depth + 1)
