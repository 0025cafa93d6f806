"""The engine and its two stand-bys: who has the right to act, who waits for it, and who still believes to have it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from headrace.definitions.project import Project
from headrace.testing.auditor.witness import Witness
from headrace.testing.simulator.crew import SimCrew
from headrace.testing.simulator.draw import Draw
from headrace.testing.simulator.engines import EngineProcess
from headrace.testing.simulator.store import MemoryStore
from headrace.testing.simulator.world import SECOND, World

PROCESSES = 3  # one acts, two stand by


@dataclass
class Cluster:
    """All engine processes there ever were, the code on disk, and who has the right to act.

    A right is free when its holder dies. One whose holder is cut off is given to another all the same (a lease that
    ran out, a network file system): then only the log tells them apart.
    """

    world: World
    drawn: Draw
    store: MemoryStore
    witness: Witness
    projects: dict[str, Project]
    code: str = "c1"
    acting: EngineProcess | None = None
    processes: list[EngineProcess] = field(default_factory=list["EngineProcess"])
    standbys: list[EngineProcess] = field(default_factory=list["EngineProcess"])
    timers_most: int = 0
    before_drop: Callable[[], None] = lambda: None  # details are about to go: whoever wants to see them looks now
    files_gone: set[str] = field(default_factory=set[str])  # runs

    def begin(self) -> None:
        while len(self.standbys) < PROCESSES:
            self._stand_by()
        self.take_over()

    def take_over(self) -> None:
        """One of those who wait gets the right, where it is free; now and then two get it."""
        if self.acting is not None and self.acting.is_up:
            return
        if not self.standbys:
            self._stand_by()
        process = self.standbys.pop(self.world.within(0, len(self.standbys) - 1))
        self.acting = process
        process.begin()
        if self.standbys and self.world.strikes("lock is given twice"):
            self.world.saw["two engines were given the right"] += 1
            second = self.standbys.pop()
            self.acting = second
            second.begin()

    def free(self) -> None:
        """The right is free: a stand-by notices within two seconds, and the process that died is started again."""
        self.acting = None
        self.world.after(self.world.within(10_000, 2 * SECOND), self.take_over)
        self.world.after(self.world.within(SECOND, 20 * SECOND), self._stand_by)

    def wake(self) -> None:
        """Somebody has written: the bell rings, or is lost and costs a slow poll."""
        for process in self.processes:
            if process.has_begun and process.is_up and not process.is_paused:
                process.wake(SECOND if self.world.strikes("ring is lost") else self.world.within(0, 5_000))

    def cut_off(self, *, is_silent: bool = False) -> None:
        """The acting engine freezes, or its host is cut off; another takes over, and the old one wakes up later."""
        old = self.acting
        if old is None or not old.is_up:
            return
        self.world.say(f"{old.name} is cut off")
        old.is_paused = True
        self.world.after(self.world.within(2 * SECOND, 30 * SECOND), old.come_back)
        if is_silent:
            self.acting = None
            self.take_over()
        else:
            self.free()

    def host_dies(self) -> None:
        """The acting engine and its workers die in one moment, without a word."""
        old = self.acting
        if old is not None and old.is_up and old.has_begun:
            self.world.saw["a host died with its workers"] += 1
            old.crew.perish()
            old.die("its host died")

    def end_zombies(self) -> None:
        for process in self.processes:
            if process is not self.acting and process.has_begun:
                process.is_up = False

    def strangers(self, crew: SimCrew) -> list[SimCrew]:
        """Crews of engines that died on this host. One that is cut off is out of reach: its workers go on."""
        return [p.crew for p in self.processes if p.crew is not crew and not p.is_up]

    def _stand_by(self) -> None:
        if len(self.standbys) < PROCESSES:
            process = EngineProcess(self, f"engine-{len(self.processes) + 1}")
            self.processes.append(process)
            self.standbys.append(process)
