"""How an engine begins: it takes its log and reads what is unfinished; a run that cannot go on from its rows is ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from headrace.base.facts import Fact
from headrace.definitions.project import Project
from headrace.engine.deaths import Deaths
from headrace.engine.options import EngineOptions
from headrace.errors import DamagedError, DisagreementError, NotFoundError
from headrace.host.failpoints import reach
from headrace.host.writer import Writer
from headrace.ports import Clock, EngineStore
from headrace.runs.active import Active
from headrace.runs.applying import take_in
from headrace.runs.closing import closing_facts
from headrace.runs.desks import Desks
from headrace.runs.events import Event
from headrace.runs.machine import Machine, TaintedStepError
from headrace.runs.outcome import Decided
from headrace.runs.restoring import read_project, restore, restore_run
from headrace.runs.rows import Restored
from headrace.runs.state import State

MISFITS = (TaintedStepError, DisagreementError)
"""What deciding raises, or committing what was decided, where memory and rows do not fit: the store is not at fault."""


class Recovery:
    """From the rows of a log to a machine that goes on with them. `decide` and `commit` are those of its engine.

    `deaths` is what its engine knows of workers that have ended.
    """

    def __init__(
        self,
        store: EngineStore,
        writer: Writer,
        clock: Clock,
        options: EngineOptions,
        *,
        decide: Callable[[Machine, Sequence[Event]], Decided],
        commit: Callable[[Decided], None],
    ) -> None:
        self._store, self._writer, self._clock, self._options = store, writer, clock, options
        self._decide, self._commit = decide, commit
        self.deaths = Deaths()

    def take_log(self) -> None:
        """Whoever wrote it before is fenced from here on. Raises SupersededError, StoreError."""
        self._writer.look()
        self._writer.take(self._clock.now_us())
        reach("engine.log_taken")

    def begin(self) -> tuple[Machine, list[Event]]:
        """A machine of the rows, and the deaths of those who held its running attempts.

        Runs whose rows make no sense are ended. Raises StoreError.
        """
        machine, unusable = self._machine_of(self._store.restore(self._options.log))
        if unusable:
            for run, why in unusable.items():
                self._end(run, why)
            return self.begin()  # what waited for one of them has to know
        return machine, self._deaths(machine)

    def machine(self) -> Machine:
        """A machine of the rows as they are, in which what was running still is. Raises DamagedError, StoreError."""
        machine, unusable = self._machine_of(self._store.restore(self._options.log))
        for run, why in unusable.items():
            raise DamagedError(why, where=f"run {run}")
        return machine

    def active(self, state: State, run: str) -> Active | None:
        """A run that goes on in this state, as its rows say; None where it has ended. Raises DamagedError, StoreError."""
        rows = self._store.active_run(run)
        return None if rows is None else restore_run(state, rows, self._project(rows.run.code))

    def end_misfits(self) -> None:
        """Take in one run after the other, and end those on whose rows nothing can be decided or committed.

        Raises TaintedStepError where that is so without any of them: then none is to blame.
        """
        restored = self._store.restore(self._options.log)
        without_runs, _ = self._machine_of(msgspec.structs.replace(restored, runs=(), unreadable={}))
        self._decide(without_runs, ())
        machine: Machine | None = None
        for rows in restored.runs:
            machine = machine or self._silent_machine()
            try:
                self._take_in(machine, rows.run.run)
            except MISFITS as error:
                self._end(rows.run.run, f"{type(error).__name__}: {error}")
                machine = None

    # -- inside --------------------------------------------------------------------------------------------------

    def _take_in(self, machine: Machine, run: str) -> None:
        """What follows from the run's own rows is committed; nothing is started."""
        active = self.active(machine.state, run)
        if active is not None:
            take_in(machine.state, active)
            self._commit(self._decide(machine, self._deaths(machine)))

    def _deaths(self, machine: Machine) -> list[Event]:
        return self.deaths.of(tuple(machine.state.pool.workers))

    def _project(self, code: str) -> Project:
        local = self._options.local
        if local is not None and local[0] == code:
            return local[1]
        try:
            return read_project(code, self._store.project_of(code))
        except NotFoundError as error:
            raise DamagedError(error.message, where=error.where) from error

    def _silent_machine(self) -> Machine:
        """Without runs, workers and policies: it decides on what a run's own rows lead to, and on nothing beside it."""
        restored = msgspec.structs.replace(self._store.restore(self._options.log), runs=(), unreadable={})
        state = self._state(0, Desks(fires_schedules=False, fires_triggers=False))
        restore(state, restored)
        return Machine(state)

    def _machine_of(self, restored: Restored) -> tuple[Machine, dict[str, str]]:
        """The machine, and run → why of those that it knows nothing of: their rows make no sense."""
        options = self._options
        desks = Desks(fires_schedules=options.serves and options.fires_schedules, fires_triggers=options.serves)
        state = self._state(options.pool_size, desks)
        if options.local is not None:
            restored = msgspec.structs.replace(restored, code=options.local[0])
            state.projects = dict([options.local])
        unusable = restore(state, restored)
        return Machine(state), unusable

    def _state(self, pool_size: int, desks: Desks) -> State:
        return State(
            pool_size=pool_size,
            max_lost=self._options.max_lost,
            worker_prefix=f"w{self._writer.state.epoch}-",
            desks=desks,
            now_us=self._clock.now_us(),
            mono_us=self._clock.monotonic_us(),
        )

    def _end(self, run: str, why: str) -> None:
        left = self._store.open_run(run)
        if left is not None:
            said = f"it cannot go on from its rows: {why}"
            facts: list[Fact] = [*closing_facts(left, "failed", said, self._clock.now_us(), by="rows")]
            self._commit(Decided(facts))
