"""Engine processes: one acts, one stands by. They die, are cut off and come back; the log must refuse the old one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from headrace.definitions import project as definitions
from headrace.definitions.project import Project
from headrace.engine.loop import Engine, EngineOptions
from headrace.errors import StoreError, SupersededError
from headrace.ports import EngineStore, Request
from headrace.runs.events import Deployed, Event
from headrace.store.sql.engine_store import EngineSqlStore
from headrace.testing.auditor.witness import Witness
from headrace.testing.simulator.crew import SimCrew
from headrace.testing.simulator.draw import Draw
from headrace.testing.simulator.faults import FaultyStore
from headrace.testing.simulator.world import SECOND, Crash, World

TURNS_AT_ONCE = 1_000


class DiedByItselfError(Exception):
    """An engine ended with an error that no fault explains."""


@dataclass
class Cluster:
    """All engine processes there ever were, the code on disk, and who acts now."""

    world: World
    drawn: Draw
    store: EngineSqlStore
    witness: Witness
    projects: dict[str, Project]
    code: str = "c1"
    acting: EngineProcess | None = None
    processes: list[EngineProcess] = field(default_factory=list["EngineProcess"])
    timers_most: int = 0

    def begin(self) -> None:
        """The stand-by, or a restarted engine, takes over."""
        if self.acting is not None and self.acting.is_up:
            return
        process = EngineProcess(self, f"engine-{len(self.processes) + 1}")
        self.processes.append(process)
        self.acting = process
        process.begin()

    def begin_soon(self) -> None:
        self.acting = None
        self.world.after(self.world.within(10_000, 2 * SECOND), self.begin)

    def wake(self) -> None:
        """Somebody has written: the bell rings, or is lost and costs a slow poll."""
        for process in self.processes[-3:]:
            if process.is_up:
                lost = self.world.strikes("ring is lost", self.drawn.rate("ring is lost"))
                process.wake(SECOND if lost else self.world.within(0, 5_000))

    def cut_off(self, *, is_silent: bool = False) -> None:
        """The acting engine freezes, or its host is cut off; another takes over, and the old one wakes up later."""
        old = self.acting
        if old is None or not old.is_up:
            return
        self.world.say(f"{old.name} is cut off")
        old.is_paused = True
        self.world.after(self.world.within(2 * SECOND, 30 * SECOND), old.come_back)
        self.acting = None
        if is_silent:
            self.begin()
        else:
            self.begin_soon()

    def end_zombies(self) -> None:
        for process in self.processes:
            if process is not self.acting:
                process.is_up = False

    def strangers(self, crew: SimCrew) -> list[SimCrew]:
        """Crews of engines that died on this host. One that is cut off is out of reach: its workers go on."""
        return [p.crew for p in self.processes if p.crew is not crew and not p.is_up]


class EngineProcess:
    """One process: a real engine on the shared store, with workers of its own."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster, self.name = cluster, name
        self.world, self.drawn = cluster.world, cluster.drawn
        self.is_up = True
        self.is_paused = False
        self._wake_us: int | None = None
        self.store = FaultyStore(
            cluster.store, self.world, self.drawn, supersede=lambda: cluster.cut_off(is_silent=True)
        )
        self.crew = SimCrew(
            self.world, self.drawn, cluster.witness, lambda: self.wake(self.world.within(0, 2_000)),
            lambda: cluster.strangers(self.crew),
        )  # fmt: skip
        options = EngineOptions(name=name, pool_size=self.drawn.workers, max_lost=3)
        self.engine = Engine(
            cast("EngineStore", self.store),  # the rest of the port is passed on as it is
            self.crew,
            self.world,
            options=options,
            read_file=lambda path: path.encode(),
            entropy=lambda: self.world.rng.getrandbits(25),
        )
        self.engine.handle = self._handle
        self.engine.on_trouble = self._in_trouble

    def begin(self) -> None:
        self.world.say(f"{self.name} starts")
        self._guarded(self._start)

    def wake(self, delay_us: int) -> None:
        """Take a turn in so many microseconds, or when one is planned before."""
        due = self.world.mono_us + delay_us
        if not self.is_up or self.is_paused or (self._wake_us is not None and self._wake_us <= due):
            return
        self._wake_us = due
        self.world.after(delay_us, self._woken, due)

    def come_back(self) -> None:
        self.is_paused = False
        if self.is_up:
            self.world.say(f"{self.name} comes back")
            self.world.saw["an engine came back"] += 1
            self.wake(0)

    # -- inside --------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self.engine.start()
        self._deploy()
        self._turn()

    def _deploy(self, request: int | None = None) -> None:
        code = self.cluster.code
        project = self.cluster.projects[code]
        self.engine.act([Deployed(code, project, definitions.encode(project), request)])

    def _handle(self, request: Request) -> list[Event]:
        code = request.body["code"]
        self.cluster.code = code
        project = self.cluster.projects[code]
        return [Deployed(code, project, definitions.encode(project), request.id)]

    def _in_trouble(self, text: str) -> None:
        """The engine goes on from its rows: after a fault of ours, or because of a fault of its own."""
        self.world.say(f"{self.name} in trouble: {text}")
        self.world.saw["an engine went on from its rows"] += 1
        if "is not the next of table" in text:
            self.world.saw["a race for a table's version was lost"] += 1  # to a run in another process
        elif not self.store.is_hurt and self.cluster.acting is self:
            raise DiedByItselfError(f"{self.name}: {text}")

    def _woken(self, due: int) -> None:
        if self._wake_us != due:
            return
        self._wake_us = None
        if self.is_up and not self.is_paused:
            self._guarded(self._turn)

    def _turn(self) -> None:
        for _ in range(TURNS_AT_ONCE):
            if not self.engine.turn(wait=False):
                break
            if self.is_paused:
                return
        else:
            raise DiedByItselfError(f"{self.name} turns without end")
        self.cluster.timers_most = max(self.cluster.timers_most, len(self.engine.machine.timers._heap))  # pyright: ignore[reportPrivateUsage]
        due = self.engine.machine.next_due_us()
        if due is not None:
            self.wake(due - self.world.mono_us)

    def _guarded(self, work: Callable[[], None]) -> None:
        """Run a piece of the process; whatever comes out of it ends the process, and must have had a cause."""
        self.store.is_hurt = self.crew.is_hurt = False
        try:
            work()
        except DiedByItselfError:
            raise
        except Crash:
            self._die("killed")
        except (SupersededError, StoreError) as error:
            # A fault explains it, or another engine owns the log by now.
            is_explained = self.store.is_hurt or self.cluster.acting is not self
            if not self.store.is_hurt or isinstance(error, SupersededError):
                self.world.saw["an old engine was refused"] += 1
            self._die(f"{type(error).__name__}: {error.message}")
            if not is_explained:
                raise DiedByItselfError(f"{self.name}: {error}") from error
        except Exception as error:
            is_acting = self.cluster.acting is self
            self._die(repr(error))
            if is_acting:
                raise DiedByItselfError(f"{self.name}: {error!r}") from error

    def _die(self, why: str) -> None:
        self.world.say(f"{self.name} ends: {why}")
        self.is_up = False
        if self.cluster.acting is self:
            self.cluster.begin_soon()
