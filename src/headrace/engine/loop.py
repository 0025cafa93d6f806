"""The engine's loop, in one thread: gather what happened, decide on all of it, one commit, and only then send."""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from headrace.base.facts import Fact
from headrace.data.facts import TopicAppended
from headrace.definitions import project as definitions
from headrace.definitions.project import Project
from headrace.engine.listener import Listener
from headrace.engine.lookout import Bell, Lookout
from headrace.engine.recovery import closing_facts, fill_state, keep_crew, restore_run
from headrace.errors import ConflictError, DisagreementError, StoreError
from headrace.host.failpoints import reach
from headrace.host.writer import Writer
from headrace.ports import Clock, EngineStore, Workers
from headrace.runs.commands import (
    AnswerPin,
    CancelAttempt,
    Command,
    KillWorker,
    ReadSlots,
    ReloadRun,
    SpawnWorker,
    StartAttempt,
    StopWorker,
)
from headrace.runs.desks import Desks
from headrace.runs.events import Event, RunRestored, SlotsRead, WorkerDied
from headrace.runs.machine import Machine, TaintedStepError
from headrace.runs.outcome import Decided
from headrace.runs.pool import WorkerState
from headrace.runs.rows import ActiveRun, Restored
from headrace.runs.state import State

POLL_S = 1.0  # a lost ring costs this much, never an event
RACES_MOST = 20  # so often in a row another writer may be faster; more than that is no race
UNUSABLE = (StoreError, TaintedStepError, LookupError)  # what restoring from rows that make no sense raises


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """`name` is who owns the log, for people. One that `serves` takes requests, fires triggers and follows other logs.

    `local` is the code of a run in process, which is never deployed: (version, project).
    """

    log: str = "engine"
    name: str = "engine"
    pool_size: int = 2
    max_lost: int = 5
    serves: bool = True
    fires_schedules: bool = True
    local: tuple[str, Project] | None = None


class Engine:
    """One engine on one log. `start` takes the log over, `turn` is one round.

    `read_file` gives the bytes of a file below the artifact root. `listener` hears of it all, and takes deploys.
    """

    def __init__(
        self,
        store: EngineStore,
        workers: Workers,
        clock: Clock,
        *,
        options: EngineOptions,
        read_file: Callable[[str], bytes],
        listener: Listener | None = None,
        bell: Bell | None = None,
        entropy: Callable[[], int] = lambda: secrets.randbits(25),
    ) -> None:
        self.store, self.workers, self.clock, self.options = store, workers, clock, options
        self.machine = Machine(State(pool_size=options.pool_size))
        self._listener = listener or Listener()
        self._lookout = Lookout(store, self._listener, bell, serves=options.serves)
        # The word tells this engine from any other, also after an unknown outcome.
        self._writer = Writer(store, options.log, f"{options.name} {entropy():x}")
        self._read_file, self._bell, self._entropy = read_file, bell, entropy
        self._later: list[Event] = []
        self._is_tidy = False
        self._is_broken = False
        self._said = ""

    @property
    def owner(self) -> str:
        """The word by which this engine owns logs; no other process ever uses it."""
        return self._writer.owner

    # -- life ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Take the log: whoever wrote it before is fenced from here on. Then go on with what is unfinished."""
        begun = self.workers.end_strangers()
        restored = self._take_log()
        try:
            self._act(self._new_machine(restored, begun, self.options.pool_size))
        except UNUSABLE as error:
            if _is_store_at_fault(error):
                raise
            for rows in restored.runs:
                self._close_if_unusable(restored, rows, begun)
            self._act(self._new_machine(self._take_log(), begun, self.options.pool_size))

    def turn(self, *, wait: bool = True) -> bool:
        """One round. False where nothing happened. Raises SupersededError where another engine has taken over."""
        if self._is_broken:
            if wait:
                self.workers.wait(POLL_S)
            self._go_on()
            return True
        if wait and not self._later:
            self.workers.wait(self._patience_s(), *((self._bell.fileno(),) if self._bell else ()))
        events = self.workers.events()
        seen = self._look()
        due = self.machine.next_due_us()
        if not events and not seen and (due is None or due > self.clock.monotonic_us()):
            self._rest()
            return False
        self.give(events, seen)
        return True

    def give(self, events: Sequence[Event], seen: Sequence[Event] = ()) -> None:
        """Act on the events; where the commit fails, go on from the rows. Raises SupersededError.

        `seen` are those that another look would give again.
        """
        try:
            self._act_until_first(events, seen)
        except (StoreError, TaintedStepError) as error:
            self._listener.troubled(error, "the engine goes on from what is committed")
            self._lookout.failed([*events, *seen], error)
            self._go_on()

    def _act_until_first(self, events: Sequence[Event], seen: Sequence[Event]) -> None:
        """Act on the events. Where another writer was faster with a number, decide again from the rows as they are."""
        for _ in range(RACES_MOST):
            crew = self.machine.state.pool.crew()
            try:
                return self._act([*events, *seen])
            except ConflictError:
                self._read_again(crew)
                seen = self._look()
        return self._act([*events, *seen])

    def _read_again(self, crew: Sequence[WorkerState]) -> None:
        """A new machine from the rows, before the same events are decided on again. The workers go on undisturbed."""
        pool = self.machine.state.pool
        try:
            self._fill_machine(self.store.restore(self.options.log), self.options.pool_size)
            keep_crew(self.machine.state, crew, self.clock.monotonic_us())
        except LookupError as error:
            raise TaintedStepError(f"the rows make no sense: {error!r}") from error
        self.machine.state.pool.follow(pool)

    def _go_on(self) -> None:
        """Drop the memory and begin from the rows; what the workers had in hand is lost. Tried until the store allows."""
        self._is_broken = True
        self.workers.abandon()
        try:
            self.start()
            self._is_broken = False
        except StoreError as error:
            if str(error) != self._said:
                self._said = str(error)
                self._listener.troubled(error, f"the engine tries again every {POLL_S:g} s")

    # -- from rows -----------------------------------------------------------------------------------------------

    def _take_log(self) -> Restored:
        self._writer.look()
        self._writer.take(self.clock.now_us())
        reach("engine.log_taken")
        return self.store.restore(self.options.log)

    def _new_machine(self, restored: Restored, begun: Mapping[str, int], pool_size: int) -> list[Event]:
        """A new machine from rows. Returns the deaths of those who held its running attempts."""
        self._fill_machine(restored, pool_size)
        return [
            WorkerDied(name, begun.get(name, 1 << 62), "the engine that had started it died")
            for name in tuple(self.machine.state.pool.workers)
        ]

    def _fill_machine(self, restored: Restored, pool_size: int) -> None:
        options = self.options
        state = State(
            pool_size=pool_size,
            max_lost=options.max_lost,
            worker_prefix=f"w{self._writer.state.epoch}-",
            desks=Desks(fires_schedules=options.serves and options.fires_schedules, fires_triggers=options.serves),
            now_us=self.clock.now_us(),
            mono_us=self.clock.monotonic_us(),
        )
        if options.local is not None:
            restored = msgspec.structs.replace(restored, code=options.local[0])
            state.projects = dict([options.local])
        fill_state(state, restored)
        self.machine = Machine(state)
        self._later.clear()
        self._lookout.forget()

    def _close_if_unusable(self, restored: Restored, rows: ActiveRun, begun: Mapping[str, int]) -> None:
        """End a run that cannot be restored from its rows, with the reason; the others go on."""
        try:
            # Without workers nothing is started: only what follows from the rows themselves is committed.
            orphans = self._new_machine(msgspec.structs.replace(restored, runs=(rows,)), begun, pool_size=0)
            self._commit(self._step(orphans))
        except UNUSABLE as error:
            if _is_store_at_fault(error):
                raise
            why = f"it cannot go on from its rows: {type(error).__name__}: {error}"
            self._writer.append(closing_facts(rows, "failed", why, self.clock.now_us()))

    # -- deciding and committing ---------------------------------------------------------------------------------

    def _act(self, events: Sequence[Event]) -> None:
        """Decide on the events, commit, and carry out what was decided. Raises SupersededError, StoreError."""
        decision = self._step(events)
        self._commit(decision)
        reach("engine.before_carrying_out")
        self._carry_out(decision.commands)
        reach("engine.after_sending")

    def _step(self, events: Sequence[Event]) -> Decided:
        return self.machine.step(
            events,
            now_us=self.clock.now_us(),
            mono_us=self.clock.monotonic_us(),
            entropy=self._entropy(),
            begun=self.workers.begun(self.machine.workers_with_timeouts()),
        )

    def _commit(self, decision: Decided) -> None:
        if not decision.facts:
            return
        self._is_tidy = False
        bodies = {i: self._read_file(path) for i, path in decision.files.items()}
        facts = [_sized(fact, bodies.get(i)) for i, fact in enumerate(decision.facts)]
        reach("engine.before_commit")
        self._writer.append(facts, bodies)
        reach("engine.after_commit")
        self._listener.heard(facts)

    # -- carrying out --------------------------------------------------------------------------------------------

    def _carry_out(self, commands: Sequence[Command]) -> None:
        starts: dict[str, list[StartAttempt]] = defaultdict(list)
        for command in commands:
            match command:
                case StartAttempt():
                    starts[command.worker].append(command)
                case SpawnWorker(worker=worker, code=code):
                    self.workers.spawn(worker, code)
                case StopWorker(worker=worker):
                    self.workers.stop(worker)
                case CancelAttempt(worker=worker, serial=serial):
                    self.workers.cancel(worker, serial)
                case KillWorker(worker=worker, why=why):
                    self.workers.kill(worker, why)
                case AnswerPin():
                    self.workers.answer_pin(command.worker, command.serial, command.dataset, command.pin)
                case ReloadRun(run=run):
                    self._reload(run)
                case ReadSlots(pipeline=pipeline, slug=slug, after_us=after_us):
                    ran = self.store.slots_run(pipeline, slug, after_us)
                    self._later.append(SlotsRead(pipeline, slug, after_us, ran))
        for worker, group in starts.items():
            self.workers.start(worker, [(start, self.machine.state.runs[start.run]) for start in group])

    def _reload(self, run: str) -> None:
        rows = self.store.active_run(run)
        if rows is not None:
            project = definitions.decode(self.store.project_of(rows.run.code))
            self._later.append(RunRestored(restore_run(self.machine.state, rows, project)))

    # -- looking and waiting -------------------------------------------------------------------------------------

    def _look(self) -> list[Event]:
        """What is in the rows and not yet in memory."""
        later, self._later = self._later, []
        return [*later, *self._lookout.look(self.machine.state)]

    def _rest(self) -> None:
        if not self._is_tidy:
            self._is_tidy = True
            self.store.tidy()

    def _patience_s(self) -> float:
        due = self.machine.next_due_us()
        if not self._lookout.has_looked:
            return 0.0
        if due is None:
            return POLL_S
        return min(POLL_S, max(0.0, (due - self.clock.monotonic_us()) / 1e6))


def _is_store_at_fault(error: Exception) -> bool:
    """Whether the store refused, rather than the rows making no sense."""
    return isinstance(error, StoreError) and not isinstance(error, DisagreementError)


def _sized(fact: Fact, body: bytes | None) -> Fact:
    if body is None or not isinstance(fact, TopicAppended):
        return fact
    return msgspec.structs.replace(fact, size_bytes=len(body))
