"""A lane per pipeline: which of its unfinished runs are at work, and which wait because `max_active` are."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Protocol

from headrace.definitions.project import PipelineDef


class Entrant(Protocol):
    """A run that has not ended. `number`: in which order it was taken in."""

    number: int

    @property
    def run(self) -> str: ...
    @property
    def pipeline(self) -> str: ...
    @property
    def definition(self) -> PipelineDef: ...
    @property
    def has_started(self) -> bool: ...


@dataclass(slots=True)
class Lane:
    """`begun`: let in, or at work already. `held`: (number, run) of those that wait, oldest first."""

    runs: int = 0
    begun: set[str] = field(default_factory=set[str])
    held: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])


class Lanes:
    """Each question costs the same however many runs of a pipeline wait."""

    def __init__(self) -> None:
        self._lanes: dict[str, Lane] = {}
        self._numbered = 0

    def is_active(self, pipeline: str) -> bool:
        return pipeline in self._lanes

    def enter(self, active: Entrant) -> None:
        """A run exists, or goes again."""
        self._numbered += 1
        active.number = self._numbered
        lane = self._lanes.setdefault(active.pipeline, Lane())
        lane.runs += 1
        if active.has_started:
            lane.begun.add(active.run)

    def begin(self, active: Entrant) -> None:
        """The run's first attempt has started."""
        self._lanes[active.pipeline].begun.add(active.run)

    def leave(self, active: Entrant) -> None:
        """The run has ended."""
        lane = self._lanes[active.pipeline]
        lane.runs -= 1
        lane.begun.discard(active.run)
        at = bisect_left(lane.held, (active.number, active.run))
        if at < len(lane.held) and lane.held[at][1] == active.run:
            del lane.held[at]
        if not lane.runs:
            del self._lanes[active.pipeline]

    def admit(self, active: Entrant) -> bool:
        """Let a run that is ready in, for good, or hold it: whether it may be at work. The oldest go first."""
        lane = self._lanes[active.pipeline]
        most = active.definition.max_active
        if most is None or active.run in lane.begun:
            return True
        place = (active.number, active.run)
        at = bisect_left(lane.held, place)
        if at == len(lane.held) or lane.held[at] != place:
            lane.held.insert(at, place)
        if at > 0 or len(lane.begun) >= most:
            return False
        del lane.held[0]
        lane.begun.add(active.run)
        return True

    def first_held(self, pipeline: str) -> str | None:
        """The run that is let in next."""
        lane = self._lanes.get(pipeline)
        return lane.held[0][1] if lane is not None and lane.held else None

    def at_work(self, pipeline: str) -> frozenset[str]:
        """The runs that are let in."""
        lane = self._lanes.get(pipeline)
        return frozenset() if lane is None else frozenset(lane.begun)
