"""An engine process: the real engine on its way to the store, with workers of its own. It dies, freezes, comes back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from headrace.base.facts import Fact
from headrace.definitions import project as definitions
from headrace.engine.listener import Listener
from headrace.engine.loop import Engine
from headrace.engine.options import EngineOptions
from headrace.engine.retention import Retention
from headrace.errors import StoreError, SupersededError
from headrace.ports import EngineStore, Request
from headrace.runs.events import Deployed, Event
from headrace.runs.facts import AttemptLost, AttemptStarted
from headrace.runs.rows import LeftFiles
from headrace.testing.simulator.crew import SimCrew
from headrace.testing.simulator.store import FaultyStore
from headrace.testing.simulator.world import SECOND, Crash

if TYPE_CHECKING:
    from headrace.testing.simulator.cluster import Cluster

TURNS_AT_ONCE = 1_000
MAX_LOST = 3
LOOKS_FOR_OLD_US = 7 * SECOND


class DiedByItselfError(Exception):
    """A process ended with an error that no fault explains."""


class _Ears(Listener):
    """What the engine of a process tells."""

    def __init__(self, process: EngineProcess) -> None:
        self._process = process
        self._started: set[tuple[str, str, str, int, int, int]] = set()

    def heard(self, facts: Sequence[Fact]) -> None:
        """A process knows how far its own workers were, however often the store refuses it."""
        for fact in facts:
            match fact:
                case AttemptStarted():
                    self._started.add(_place(fact))
                case AttemptLost(with_run=False) if _place(fact) in self._started:
                    self._process.lost(_place(fact))
                case _:
                    pass

    def asked(self, request: Request) -> list[Event]:
        return self._process.deploy(request) if request.verb == "deploy" else super().asked(request)

    def troubled(self, error: Exception, then: str) -> None:
        self._process.troubled(f"{error}\n{then}")


class SimRunFiles:
    """Implements `ports.RunFiles`: remembers whose files went. Rows must have let go of them before."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def drop(self, runs: Sequence[LeftFiles]) -> bool:
        world, ask = self._cluster.world, self._cluster.store.database.read
        if world.strikes("a backup is being made"):
            return False
        for left in runs:
            if not ask("SELECT 1 FROM runs WHERE run = ? AND dropped_us IS NOT NULL", (left.run,)):
                world.breaks("D8", "files go after the rows that name them", left.run)
            if left.run in self._cluster.files_gone:
                world.saw["files were deleted again after a crash"] += 1
            self._cluster.files_gone.add(left.run)
            if world.strikes("process dies while files go"):
                raise Crash
        return True

    def drop_logs(self, before_us: int) -> None:
        return


class EngineProcess:
    """`has_begun`: it has, or had, the right to act; before it stands by."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster, self.name = cluster, name
        self.world, self.drawn = cluster.world, cluster.drawn
        self.is_up, self.is_paused, self.has_begun = True, False, False
        self.since_us = 0
        self._wake_us: int | None = None
        self._is_undeployed = False
        self.store = FaultyStore(
            cluster.store, self.world,
            supersede=lambda: cluster.cut_off(is_silent=True), dropping=lambda: cluster.before_drop(),
        )  # fmt: skip
        self.crew = SimCrew(
            self.world, self.drawn, cluster.witness, name,
            lambda: self.wake(self.world.within(0, 2_000)), lambda: cluster.strangers(self.crew),
        )  # fmt: skip
        options = EngineOptions(name=name, pool_size=self.drawn.workers, max_lost=MAX_LOST)
        self.engine = Engine(
            cast("EngineStore", self.store),  # the rest of the port is passed on as it is
            self.crew,
            self.world,
            options=options,
            read_file=lambda path: path.encode(),
            listener=_Ears(self),
            retention=self._retention(),
            entropy=lambda: self.world.rng.getrandbits(25),
        )

    def begin(self) -> None:
        self.world.say(f"{self.name} takes over")
        self.has_begun, self.since_us = True, self.world.mono_us
        self._guarded(self._start)

    def wake(self, delay_us: int) -> None:
        """Take a turn in so many microseconds, or when one is planned before."""
        due = self.world.mono_us + delay_us
        if not self.is_up or self.is_paused or (self._wake_us is not None and self._wake_us <= due):
            return
        self._wake_us = due
        self.world.after(delay_us, self._woken, due)

    def lost(self, place: tuple[str, str, str, int, int, int]) -> None:
        """An attempt that it had started itself counts as lost."""
        if all(begun.start != place for begun in self.cluster.witness.begun_log):
            self.world.breaks("E14", "what never began is not lost", str(place))

    def come_back(self) -> None:
        self.is_paused = False
        if self.is_up:
            self.world.say(f"{self.name} comes back")
            self.world.saw["an engine came back"] += 1
            self.wake(0)

    def die(self, why: str) -> None:
        self.world.say(f"{self.name} ends: {why}")
        self.is_up = False
        if self.cluster.acting is self:
            self.cluster.free()

    # -- inside --------------------------------------------------------------------------------------------------

    def _retention(self) -> Retention | None:
        if not self.drawn.retention_s:
            return None
        files = SimRunFiles(self.cluster)
        return Retention(cast("EngineStore", self.store), files, self.world, self.drawn.retention_s * SECOND)

    def _start(self) -> None:
        self.engine.start()
        self._deploy()
        self._turn()

    def _deploy(self) -> None:
        code = self.cluster.code
        project = self.cluster.projects[code]
        self.engine.give([Deployed(code, project, definitions.encode(project), None)])
        self._is_undeployed = not self.engine.is_working or self.engine.machine.state.code != code

    def deploy(self, request: Request) -> list[Event]:
        code = request.body["code"]
        self.cluster.code = code
        project = self.cluster.projects[code]
        return [Deployed(code, project, definitions.encode(project), request.id)]

    def troubled(self, text: str) -> None:
        """The engine goes on from its rows: after a fault of ours, or because of a fault of its own."""
        self.world.say(f"{self.name} in trouble: {text}")
        self.world.saw["an engine went on from its rows"] += 1
        if not self.store.is_hurt and self.cluster.acting is self:
            raise DiedByItselfError(f"{self.name}: {text}")

    def _woken(self, due: int) -> None:
        if self._wake_us != due:
            return
        self._wake_us = None
        if self.is_up and not self.is_paused:
            self._guarded(self._turn)

    def _turn(self) -> None:
        for _ in range(TURNS_AT_ONCE):
            if self._is_undeployed and self.engine.is_working:  # as the service does: before anything is looked at
                self._deploy()
            if not self.engine.turn(wait=False):
                break
            if self.is_paused:
                return
        else:
            raise DiedByItselfError(f"{self.name} turns without end")
        timers = self.engine.machine.state.timers
        self.cluster.timers_most = max(self.cluster.timers_most, len(timers))
        due = self.engine.machine.next_due_us()
        if due is not None:
            self.wake(due - self.world.mono_us)
        if self.drawn.retention_s:  # as a real one, which wakes up each second
            self.wake(LOOKS_FOR_OLD_US)

    def _guarded(self, work: Callable[[], None]) -> None:
        """Run a piece of the process; whatever comes out of it ends the process, and must have had a cause."""
        self.store.is_hurt = self.crew.is_hurt = False
        try:
            work()
        except DiedByItselfError:
            raise
        except Crash:
            self.die("killed")
        except (SupersededError, StoreError) as error:
            # A fault explains it, or another engine owns the log by now.
            is_explained = self.store.is_hurt or self.cluster.acting is not self
            if not self.store.is_hurt or isinstance(error, SupersededError):
                self.world.saw["an old engine was refused"] += 1
            self.die(f"{type(error).__name__}: {error.message}")
            if not is_explained:
                raise DiedByItselfError(f"{self.name}: {error}") from error
        except Exception as error:
            is_acting = self.cluster.acting is self
            self.die(repr(error))
            if is_acting:
                raise DiedByItselfError(f"{self.name}: {error!r}") from error


def _place(fact: AttemptStarted | AttemptLost) -> tuple[str, str, str, int, int, int]:
    return (fact.run, fact.node, fact.path, fact.item, fact.attempt, fact.epoch)
