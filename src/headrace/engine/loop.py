"""The engine's loop, in one thread: gather what happened, decide on all of it, one commit, and only then send."""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from headrace.base.facts import Fact, Stored
from headrace.data.facts import TablePublished, TopicAppended
from headrace.definitions import project as definitions
from headrace.engine.recovery import closing_facts, fill_machine, restore_run
from headrace.errors import HeadraceError, NotFoundError, RefusedError, StoreError, SupersededError
from headrace.ports import Append, Clock, EngineStore, Request, Workers
from headrace.runs import facts as f
from headrace.runs.commands import (
    AnswerPin,
    CancelAttempt,
    Command,
    KillWorker,
    ReloadRun,
    SpawnWorker,
    StartAttempt,
    StopWorker,
)
from headrace.runs.desks import Desks
from headrace.runs.events import (
    AliasAsked,
    CancelAsked,
    Event,
    PauseAsked,
    RetryAsked,
    RunAsked,
    RunRestored,
    TriggerSeen,
    UpdateSeen,
    WatermarksRead,
    WorkerDied,
)
from headrace.runs.machine import Decision, Machine, TaintedStepError
from headrace.runs.rows import ActiveRun, Restored, RunRow
from headrace.streams.facts import TriggerFired

POLL_S = 1.0  # a lost ring costs this much, never an event
DISAGREEMENT = "HR4060"
UNUSABLE = (StoreError, TaintedStepError, LookupError)  # what restoring from rows that make no sense raises
FOLLOWED = ("TriggerFired", "TablePublished")


class Bell(Protocol):
    """The doorbell's listening end."""

    def fileno(self) -> int: ...
    def drain(self) -> None: ...


Listener = Callable[[Sequence[Fact]], None]


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """`follows`: prefixes of the logs whose news this engine acts on. `name` is who owns the log, for people."""

    log: str = "engine"
    name: str = "engine"
    pool_size: int = 2
    max_lost: int = 5
    fires_schedules: bool = True
    fires_triggers: bool = True
    follows: tuple[str, ...] = ("trigger:", "run:")


class Engine:
    """One engine on one log. `start` takes the log over, `turn` is one round.

    `read_file` gives the bytes of a file below the artifact root. `on_facts` hears every commit, for display.
    `handle`, if set, takes requests whose verb the machine does not know; `woken` hears that somebody has written.
    """

    def __init__(
        self,
        store: EngineStore,
        workers: Workers,
        clock: Clock,
        *,
        options: EngineOptions,
        read_file: Callable[[str], bytes],
        bell: Bell | None = None,
        on_facts: Listener | None = None,
        entropy: Callable[[], int] = lambda: secrets.randbits(25),
    ) -> None:
        self.store, self.workers, self.clock, self.options = store, workers, clock, options
        self.machine = Machine(pool_size=options.pool_size)
        self._read_file, self._bell = read_file, bell
        self._on_facts, self._entropy = on_facts, entropy
        self.handle: Callable[[Request], list[Event]] | None = None
        self.woken: Callable[[], None] | None = None
        self.on_trouble: Callable[[str], None] | None = None
        self._cursors: dict[str, int] = {}
        self._head = self._epoch = 0
        self._owner = f"{options.name} {entropy():x}"  # tells this engine from any other, also after an unknown outcome
        self._asked: set[int] = set()
        self._suspects: dict[int, str] = {}
        self._changes = -1
        self._is_tidy = False
        self._is_broken = False
        self._said = ""
        self._later: list[Event] = []

    # -- life ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Take the log: whoever wrote it before is fenced from here on. Then go on with what is unfinished."""
        begun = self.workers.end_strangers()
        self._start_from(self._take_log(), begun)

    def _start_from(self, restored: Restored, begun: Mapping[str, int]) -> None:
        """Go on from rows. A run that cannot be restored from its rows is ended, with the reason; the others go on."""
        try:
            orphans = self._new_machine(restored, begun, self.options.pool_size)
            self.act(orphans)
        except UNUSABLE as error:
            if isinstance(error, StoreError) and error.code != DISAGREEMENT:
                raise
            for rows in restored.runs:
                self._close_if_unusable(restored, rows, begun)
            self.act(self._new_machine(self._take_log(), begun, self.options.pool_size))

    def _close_if_unusable(self, restored: Restored, rows: ActiveRun, begun: Mapping[str, int]) -> None:
        try:
            # Without workers nothing is started: only what follows from the rows themselves is committed.
            orphans = self._new_machine(msgspec.structs.replace(restored, runs=(rows,)), begun, pool_size=0)
            self._commit(self._step(orphans))
        except UNUSABLE as error:
            if isinstance(error, StoreError) and error.code != DISAGREEMENT:
                raise
            why = f"it cannot go on from its rows: {type(error).__name__}: {error}"
            facts = closing_facts(rows, "failed", why, self.clock.now_us())
            self._head = self.store.commit([Append(self.options.log, self._head, facts)]).heads[self.options.log]

    def _take_log(self) -> Restored:
        restored = self.store.restore(self.options.log)
        epoch = restored.epoch + 1
        taken = f.LogTaken(epoch, self._owner, self.clock.now_us())
        self._head = self.store.commit([Append(self.options.log, restored.head, (taken,))]).heads[self.options.log]
        self._epoch = epoch
        return restored

    def _new_machine(self, restored: Restored, begun: Mapping[str, int], pool_size: int) -> list[Event]:
        """A new machine from rows. Returns the deaths of those who held its running attempts."""
        self.machine = Machine(
            pool_size=pool_size,
            max_lost=self.options.max_lost,
            worker_prefix=f"w{self._epoch}-",
            desks=Desks(fires_schedules=self.options.fires_schedules, fires_triggers=self.options.fires_triggers),
        )
        fill_machine(self.machine, restored)
        self._cursors = dict(restored.cursors)
        self._asked.clear()
        self._later.clear()
        self._changes = -1
        return [
            WorkerDied(name, begun.get(name, 1 << 62), "the engine that had started it died")
            for name in tuple(self.machine.pool.workers)
        ]

    def turn(self, *, wait: bool = True) -> bool:
        """One round. False where nothing happened. Raises SupersededError where another engine has taken over."""
        if self._is_broken:
            if wait:
                self.workers.wait(POLL_S)
            self._go_on()
            return True
        if wait and not self._later:
            self.workers.wait(self._patience_s(), *((self._bell.fileno(),) if self._bell else ()))
        later, self._later = self._later, []
        events = [*later, *self.workers.events(), *self._look()]
        due = self.machine.next_due_us()
        if not events and (due is None or due > self.clock.monotonic_us()):
            self._rest()
            return False
        self.give(events)
        return True

    def give(self, events: Sequence[Event]) -> None:
        """Act on the events; where the commit fails, go on from the rows. Raises SupersededError."""
        try:
            self.act(events)
        except (StoreError, TaintedStepError) as error:
            if self.on_trouble is None:
                raise
            for event in events:
                request = getattr(event, "request", None)
                if request is not None:  # one that does this twice is refused
                    self._suspects[request] = f"{type(error).__name__}: {error}"
            self.on_trouble(f"{error}\nthe engine goes on from what is committed")
            self._go_on()

    def _go_on(self) -> None:
        """Drop the memory and begin from the rows; what the workers had in hand is lost. Tried until the store allows."""
        self._is_broken = True
        self.workers.abandon()
        begun = self.workers.end_strangers()
        try:
            if self.store.owner(self.options.log) != self._owner:
                raise SupersededError(
                    "another engine has taken this log", where=self.options.log, cure="this engine stops"
                )
            self._start_from(self._take_log(), begun)
            self._is_broken = False
        except StoreError as error:
            if self.on_trouble is not None and str(error) != self._said:
                self._said = str(error)
                self.on_trouble(f"{error}\nthe engine tries again every {POLL_S:g} s")

    def act(self, events: Sequence[Event]) -> Decision:
        """Decide on the events, commit, and carry out what was decided. Raises SupersededError, StoreError."""
        decision = self._step(events)
        self._commit(decision)
        self._carry_out(decision.commands)
        return decision

    def _step(self, events: Sequence[Event]) -> Decision:
        return self.machine.step(
            events,
            now_us=self.clock.now_us(),
            mono_us=self.clock.monotonic_us(),
            entropy=self._entropy(),
            begun=self.workers.begun(self.machine.workers_with_timeouts()),
        )

    # -- committing ----------------------------------------------------------------------------------------------

    def _commit(self, decision: Decision) -> None:
        if not decision.facts:
            return
        self._is_tidy = False
        bodies = {i: self._read_file(path) for i, path in decision.files.items()}
        facts = tuple(
            _sized(fact, len(bodies[i])) if i in bodies and isinstance(fact, TopicAppended) else fact
            for i, fact in enumerate(decision.facts)
        )
        append = Append(self.options.log, self._head, facts, bodies)
        try:
            self._head = self.store.commit([append]).heads[self.options.log]
        except StoreError as error:
            # The outcome is unknown until the head was read: as expected → not committed; ours → committed; another's
            # → this engine must stop.
            head = self.store.head(self.options.log)
            if head == self._head:
                raise
            if head != self._head + len(facts) or not self._is_mine(facts):
                raise SupersededError(
                    "another engine has taken this log", where=self.options.log, cure="this engine stops"
                ) from error
            self._head = head
        if self._on_facts is not None:
            self._on_facts(facts)

    def _is_mine(self, facts: Sequence[Fact]) -> bool:
        stored = self.store.facts(self.options.log, after=self._head, limit=1)
        return bool(stored) and type(stored[0].fact) is type(facts[0])

    # -- looking -------------------------------------------------------------------------------------------------

    def _look(self) -> list[Event]:
        """What others have written: requests, news of followed logs, watermarks. Read only when somebody wrote."""
        if self._bell is not None:
            self._bell.drain()
        changes = self.store.change_count()
        if changes == self._changes:
            return []
        self._changes = changes
        if self.woken is not None:
            self.woken()
        events: list[Event] = []
        for request in self.store.requests():
            if request.id not in self._asked:
                self._asked.add(request.id)
                events += self._request(request)
                if request.id in self._suspects:
                    break  # alone, so that only its own decision fails if it fails again
        for prefix in self.options.follows:
            events += self._follow(prefix)
        marks = self.store.watermarks(self.machine.project)
        if marks != self.machine.desks.watermarks:
            events.append(WatermarksRead(marks))
        return events

    def _follow(self, prefix: str) -> list[Event]:
        events: list[Event] = []
        for log, head in self.store.heads(prefix).items():
            seq = self._cursors.get(log, 0)
            while seq < head:
                page = self.store.facts(log, after=seq, limit=1000, kinds=FOLLOWED)
                events += [event for stored in page if (event := _seen(stored)) is not None]
                seq = page[-1].seq if len(page) == 1000 else head
            self._cursors[log] = seq
        return events

    def _request(self, request: Request) -> list[Event]:
        if self._suspects.get(request.id, "").startswith("again"):
            answer = {"code": "HR0001", "message": self._suspects.pop(request.id), "cure": None}
            self.machine.answer_later(request.id, "error", answer)
            return []
        if request.id in self._suspects:
            self._suspects[request.id] = f"again: {self._suspects[request.id]}"
        try:
            if request.verb == "trigger" and (run := self.store.run_of_key(run_key(request))) is not None:
                self.machine.answer_later(request.id, "done", {"run": run, "pipeline": request.body["pipeline"]})
                return []
            event = request_event(request, self.store, self.machine.code)
            if event is not None:
                return [event]
            if self.handle is not None:
                return self.handle(request)
            raise NotFoundError(f"this engine does not know the request {request.verb!r}")
        except HeadraceError as error:
            answer = {"code": error.code, "message": error.message, "cure": error.cure}
            self.machine.answer_later(request.id, "refused", answer)
        except (KeyError, TypeError, ValueError) as error:
            answer = {"code": "HR3001", "message": f"the request {request.verb!r} is malformed: {error!r}"}
            self.machine.answer_later(request.id, "refused", answer)
        return []

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
        for worker, group in starts.items():
            self.workers.start(worker, [(start, self.machine.runs[start.run]) for start in group])

    def _reload(self, run: str) -> None:
        rows = self.store.active_run(run)
        if rows is not None:
            code = rows.run.code
            if code not in self.machine.projects:
                self.machine.projects[code] = definitions.decode(self.store.project_of(code))
            self._later.append(RunRestored(restore_run(self.machine, rows)))

    def _rest(self) -> None:
        if not self._is_tidy:
            self._is_tidy = True
            self.store.tidy()

    def _patience_s(self) -> float:
        due = self.machine.next_due_us()
        if self._changes < 0:
            return 0.0  # nobody has looked yet
        if due is None:
            return POLL_S
        return min(POLL_S, max(0.0, (due - self.clock.monotonic_us()) / 1e6))


def request_event(request: Request, store: EngineStore, current: str = "") -> Event | None:
    """A row of the inbox as an event; None for a verb that is not the machine's. `current` is the deployed code.

    Raises HeadraceError, KeyError.
    """
    body: dict[str, Any] = request.body
    match request.verb:
        case "trigger":
            window = body.get("window")
            return RunAsked(
                body["pipeline"],
                run_key(request),
                body.get("cause") or "person",
                body.get("params") or {},
                None if window is None else (window[0], window[1]),
                why=body.get("why") or f"asked by {body.get('by', 'somebody')}",
                request=request.id,
                at_us=body.get("at_us"),
            )
        case "cancel":
            return CancelAsked(body["run"], body.get("by", "somebody"), request.id)
        case "retry":
            return _retry(request, store, current)
        case "pause":
            return PauseAsked(body["pipeline"], body["paused"], body.get("by", "somebody"), request.id)
        case "alias":
            return AliasAsked(body["model"], body["alias"], body.get("version"), body.get("by", "somebody"), request.id)
        case _:
            return None


def run_key(request: Request) -> str:
    """The key of the run that a `trigger` asks for: the same request, or the same key given, is the same run."""
    return str(request.body.get("key") or f"person:{request.key}")


def _retry(request: Request, store: EngineStore, current: str) -> RetryAsked:
    name, by = request.body["run"], request.body.get("by", "somebody")
    row = store.run_row(name)
    if row is None:
        raise NotFoundError(f"there is no run {name!r}", cure="headrace runs ls", code="HR2020")
    if row.ended_us is None:
        raise RefusedError(f"run {name} has not ended", cure="wait for it, or cancel it first", code="HR3011")
    if row.state == "succeeded":
        raise RefusedError(f"run {name} succeeded: there is nothing to retry", code="HR3012")
    if row.log.startswith("run:"):
        cure = f"start it in the engine:  headrace trigger {row.pipeline}"
        raise RefusedError(f"run {name} ran in a process of its own", cure=cure, code="HR3013")
    code = request.body.get("code")
    if code is not None:
        code = current if code == "current" else code
        _check_same_graph(row, code, store)
    return RetryAsked(name, by, row.generation + 1, code, request.id)


def _check_same_graph(row: RunRow, code: str, store: EngineStore) -> None:
    """Results are carried over by the names and maps of the graph, so another graph needs a new run."""
    then = definitions.decode(store.project_of(row.code)).pipelines.get(row.pipeline)
    now = definitions.decode(store.project_of(code)).pipelines.get(row.pipeline)
    if now is None or then is None or then.graph != now.graph:
        raise RefusedError(
            f"the graph of {row.pipeline} is another in code version {code}: results cannot be carried over",
            cure=f"start a new run:  headrace trigger {row.pipeline}",
            code="HR3014",
        )


def _seen(stored: Stored) -> Event | None:
    match stored.fact:
        case TriggerFired() as fired:
            return TriggerSeen(
                stored.log, stored.seq, fired.pipeline, f"event:{fired.pipeline}:{fired.slug}:{fired.key}",
                fired.ranges, fired.event_time_us,
            )  # fmt: skip
        case TablePublished() as published:
            return UpdateSeen(stored.log, stored.seq, published)
        case _:
            return None


def _sized(fact: TopicAppended, size_bytes: int) -> TopicAppended:
    return msgspec.structs.replace(fact, size_bytes=size_bytes)
