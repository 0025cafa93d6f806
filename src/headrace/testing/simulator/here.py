"""Runs in processes of their own beside the engine: the real engine on a log of its own, that dies as every process does.

Where such a process has died, the serving engine takes its log and closes the run: with the service's own code.
"""

from __future__ import annotations

from typing import Any, cast

from headrace.engine.loop import Engine
from headrace.engine.options import EngineOptions
from headrace.engine.service import close_dead
from headrace.errors import StoreError, SupersededError
from headrace.ports import EngineStore
from headrace.runs.events import RunAsked
from headrace.runs.rows import RUN_LOGS
from headrace.testing.auditor.witness import Witness
from headrace.testing.simulator.cluster import Cluster
from headrace.testing.simulator.crew import SimCrew
from headrace.testing.simulator.engines import MAX_LOST, DiedByItselfError
from headrace.testing.simulator.people import People
from headrace.testing.simulator.store import FaultyStore
from headrace.testing.simulator.world import SECOND, Crash, World

CODE = "here"
LOOK_US = 2 * SECOND


class RunsElsewhere:
    """All such processes; those that are up hold the right to their log."""

    def __init__(self, world: World, cluster: Cluster, witness: Witness) -> None:
        self.world, self.cluster, self.witness = world, cluster, witness
        self.processes: list[HereProcess] = []

    def plan(self, people: People) -> None:
        if people.drawn.has("in process"):
            for _ in range(people.rng.randint(1, 3)):
                people.plan_one(self._begin)
            self.world.after(LOOK_US, self._look)

    def _begin(self) -> None:
        process = HereProcess(self, f"{RUN_LOGS}{len(self.processes) + 1}")
        self.processes.append(process)
        process.begin()

    def _look(self) -> None:
        """The service of the acting engine looks every two seconds for runs whose process has died."""
        acting = self.cluster.acting
        if acting is not None and acting.is_up and not acting.is_paused:
            living = {process.log for process in self.processes if process.is_up}
            for run in self.cluster.store.open_runs(RUN_LOGS):
                if run.log not in living:
                    self.world.saw["a run elsewhere was closed for its dead process"] += 1
                    acting.store.is_closing = True
                    try:
                        close_dead(acting.engine, run)
                    except StoreError:  # it is still there at the next look
                        self.world.saw["a dead run could not be closed at once"] += 1
                    except Crash:
                        acting.die("killed")
                        break
                    finally:
                        acting.store.is_closing = False
        self.world.after(LOOK_US, self._look)


class HereProcess:
    """One run in a process of its own, to its end or its death."""

    def __init__(self, elsewhere: RunsElsewhere, log: str) -> None:
        cluster = elsewhere.cluster
        self.world, self.cluster, self.log = elsewhere.world, cluster, log
        self.is_up = True
        self._is_planned = False
        self.store = FaultyStore(cluster.store, self.world)
        self.crew = SimCrew(self.world, cluster.drawn, elsewhere.witness, log, self._wake, list)
        options = EngineOptions(
            log=log, name="here", pool_size=1, max_lost=MAX_LOST, serves=False, local=(CODE, cluster.projects[CODE])
        )
        self.engine = Engine(
            cast("EngineStore", self.store),
            self.crew,
            self.world,
            options=options,
            read_file=lambda path: path.encode(),
            entropy=lambda: self.world.rng.getrandbits(25),
        )

    def begin(self) -> None:
        self.world.say(f"{self.log} starts in a process of its own")
        self._guarded(self._begin)

    def _begin(self) -> None:
        self.engine.start()
        self.engine.give([RunAsked("plain", f"here:{self.log}", "here", {}, None, (), why="run in process")])
        self._turns()

    def _wake(self) -> None:
        if self.is_up and not self._is_planned:
            self._is_planned = True
            self.world.after(self.world.within(0, 2_000), self._woken)

    def _woken(self) -> None:
        self._is_planned = False
        if self.is_up:
            self._guarded(self._turns)

    def _turns(self) -> None:
        if self.world.strikes("run elsewhere dies"):
            raise Crash
        while self.engine.machine.state.runs and self.engine.turn(wait=False):
            pass
        if not self.engine.machine.state.runs:
            self.world.saw["a run elsewhere came to its end"] += 1
            self._end("its run has ended")
        elif (due := self.engine.machine.next_due_us()) is not None:
            self.world.after(due - self.world.mono_us, self._woken)

    def _guarded(self, work: Any) -> None:
        self.store.is_hurt = self.crew.is_hurt = False
        try:
            work()
        except Crash:
            self._end("killed")
        except (SupersededError, StoreError) as error:
            self._end(f"{type(error).__name__}: {error.message}")
            if not self.store.is_hurt:
                raise DiedByItselfError(f"{self.log}: {error}") from error
        except Exception as error:
            self._end(repr(error))
            raise DiedByItselfError(f"{self.log}: {error!r}") from error

    def _end(self, why: str) -> None:
        self.world.say(f"{self.log} ends: {why}")
        self.is_up = False
        self.crew.perish()
