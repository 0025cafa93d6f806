"""The engine's loop, in one thread: gather what happened, decide on all of it, one commit, and only then send."""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Callable, Sequence

import msgspec

from headrace.base.facts import Fact
from headrace.data.facts import TopicAppended
from headrace.engine.listener import Listener
from headrace.engine.lookout import Bell, Lookout
from headrace.engine.options import EngineOptions
from headrace.engine.recovery import MISFITS, Recovery
from headrace.engine.retention import PAUSE_S, Retention
from headrace.errors import ConflictError, StoreError
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
from headrace.runs.events import Event, RunRestored, SlotsRead
from headrace.runs.machine import Machine, TaintedStepError
from headrace.runs.outcome import Decided
from headrace.runs.pool import WorkerState
from headrace.runs.restoring import keep_crew
from headrace.runs.state import State

POLL_S = 1.0  # a lost ring costs this much, never an event
RACES_MOST = 20  # so often in a row another writer may be faster; more than that is no race
TIDY_AGAIN_US = 60_000_000  # where the file could not be put in order


class Engine:
    """One engine on one log. `start` takes the log over, `turn` is one round.

    Its memory, the `machine`, is that of the last commit: a step takes it away and puts it back once what was decided is
    committed. While there is none the rows are read again, at each turn, until the store allows.

    `read_file` gives the bytes of a file below the artifact root. `listener` hears of it all, and takes deploys.
    Without `retention` nothing is forgotten.
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
        retention: Retention | None = None,
        entropy: Callable[[], int] = lambda: secrets.randbits(25),
    ) -> None:
        self.store, self.workers, self.clock, self.options = store, workers, clock, options
        self._machine: Machine | None = None
        self._listener = listener or Listener()
        self._lookout = Lookout(store, self._listener, bell, serves=options.serves)
        # The word tells this engine from any other, also after an unknown outcome.
        self._writer = Writer(store, options.log, f"{options.name} {entropy():x}")
        self._recovery = Recovery(store, self._writer, clock, options, decide=self._step, commit=self._commit)
        self._read_file, self._entropy = read_file, entropy
        self._retention = retention
        self._later: list[Event] = []
        self._tidy_due_us: int | None = 0  # monotonic; None where nothing was written since
        self._said = ""

    @property
    def owner(self) -> str:
        """The word by which this engine owns logs; no other process ever uses it."""
        return self._writer.owner

    @property
    def machine(self) -> Machine:
        """Its memory, as of the last commit. Raises StoreError while it is not working."""
        if self._machine is None:
            raise StoreError(
                "the engine has not read its rows", where=self.options.log, cure="it tries again by itself"
            )
        return self._machine

    @property
    def is_working(self) -> bool:
        """Whether it has in memory what the rows say; else the store refuses, and it tries again at each turn."""
        return self._machine is not None

    # -- life ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Take the log: whoever wrote it before is fenced from here on. Then go on with what is unfinished.

        Raises SupersededError, StoreError; TaintedStepError where nothing can be decided, whatever the runs are.
        """
        self._machine = None
        self._look_anew()
        self._recovery.deaths.strangers(self.workers.end_strangers())
        self._recovery.take_log()
        try:
            self._act(*self._recovery.begin())
        except MISFITS:
            self._recovery.end_misfits()
            self._act(*self._recovery.begin())
        self._recovery.deaths.forget()

    def turn(self, *, wait: bool = True, at_most_s: float = POLL_S) -> bool:
        """One round, which waits `at_most_s` for something to happen. False where nothing happened.

        Raises SupersededError where another engine has taken over.
        """
        machine = self._machine
        if machine is None:
            if wait:
                self.workers.wait(POLL_S)
            self._go_on()
            return True
        if wait and not self._later:
            self.workers.wait(min(at_most_s, self._patience_s(machine)), *self._lookout.bells)
        try:
            seen = self._look(machine)
        except StoreError as error:  # nothing was taken from anywhere, so nothing is lost
            self._say_once(error, f"the engine looks again every {POLL_S:g} s")
            if wait:
                self.workers.wait(POLL_S)
            return False
        self._said = ""
        events = self.workers.events()
        due = machine.next_due_us()
        if not events and not seen and (due is None or due > self.clock.monotonic_us()):
            return self._rest()
        self.give(events, seen)
        self._forget(is_idle=False)
        return True

    def give(self, events: Sequence[Event], seen: Sequence[Event] = ()) -> bool:
        """Act on the events; where the commit fails, go on from the rows. Whether a fact of it was committed.

        Raises SupersededError.

        `seen` are those that another look would give again. While it is not working, nothing is decided: what waits
        in a row is given again, and whoever has an event from elsewhere looks at what came of it.
        """
        machine = self._machine
        if machine is None:
            self._lookout.dropped([*events, *seen])
            return False
        try:
            return self._act_despite_races(machine, events, seen)
        except (StoreError, TaintedStepError) as error:
            self._listener.troubled(error, "the engine goes on from what is committed")
            if isinstance(error, MISFITS):
                self._lookout.failed([*events, *seen], error)
            else:  # the store refused, and no event is to blame for it
                self._lookout.dropped([*events, *seen])
            self._recovery.deaths.heard(events)
            self._go_on()
            return False

    def _act_despite_races(self, machine: Machine, events: Sequence[Event], seen: Sequence[Event]) -> bool:
        """Act on the events. Where another writer was faster with a number, decide again from the rows as they are."""
        for _ in range(RACES_MOST):
            crew = machine.state.pool.crew()
            try:
                return self._act(machine, [*events, *seen])
            except ConflictError:
                machine = self._read_again(machine, crew)
                seen = self._look(machine)
        return self._act(machine, [*events, *seen])

    def _read_again(self, before: Machine, crew: Sequence[WorkerState]) -> Machine:
        """A machine from the rows, before the same events are decided on again. The workers go on undisturbed."""
        machine = self._recovery.machine()
        keep_crew(machine.state, before.state, crew)
        self._look_anew()
        return machine

    def _look_anew(self) -> None:
        """What was found and is not decided on is found again: by the next look, or in the rows of the runs."""
        self._later.clear()
        self._lookout.forget()

    def _go_on(self) -> None:
        """Drop the memory and begin from the rows; what the workers had in hand is lost. Tried until the store allows."""
        self._machine = None
        self._recovery.deaths.abandoned(self.workers.abandon())
        try:
            self.start()
        except StoreError as error:
            self._machine = None  # also where the commit stood, and what followed from it was not carried out
            self._say_once(error, f"the engine tries again every {POLL_S:g} s")

    def _say_once(self, error: StoreError, then: str) -> None:
        if str(error) != self._said:
            self._said = str(error)
            self._listener.troubled(error, then)

    # -- deciding and committing ---------------------------------------------------------------------------------

    def _act(self, machine: Machine, events: Sequence[Event]) -> bool:
        """Decide on the events, commit, and carry out what was decided. Whether there was anything to commit.

        Raises SupersededError, StoreError.

        Only a commit makes what the machine then holds the memory of this engine.
        """
        self._machine = None
        decision = self._step(machine, events)
        self._commit(decision)
        self._machine = machine
        for refusal in decision.refusals:
            self._listener.refused(refusal)
        reach("engine.before_carrying_out")
        self._carry_out(machine, decision.commands)
        reach("engine.after_sending")
        return bool(decision.facts)

    def _step(self, machine: Machine, events: Sequence[Event]) -> Decided:
        return machine.step(
            events,
            now_us=self.clock.now_us(),
            mono_us=self.clock.monotonic_us(),
            entropy=self._entropy(),
            begun=self.workers.begun(machine.workers_with_timeouts()),
        )

    def _commit(self, decision: Decided) -> None:
        if not decision.facts:
            return
        if self._tidy_due_us is None:
            self._tidy_due_us = 0
        bodies = {i: self._read_file(path) for i, path in decision.files.items()}
        facts = [_sized(fact, bodies.get(i)) for i, fact in enumerate(decision.facts)]
        reach("engine.before_commit")
        self._writer.append(facts, bodies)
        reach("engine.after_commit")
        self._listener.heard(facts)

    # -- carrying out --------------------------------------------------------------------------------------------

    def _carry_out(self, machine: Machine, commands: Sequence[Command]) -> None:
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
                    self._reload(machine.state, run)
                case ReadSlots(pipeline=pipeline, slug=slug, after_us=after_us):
                    ran = self.store.slots_run(pipeline, slug, after_us)
                    self._later.append(SlotsRead(pipeline, slug, after_us, ran))
        for worker, group in starts.items():
            self.workers.start(worker, [(start, machine.state.runs[start.run]) for start in group])

    def _reload(self, state: State, run: str) -> None:
        active = self._recovery.active(state, run)
        if active is not None:
            self._later.append(RunRestored(active))

    # -- looking and waiting -------------------------------------------------------------------------------------

    def _look(self, machine: Machine) -> list[Event]:
        """What is in the rows and not yet in memory. Raises StoreError, and then nothing counts as looked at."""
        found = self._lookout.look(machine.state)
        later, self._later = self._later, []
        return [*later, *found]

    def _rest(self) -> bool:
        """What is done while nothing else is to do. Whether there may be more of it."""
        now_us = self.clock.monotonic_us()
        if self._tidy_due_us is not None and self._tidy_due_us <= now_us:
            self._tidy_due_us = now_us + TIDY_AGAIN_US
            try:
                self.store.tidy()
                self._tidy_due_us = None
            except StoreError as error:  # a full disk, say: nothing is lost
                self._listener.troubled(error, f"the engine goes on, and tries it again in {TIDY_AGAIN_US // 10**6} s")
        return self._forget(is_idle=True)

    def _forget(self, *, is_idle: bool) -> bool:
        """A batch of what is old. Whether there may be more of it."""
        retention = self._retention
        if retention is None or self._machine is None:
            return False
        try:
            found = retention.look(is_idle=is_idle)
        except StoreError as error:
            self._listener.troubled(error, "the engine goes on, and forgets what is old later")
            return False
        if found is None or not self.give([found]):
            return False
        retention.committed()
        return True

    def _patience_s(self, machine: Machine) -> float:
        due = machine.next_due_us()
        if not self._lookout.has_looked:
            return 0.0
        longest_s = PAUSE_S if self._retention is not None and self._retention.has_more else POLL_S
        if due is None:
            return longest_s
        return min(longest_s, max(0.0, (due - self.clock.monotonic_us()) / 1e6))


def _sized(fact: Fact, body: bytes | None) -> Fact:
    if body is None or not isinstance(fact, TopicAppended):
        return fact
    return msgspec.structs.replace(fact, size_bytes=len(body))
