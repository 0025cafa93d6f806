"""From a schedule that breaks a promise to the smallest one found that breaks the same: fewer faults, runs and nodes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from headrace.testing.auditor import Violation
from headrace.testing.simulator.recipe import Recipe
from headrace.testing.simulator.simulation import Result, simulate

T = TypeVar("T")
SALTS = 3  # another order of messages now and then fails where this one does not


def shrink(recipe: Recipe, *, seconds: float = 60.0, told: Callable[[str], None] = lambda _: None) -> Recipe:
    """Raises ValueError where the schedule breaks nothing."""
    found = simulate(recipe)
    if not found.violations:
        raise ValueError(f"seed {recipe.seed} breaks no promise")
    shrinking = _Shrinking(found, time.monotonic() + seconds, told)
    shrinking.run()
    return shrinking.best


def signature(violation: Violation) -> str:
    """What makes two violations the same: the promise, and the words of an error without its numbers and names."""
    if violation.number != "P1":
        return f"{violation.number} {violation.promise}"
    words = re.sub(r"[^ ]*\d[^ ]*", "", violation.found.partition(": ")[2])
    return f"P1 {words[:60]}"


class _Shrinking:
    def __init__(self, found: Result, until: float, told: Callable[[str], None]) -> None:
        self.best, self.result = found.recipe, found
        self.wanted = signature(found.violations[0])
        self._until, self._told = until, told
        self._tried: set[str] = set()

    def run(self) -> None:
        is_smaller = True
        while is_smaller and time.monotonic() < self._until:
            size = self.best.size
            for candidate in self._simpler():
                self._try(candidate)
            self._minimise(sorted(self.result.world.struck), lambda x, left: replace(x, left_out=x.left_out | left))
            planned = [n + 1 for n in range(self.result.planned) if n + 1 not in self.best.undone]
            self._minimise(planned, lambda x, left: replace(x, undone=x.undone | left))
            is_smaller = self.best.size < size

    def _simpler(self) -> Iterator[Recipe]:
        """One thing less at a time; each is built on the best so far."""
        for feature in sorted(self.best.draw.features):
            yield self._drawn(features=self.best.draw.features - {feature})
        for fault in sorted(self.best.draw.faults):
            rest = {name: rate for name, rate in self.best.draw.faults.items() if name != fault}
            yield self._drawn(faults=rest)
        for most in range(1, min(self.best.most_nodes, 5)):
            yield replace(self.best, most_nodes=most)
        for workers in range(1, self.best.draw.workers):
            yield self._drawn(workers=workers)
        for length_s in (5, 10, 30, 120):
            if length_s < self.best.draw.length_s:
                yield self._drawn(length_s=length_s)
        yield self._drawn(failure=0.0)

    def _drawn(self, **changes: object) -> Recipe:
        return replace(self.best, draw=replace(self.best.draw, **changes))  # type: ignore[arg-type]  # its own fields

    def _minimise(self, things: Sequence[T], leave: Callable[[Recipe, frozenset[T]], Recipe]) -> None:
        """Leave out as many of the things as possible: halves first, then smaller and smaller pieces."""
        size = max(len(things) // 2, 1)
        left = list(things)
        while left and time.monotonic() < self._until:
            kept: list[T] = []
            for at in range(0, len(left), size):
                piece = left[at : at + size]
                if not self._try(leave(self.best, frozenset(piece))):
                    kept += piece
            if size == 1:
                return
            left, size = kept, max(size // 2, 1)

    def _try(self, candidate: Recipe) -> bool:
        for salt in range(SALTS):
            salted = replace(candidate, salt=salt)
            if time.monotonic() > self._until or repr(salted) in self._tried:
                continue
            self._tried.add(repr(salted))
            result = simulate(salted)
            if result.violations and signature(result.violations[0]) == self.wanted:
                self.best, self.result = salted, result
                self._told(f"smaller: {result.faults} faults, {result.runs} runs, {result.world.events} messages")
                return True
        return False
