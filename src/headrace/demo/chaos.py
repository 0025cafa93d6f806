"""Kills and pauses the demo's own processes while it plays: the result has to be the same."""

from __future__ import annotations

import random
import signal
import time
from dataclasses import dataclass, field
from typing import Protocol

from headrace.testing.chaos.processes import family, send

PAUSE_S = (0.5, 4.0)
DELAY_S = 0.25  # a strike comes so long after its day began at most


class EngineHandle(Protocol):
    """The process that everything else descends from."""

    @property
    def pid(self) -> int | None: ...


@dataclass
class Chaos:
    """`strikes` in all, spread over the steps at random: two of three kill, the others pause."""

    strikes: int
    steps: int
    dice: random.Random = field(default_factory=random.Random)
    kills: int = 0
    pauses: int = 0
    _due_s: list[float] = field(default_factory=list[float])
    _paused: dict[int, float] = field(default_factory=dict[int, float])
    _when: list[int] = field(default_factory=list[int])
    _kinds: list[bool] = field(default_factory=list[bool])

    def __post_init__(self) -> None:
        self._when = sorted(self.dice.sample(range(2, self.steps), self.strikes))
        self._kinds = [n * 3 < self.strikes * 2 for n in range(self.strikes)]
        self.dice.shuffle(self._kinds)

    def begin_step(self, number: int) -> None:
        """A day begins: those strikes that fall on it come within a quarter of a second."""
        now_s = time.monotonic()
        self._due_s += [now_s + self.dice.uniform(0, DELAY_S) for step in self._when if step == number]

    def tend(self, engine: EngineHandle) -> None:
        """Strike where it is time, and let paused processes go on."""
        now_s = time.monotonic()
        for pid, until_s in tuple(self._paused.items()):
            if now_s >= until_s:
                del self._paused[pid]
                send(pid, signal.SIGCONT)
        due = [due_s for due_s in self._due_s if now_s >= due_s]
        pid = engine.pid
        if due and pid is not None:  # one at a time: the next one waits until there is an engine again
            self._due_s.remove(due[0])
            self._strike(pid, now_s)

    def end(self) -> None:
        """Let everybody go on."""
        for pid in self._paused:
            send(pid, signal.SIGCONT)
        self._paused.clear()

    def _strike(self, engine: int, now_s: float) -> None:
        victims = [("engine", engine), *family(engine)]
        kind = self.dice.choice(sorted({kind for kind, _ in victims}))
        pid = self.dice.choice([pid for name, pid in victims if name == kind])
        if self._kinds.pop():
            self.kills += send(pid, signal.SIGKILL)
        elif send(pid, signal.SIGSTOP):
            self.pauses += 1
            self._paused[pid] = now_s + self.dice.uniform(*PAUSE_S)
