"""Deadlines of one machine, in monotonic time: a jump of the wall clock moves none of them."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

from headrace.runs.path import Path

LONGEST_WAIT_US = 30_000_000  # a jump of the wall clock, or a suspended machine, is noticed after so long at most


@dataclass(frozen=True, slots=True)
class RetryDue:
    """An item has waited long enough after a failure."""

    run: str
    generation: int
    node: str
    path: Path
    item: int


@dataclass(frozen=True, slots=True)
class TimeoutDue:
    """An attempt may have taken too long: that counts from when its worker began it, not from when it was sent."""

    worker: str
    serial: int


@dataclass(frozen=True, slots=True)
class GraceOver:
    """An attempt was told to stop so long ago that its worker is ended."""

    worker: str
    serial: int


@dataclass(frozen=True, slots=True)
class PatienceOver:
    """A run has waited for its topics as long as its `ready_within` says."""

    run: str


Deadline = RetryDue | TimeoutDue | GraceOver | PatienceOver


class Timers:
    """Deadlines, and one wake-up: the earliest that anybody asked for since the last step."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Deadline]] = []
        self._count = 0
        self._wake_us: int | None = None

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, due_us: int, deadline: Deadline) -> None:
        self._count += 1
        heapq.heappush(self._heap, (due_us, self._count, deadline))

    def wake_at(self, mono_us: int) -> None:
        """Ask for a step; forgotten at the next one, when whoever still cares asks again."""
        self._wake_us = mono_us if self._wake_us is None else min(self._wake_us, mono_us)

    def begin_step(self) -> None:
        self._wake_us = None

    def next_us(self, now_us: int) -> int | None:
        """When the next step is due; None where nothing is waited for."""
        first = self._heap[0][0] if self._heap else None
        if self._wake_us is None:
            return first
        wake_us = min(self._wake_us, now_us + LONGEST_WAIT_US)
        return wake_us if first is None else min(first, wake_us)

    def due(self, now_us: int) -> Iterator[Deadline]:
        """Take out what is due, oldest first."""
        while self._heap and self._heap[0][0] <= now_us:
            yield heapq.heappop(self._heap)[2]
