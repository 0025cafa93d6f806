"""Who is killed and paused, and when: at random moments, and at failpoints that processes carry from their start."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from headrace.host.failpoints import ARMED, FOLDER, POINTS
from headrace.testing.chaos.ledger import STRIKES, Struck, now_us, record
from headrace.testing.chaos.processes import family, send

PAUSE_S = (2.5, 4.0)  # longer than an engine lets a stopped child hold the store
WEIGHTS = {"engine": 2, "worker": 4, "stream": 3, "client": 2}
PAUSED_AT_ONCE = 2
STOPS = 0.2  # the share of strikes that pause
AT_POINT = {
    "engine": 0.8,
    "worker": 0.9,
    "shard": 0.9,
    "client": 0.3,
}  # how often a process that is not spared carries one
REACHES = {"engine": (1, 12), "worker": (1, 8), "table": (1, 2), "shard": (1, 6), "client": (1, 1)}
DOUBLES = 0.15  # the share of strikes that another one follows at once
SPARED, SPARED_S = 0.5, 30.0  # the share of new engines that are let alone until they have done something, or so long
CALM = 0.6  # the share of those beside whom nobody is paused or asks either: they show how long a recovery takes
GAP_S = 0.7  # the mean time between strikes at random moments on a machine that is not busy
PER_START = 0.3  # on a slow one it is this share of what an engine takes to do something: else they would only start
PATIENCE_S = 1.0  # so long one waits for a process of its kind
LOOK_S = 0.1


@dataclass
class Striker:
    """Strikes, and tells the witness. `gap_s` is the mean time between strikes at random moments.

    `is_calm`: a new engine is left in peace, so that it shows how long a recovery takes.
    """

    root: Path
    witness: Path
    dice: random.Random
    gap_s: float = GAP_S
    kills: Counter[str] = field(default_factory=Counter[str])
    pauses: Counter[str] = field(default_factory=Counter[str])
    points: Counter[str] = field(default_factory=Counter[str])
    is_calm: bool = False
    _decks: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    _folders: dict[Path, str] = field(default_factory=dict[Path, str])
    _seen: set[Path] = field(default_factory=set[Path])
    _paused: dict[int, tuple[str, float]] = field(default_factory=dict[int, tuple[str, float]])
    _due_s: float = 0.0
    _spared_from_s: float = 0.0
    _is_sparing: bool = False
    _next: str = ""
    _look_s: float = 0.0

    # -- failpoints ----------------------------------------------------------------------------------------------------

    def arm_engine(self) -> dict[str, str]:
        """What a new engine carries; some are spared, and some of those have nobody paused beside them."""
        if self.dice.random() < SPARED:
            self._is_sparing, self._spared_from_s = True, time.monotonic()
            self.is_calm = self.dice.random() < CALM
            if self.is_calm:
                self._let_go(float("inf"))
            return {}
        return self.arm("", ["engine", "worker", "shard"])

    def spare_no_longer(self) -> None:
        """The engine has done something, or has had time enough to."""
        if self._is_sparing:
            self._is_sparing = self.is_calm = False
            self.gap_s = max(GAP_S, PER_START * (time.monotonic() - self._spared_from_s))

    def arm(self, owner: str, rooms: Sequence[str]) -> dict[str, str]:
        """The environment of a process that begins: at most one point of each room, each for one strike.

        `owner` is the kind of the process where all points are its own, "" where its children reach them too.
        """
        chosen = [self._drawn(room) for room in rooms if self.dice.random() < AT_POINT[room]]
        if not chosen:
            return {}
        folder = self.root / "failpoints" / str(len(self._folders))
        folder.mkdir(parents=True)
        self._folders[folder] = owner
        return {ARMED: ",".join(chosen), FOLDER: str(folder)}

    def _drawn(self, room: str) -> str:
        deck = self._decks.setdefault(room, [])
        if not deck:
            deck.extend(name for name in POINTS if _room(name) == room)
            self.dice.shuffle(deck)
        name = deck.pop()
        action = "stop" if self.dice.random() < STOPS else "kill"
        n = 1 if name == "engine.log_taken" else self.dice.randint(*REACHES[name.partition(".")[0]])
        return f"{name}={action}@{n}"

    def _look(self) -> None:
        """Who has struck itself since the last look."""
        for folder, owner in self._folders.items():
            for file in folder.iterdir():
                words = file.read_text().split()
                if file not in self._seen and len(words) == 2:
                    self._seen.add(file)
                    pid, action, point = int(words[0]), words[1], file.name
                    at_us = file.stat().st_mtime_ns // 1000
                    self._note(Struck(owner or _kind(point), pid, action, point, at_us))

    # -- random moments ------------------------------------------------------------------------------------------------

    def tend(self, engine: int | None, clients: Sequence[int]) -> None:
        """Strike where it is time, and let paused processes go on."""
        now_s = time.monotonic()
        self._let_go(now_s)
        if now_s >= self._look_s:
            self._look_s = now_s + LOOK_S
            self._look()
        if self._is_sparing and now_s > self._spared_from_s + SPARED_S:
            self.spare_no_longer()
        if self._is_sparing or now_s < self._due_s:
            return
        # A kind is drawn before it is known who lives: else the engine, while it is alone, would be struck at once.
        kind = self._next or self.dice.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        victims = self._living(kind, engine, clients)
        if not victims and now_s < self._due_s + PATIENCE_S:
            self._next = kind
            return
        self._next = ""
        is_double = self.dice.random() < DOUBLES
        self._due_s = now_s + (0 if is_double else min(self.dice.expovariate(1 / self.gap_s), 5 * self.gap_s))
        if victims:
            self._strike(kind, self.dice.choice(victims))

    def rest(self) -> None:
        """The faults are over: no point strikes any more, and everybody goes on."""
        self._look()
        for folder in tuple(self._folders):
            owner = self._folders.pop(folder)
            self._folders[folder.rename(folder.with_name(f"{folder.name}-over"))] = owner
        self._seen = {file.parent.with_name(f"{file.parent.name}-over") / file.name for file in self._seen}
        self._look()
        for folder in self._folders:
            shutil.rmtree(folder)
        self._folders.clear()
        self._let_go(float("inf"))

    def _living(self, kind: str, engine: int | None, clients: Sequence[int]) -> list[int]:
        if engine is None or kind in ("client", "engine"):
            return list(clients) if kind == "client" else [] if engine is None else [engine]
        return [pid for found, pid in family(engine) if found == kind]

    def _strike(self, kind: str, pid: int) -> None:
        is_pause = self.dice.random() < STOPS and pid not in self._paused and len(self._paused) < PAUSED_AT_ONCE
        if send(pid, signal.SIGSTOP if is_pause else signal.SIGKILL):
            self._note(Struck(kind, pid, "stop" if is_pause else "kill", "", now_us()))

    def _note(self, strike: Struck) -> None:
        record(self.witness, STRIKES, strike)
        if strike.what == "stop":
            self.pauses[strike.kind] += 1
            self._paused[strike.pid] = (strike.kind, time.monotonic() + self.dice.uniform(*PAUSE_S))
        else:
            self.kills[strike.kind] += 1
        if strike.point:
            self.points[strike.point] += 1

    def _let_go(self, now_s: float) -> None:
        for pid, (kind, until_s) in tuple(self._paused.items()):
            if now_s >= until_s:
                del self._paused[pid]
                send(pid, signal.SIGCONT)
                record(self.witness, STRIKES, Struck(kind, pid, "continue", "", now_us()))


def _room(point: str) -> str:
    room = point.partition(".")[0]
    return "worker" if room == "table" else room


def _kind(point: str) -> str:
    room = _room(point)
    return "stream" if room == "shard" else room


def counted(tally: Mapping[str, int]) -> dict[str, int]:
    """In the order of the names."""
    return dict(sorted(tally.items()))
