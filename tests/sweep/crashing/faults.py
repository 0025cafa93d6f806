"""Boundaries between a process and what outlives it, counted; at chosen ones the process fails."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")
KINDS = ("before", "after", "death", "worker")
SAYS = {
    "before": "an error before the effect",
    "after": "an error after the effect, which leaves the outcome unknown",
    "death": "the death of the process",
    "worker": "the death of the worker alone",
}


class Death(BaseException):
    """The process ends here. Whoever catches it finds that nothing reaches the outside any more."""


@dataclass(eq=False)
class Actor:
    """A process, as far as failures are concerned. A worker dies with its engine."""

    name: str
    parent: Actor | None = None
    has_died: bool = False

    @property
    def is_dead(self) -> bool:
        return self.has_died or (self.parent is not None and self.parent.is_dead)


@dataclass(frozen=True, slots=True)
class Boundary:
    """One crossing. `is_idle`: since the last one this process has done nothing that anybody could see."""

    name: str
    is_read: bool
    is_in_worker: bool
    is_idle: bool = False

    def takes(self, kind: str) -> bool:
        """What has no effect cannot fail after it; and who dies without having done anything has died before."""
        match kind:
            case "after":
                return not self.is_read
            case "worker":
                return self.is_in_worker
            case "death":
                return not self.is_idle
            case _:
                return True


class Faults:
    """`plan`: what happens at which crossing, counted from 1. `crossed` is kept where `is_listed`."""

    def __init__(self, plan: Mapping[int, str], *, is_listed: bool = False) -> None:
        self.plan = plan
        self.count = 0
        self.crossed: list[Boundary] = []
        self.struck: list[Boundary] = []
        self._is_listed = is_listed
        self._actor: Actor | None = None
        self._is_inside = False
        self._only_read: Actor | None = None  # who did nothing but read since it began to act

    @property
    def is_dead(self) -> bool:
        """Whether whoever acts now has died: what it still does in `finally` never happened."""
        return self._actor is not None and self._actor.is_dead

    @contextmanager
    def acting(self, actor: Actor | None) -> Generator[None]:
        """What happens in here is done by this process; None is everybody who does not fail."""
        before, self._actor = self._actor, actor
        try:
            yield
        finally:
            self._actor = before

    def cross(
        self,
        do: Callable[[], T],
        named: Callable[[], str],
        error: Callable[[], Exception],
        *,
        is_read: bool = False,
        torn: Callable[[], object] | None = None,
    ) -> T:
        """Do what leads outside, or fail. `torn` does half of it, which is what a failure in its middle leaves."""
        actor = self._actor
        if actor is None or self._is_inside:
            return do()
        if actor.is_dead:
            raise Death
        self.count += 1
        kind = self.plan.get(self.count)
        if kind is None and not self._is_listed:
            return self._done(do)
        boundary = Boundary(f"{actor.name}: {named()}", is_read, actor.parent is not None, self._only_read is actor)
        self._only_read = actor if is_read else None
        self.crossed.append(boundary)
        if kind is None:
            return self._done(do)
        self.struck.append(boundary)
        if kind == "after":
            self._done(do)
            raise error()
        if torn is not None:
            self._done(torn)
        if kind == "before":
            raise error()
        (actor if kind == "worker" or actor.parent is None else actor.parent).has_died = True
        raise Death

    def _done(self, do: Callable[[], Any]) -> Any:
        self._is_inside = True
        try:
            return do()
        finally:
            self._is_inside = False
