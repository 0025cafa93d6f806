"""The engine's step: events in, facts to commit and commands to carry out after the commit. No I/O, no clock.

Deciding on an event gives facts; a fact is applied at once to the state in memory, and what follows from it (an
expansion, a skip, the end of a run) is decided in the same step. Nothing is sent before the commit has succeeded; after
a commit that failed, the shell throws this object away and makes a new one from the rows.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from headrace.base.facts import Fact
from headrace.base.ids import make_id
from headrace.data.facts import TopicAppended
from headrace.errors import HeadraceError, NotFoundError, RefusedError
from headrace.graph.definitions import PipelineDef, Project
from headrace.runs import facts as f
from headrace.runs.commands import AnswerPin, Command, KillWorker, ReloadRun, SpawnWorker, StartAttempt, StopWorker
from headrace.runs.desks import Desks
from headrace.runs.events import (
    AliasAsked,
    AttemptDone,
    AttemptErrored,
    CancelAsked,
    Deployed,
    Event,
    PauseAsked,
    PinAsked,
    RetryAsked,
    RunAsked,
    TriggerSeen,
    UpdateSeen,
    WatermarksRead,
    WorkerDied,
    WorkerReady,
)
from headrace.runs.monitoring import PREFIX as MONITOR_PREFIX
from headrace.runs.monitoring import monitor_pipeline
from headrace.runs.plan import GraphPlan, make_plan
from headrace.runs.pool import Flight, Pool, WorkerState
from headrace.runs.progress import PENDING, End, Expand, Group, Path, Progress, Skip, path_of, path_text
from headrace.runs.retry import retry_delay_us

IDLE_WORKER_US = 60_000_000
UNREADY_LIMIT = 3


@dataclass(slots=True)
class Active:
    """A run that has not ended."""

    run: str
    pipeline: str
    code: str
    definition: PipelineDef
    progress: Progress
    cause: str
    params: dict[str, Any]
    window: tuple[int, int] | None
    events: tuple[tuple[str, int, int, int], ...]
    max_lost: int
    waits: tuple[str, ...] = ()
    pins: dict[str, Any] = field(default_factory=dict[str, Any])
    is_cancelled: bool = False
    cancelled_by: str = ""
    is_queued: bool = False
    generation: int = 1


@dataclass(slots=True)
class Decision:
    """What one step gives: facts for the engine's log, files whose bytes belong to facts, commands for afterwards."""

    facts: list[Fact] = field(default_factory=list[Fact])
    files: dict[int, str] = field(default_factory=dict[int, str])
    commands: list[Command] = field(default_factory=list[Command])


class Machine:
    """State and step of one engine, or of one in-process run."""

    def __init__(
        self, *, pool_size: int, max_lost: int = 5, worker_prefix: str = "w", desks: Desks | None = None
    ) -> None:
        self.pool = Pool(pool_size)
        self.desks = desks or Desks()
        self.max_lost = max_lost
        self.worker_prefix = worker_prefix
        self.code = ""
        self.projects: dict[str, Project] = {}
        self.runs: dict[str, Active] = {}
        self.ready: deque[str] = deque()
        self._plans: dict[tuple[str, str], GraphPlan] = {}
        self._timers: list[tuple[int, int, str, tuple[Any, ...]]] = []
        self._timer_count = 0
        self._unready: dict[str, int] = {}
        self._answers: list[f.RequestAnswered] = []
        self._resumed: list[tuple[int, tuple[Any, ...]]] = []
        self._touched: dict[str, None] = {}
        self._out = Decision()
        self._now_us = self._mono_us = self._entropy = self._ids = 0
        self._begun: Mapping[str, tuple[int, int]] = {}

    # -- the step ------------------------------------------------------------------------------------------------

    def step(
        self,
        events: Iterable[Event],
        *,
        now_us: int,
        mono_us: int,
        entropy: int,
        begun: Mapping[str, tuple[int, int]] | None = None,
    ) -> Decision:
        """Decide on all of it. `begun` maps a worker to (serial, monotonic microseconds) of what it last entered."""
        self._now_us, self._mono_us, self._entropy, self._ids = now_us, mono_us, entropy, 0
        self._begun = begun or {}
        self._out = Decision()
        for answer in self._answers:
            self.emit(msgspec.structs.replace(answer, at_us=now_us))
        self._answers.clear()
        for event in events:
            try:
                facts = self._decide(event)
            except HeadraceError as error:
                self._answer(event, "refused", {"code": error.code, "message": error.message, "cure": error.cure})
                continue
            except Exception as error:
                self.emit(f.EventRejected(repr(event)[:2000], f"{type(error).__name__}: {error}", now_us))
                self._answer(event, "error", {"code": "HR0001", "message": f"{type(error).__name__}: {error}"})
                continue
            for fact in facts:
                self.emit(fact)
            self._follow()
        self._fire_timers()
        for fact in self.desks.due(self, now_us):
            self.emit(fact)
        self._follow()
        self._dispatch()
        self._tend_workers()
        return self._out

    def next_due_us(self) -> int | None:
        """Monotonic time of the next timer, or None: how long the shell may wait."""
        if self._answers or self._resumed:
            return 0
        return self._timers[0][0] if self._timers else None

    def has_timeouts(self) -> list[str]:
        """Workers whose begun slot must be read before the next step."""
        return [w.name for w in self.pool.workers.values() if any(x.timeout_us for x in w.flights.values())]

    # -- facts ---------------------------------------------------------------------------------------------------

    def emit(self, fact: Fact) -> None:
        """Append a fact to this step and apply it to the state."""
        self._out.facts.append(fact)
        apply = _APPLY.get(type(fact))
        if apply is not None:
            apply(self, fact)
        self.desks.apply(fact)

    def new_id(self) -> str:
        self._ids += 1
        return make_id(self._now_us, self._entropy + self._ids)

    @property
    def now_us(self) -> int:
        return self._now_us

    # -- deciding ------------------------------------------------------------------------------------------------

    def _decide(self, event: Event) -> list[Fact]:
        match event:
            case AttemptDone():
                return self._on_done(event)
            case AttemptErrored():
                return self._on_errored(event)
            case WorkerReady(worker=name):
                if (worker := self.pool.workers.get(name)) is not None:
                    worker.is_ready, worker.idle_since_us = True, self._mono_us
                    self._unready.pop(worker.code, None)
                return []
            case WorkerDied():
                return self._on_died(event)
            case PinAsked():
                return self._on_pin(event)
            case RunAsked():
                return self._on_run_asked(event)
            case CancelAsked():
                return self._on_cancel(event)
            case RetryAsked():
                return self._on_retry(event)
            case PauseAsked():
                self.pipeline(event.pipeline)
                facts: list[Fact] = [f.PipelinePaused(event.pipeline, event.is_paused, event.by, self._now_us)]
                return facts + self._answered(event.request, {"pipeline": event.pipeline, "paused": event.is_paused})
            case Deployed():
                deployed: list[Fact] = []
                if event.code != self.code:
                    deployed.append(f.CodeDeployed(event.code, msgspec.Raw(event.body), self._now_us))
                self.projects[event.code] = event.project
                return deployed + self._answered(event.request, {"code": event.code})
            case TriggerSeen():
                return self._on_trigger(event)
            case UpdateSeen():
                return [
                    *self.desks.on_published(self, event.table, event.version_number),
                    f.CursorMoved(event.log, event.seq),
                ]
            case WatermarksRead(through_us=through_us):
                self.desks.watermarks.update(through_us)
                return self._on_watermarks()
            case AliasAsked():
                facts = self.desks.on_alias(self, event)
                return facts + self._answered(event.request, {"model": event.model, "alias": event.alias})

    def _on_done(self, event: AttemptDone) -> list[Fact]:
        found = self._flight(event.worker, event.serial)
        if found is None:
            return []
        active, flight = found
        self.pool.measured(active.pipeline, flight.node, event.took_us)
        facts: list[Fact] = [
            f.AttemptSucceeded(
                *_place(flight), self._now_us, event.took_us, event.result, log=event.log, reads=event.reads
            )
        ]
        for write in event.effects.topics:
            self._out.files[len(self._out.facts) + len(facts)] = write.path
            facts.append(
                TopicAppended(
                    write.topic,
                    write.partition,
                    write.rows,
                    self._now_us,
                    min_time_us=write.min_time_us,
                    max_time_us=write.max_time_us,
                    min_known_us=write.min_known_us,
                    max_known_us=write.max_known_us,
                )
            )
        return facts + self.desks.on_effects(self, active.run, active.definition, active.code, flight, event.effects)

    def _on_errored(self, event: AttemptErrored) -> list[Fact]:
        found = self._flight(event.worker, event.serial)
        if found is None:
            return []
        active, flight = found
        return [self._failure(active, flight, event.error, event.detail, event.log, retryable=event.retryable)]

    def _failure(
        self, active: Active, flight: Flight, error: str, detail: str, log: f.LogSpan | None, *, retryable: bool = True
    ) -> Fact:
        group = active.progress.groups[flight.node, flight.path]
        tries = group.tries.get(flight.item)
        failures = (tries.failed if tries else 0) + 1
        delay = None
        if retryable and not active.is_cancelled:
            key = f"{active.run}/{flight.node}/{path_text(flight.path)}/{flight.item}"
            delay = retry_delay_us(group.plan.node.options, failures, key)
        retry_at = None if delay is None else self._now_us + delay
        if delay is not None:
            self._timer(self._mono_us + delay, "retry", (active.run, flight.node, flight.path, flight.item))
        return f.AttemptFailed(*_place(flight), self._now_us, error, detail, retry_at, log)

    def _on_died(self, event: WorkerDied) -> list[Fact]:
        worker = self.pool.workers.pop(event.worker, None)
        if worker is None:
            return []
        facts: list[Fact] = []
        if not worker.is_ready and not worker.is_leaving:
            facts += self._on_unready(worker.code, event.why)
        for serial, flight in worker.flights.items():
            active = self.runs.get(flight.run)
            if active is None:
                continue
            if active.is_cancelled:
                facts.append(f.AttemptCancelled(*_place(flight), self._now_us))
            elif serial <= event.begun:
                facts.append(self._loss(active, flight, event.why))
            else:
                facts.append(f.AttemptReturned(*_place(flight)))
        worker.flights.clear()
        return facts

    def _on_unready(self, code: str, why: str) -> list[Fact]:
        """A worker went before it could take work. The third time in a row the code is to blame, and its runs end."""
        self._unready[code] = self._unready.get(code, 0) + 1
        if self._unready[code] < UNREADY_LIMIT:
            return []
        self._unready[code] = 0
        why = f"no worker can load code version {code}: {why}"
        return [
            f.RunEnded(active.run, "failed", self._now_us, why)
            for active in self.runs.values()
            if active.code == code and active.progress.running == 0
        ]

    def _loss(self, active: Active, flight: Flight, why: str) -> Fact:
        group = active.progress.groups[flight.node, flight.path]
        tries = group.tries.get(flight.item)
        lost = (tries.lost if tries else 0) + 1
        limit = group.plan.node.options.max_lost
        limit = active.max_lost if limit is None else limit
        return f.AttemptLost(*_place(flight), self._now_us, why, ends=lost > limit)

    def _on_pin(self, event: PinAsked) -> list[Fact]:
        worker = self.pool.workers.get(event.worker)
        flight = worker.flights.get(event.serial) if worker else None
        active = self.runs.get(flight.run) if flight else None
        if active is None:
            return []
        facts: list[Fact] = []
        if event.dataset not in active.pins:
            facts.append(f.InputPinned(active.run, event.dataset, event.pin))
        pin = active.pins.get(event.dataset, event.pin)
        self._out.commands.append(AnswerPin(event.worker, event.serial, event.dataset, pin))
        return facts

    def _on_run_asked(self, event: RunAsked) -> list[Fact]:
        definition = self.pipeline(event.pipeline)
        _check_params(definition, event.params)
        facts = self.desks.on_run_asked(self, definition, event)
        run = next((x.run for x in facts if isinstance(x, f.RunCreated)), None)
        return facts + self._answered(event.request, {"run": run, "pipeline": event.pipeline})

    def _on_cancel(self, event: CancelAsked) -> list[Fact]:
        active = self.runs.get(event.run)
        if active is None:
            raise RefusedError(f"run {event.run} is not running", cure=f"headrace runs show {event.run}", code="HR3010")
        facts: list[Fact] = []
        if not active.is_cancelled:
            facts.append(f.RunCancelled(event.run, self._now_us, event.by))
            for worker in self.pool.workers.values():
                if any(flight.run == event.run for flight in worker.flights.values()):
                    self._out.commands.append(KillWorker(worker.name, f"run {event.run} was cancelled"))
        return facts + self._answered(event.request, {"run": event.run})

    def _on_retry(self, event: RetryAsked) -> list[Fact]:
        if event.run in self.runs:
            raise RefusedError(f"run {event.run} has not ended", cure="wait for it or cancel it first", code="HR3011")
        # Whether the run exists and failed is the store's to say: the compare-and-set of RunRetried refuses.
        self._out.commands.append(ReloadRun(event.run))
        facts: list[Fact] = [f.RunRetried(event.run, event.generation, self._now_us, event.by, event.code or "")]
        return facts + self._answered(event.request, {"run": event.run})

    def _on_trigger(self, event: TriggerSeen) -> list[Fact]:
        facts = self.desks.on_trigger(self, event)
        return [*facts, f.CursorMoved(event.log, event.seq)]

    def _on_watermarks(self) -> list[Fact]:
        facts: list[Fact] = []
        for active in self.runs.values():
            if active.waits and active.window is not None:
                behind = [t for t in active.waits if self.desks.watermarks.get(t, 0) < active.window[1]]
                if not behind:
                    facts.append(f.RunReady(active.run, self._now_us))
        return facts

    # -- looking up ----------------------------------------------------------------------------------------------

    @property
    def project(self) -> Project:
        return self.projects.get(self.code) or Project("none")

    def pipeline(self, name: str) -> PipelineDef:
        definition = definition_of(self.project, name)
        if definition is None:
            known = ", ".join(sorted(self.project.pipelines)) or "none"
            raise NotFoundError(
                f"there is no pipeline {name!r}; known: {known}",
                cure="headrace check lists what was found",
                code="HR2010",
            )
        return definition

    def plan(self, code: str, pipeline: PipelineDef) -> GraphPlan:
        plan = self._plans.get((code, pipeline.name))
        if plan is None:
            plan = self._plans[code, pipeline.name] = make_plan(pipeline.graph)
        return plan

    def _flight(self, worker_name: str, serial: int) -> tuple[Active, Flight] | None:
        worker = self.pool.workers.get(worker_name)
        flight = worker.take(serial, self._mono_us) if worker else None
        if flight is None:
            return None  # nobody waits for it: the attempt was closed before
        active = self.runs.get(flight.run)
        return None if active is None else (active, flight)

    # -- answers -------------------------------------------------------------------------------------------------

    def _answered(self, request: int | None, answer: dict[str, Any]) -> list[Fact]:
        return [] if request is None else [f.RequestAnswered(request, "done", answer, self._now_us)]

    def answer_later(self, request: int, status: str, answer: dict[str, Any]) -> None:
        """Answer a request that never became an event, in the next step."""
        self._answers.append(f.RequestAnswered(request, status, answer, 0))

    def _answer(self, event: Event, status: str, answer: dict[str, Any]) -> None:
        request = getattr(event, "request", None)
        if request is not None:
            self.emit(f.RequestAnswered(request, status, answer, self._now_us))

    # -- what follows --------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        """Decide on what earlier facts left to do, until nothing is left."""
        while self._touched:
            name = next(iter(self._touched))
            del self._touched[name]
            active = self.runs.get(name)
            if active is not None:
                self._follow_run(active)

    def _follow_run(self, active: Active) -> None:
        progress = active.progress
        while progress.todo and not active.is_cancelled:
            todo = progress.todo.popleft()
            if not progress.still_open(todo):
                continue
            match todo:
                case Expand(scope=scope, path=path, n=n):
                    self.emit(f.MapExpanded(active.run, scope, path_text(path), n))
                case Skip(node=node, path=path, item=None, why=why):
                    self.emit(f.NodeSkipped(active.run, node, path_text(path), why))
                case Skip(node=node, path=path, item=item, why=why):
                    self.emit(f.ItemSkipped(active.run, node, path_text(path), item or 0, why))
                case End():
                    self._end(active)
                    return
        if active.is_cancelled and progress.running == 0:
            self._finish(
                f.RunEnded(active.run, "cancelled", self._now_us, f"cancelled by {active.cancelled_by}"), active
            )
        elif progress.ready and not active.is_queued and not active.waits:
            active.is_queued = True
            self.ready.append(active.run)

    def _end(self, active: Active) -> None:
        if active.progress.has_failed:
            failed = sorted({name for (name, _), g in active.progress.groups.items() if g.is_leaf and g.failed})
            why = f"failed: {', '.join(failed)}" if failed else "a map could not expand"
            self._finish(f.RunEnded(active.run, "failed", self._now_us, why), active)
        else:
            self._finish(f.RunEnded(active.run, "succeeded", self._now_us), active)

    def _finish(self, ended: f.RunEnded, active: Active) -> None:
        self.emit(ended)
        for fact in self.desks.on_run_ended(self, active.definition, ended):
            self.emit(fact)

    # -- timers --------------------------------------------------------------------------------------------------

    def _timer(self, due_us: int, kind: str, about: tuple[Any, ...]) -> None:
        self._timer_count += 1
        heapq.heappush(self._timers, (due_us, self._timer_count, kind, about))

    def wake_in(self, delay_us: int) -> None:
        self.wake_at(self._mono_us + delay_us)

    def is_active(self, pipeline: str) -> bool:
        return any(active.pipeline == pipeline for active in self.runs.values())

    def window_of(self, run: str) -> tuple[int, int] | None:
        active = self.runs.get(run)
        return None if active is None else active.window

    def wake_at(self, mono_us: int) -> None:
        """Ask for a step at this monotonic time, for the desks: they look at what is due by themselves."""
        self._timer(mono_us, "wake", ())

    def retry_at(self, at_us: int, run: str, node: str, path: Path, item: int) -> None:
        """A wait for a retry that began before this machine: `at_us` is wall time, turned into a deadline at a step."""
        self._resumed.append((at_us, (run, node, path, item)))

    def _fire_timers(self) -> None:
        for at_us, about in self._resumed:
            self._timer(self._mono_us + max(at_us - self._now_us, 0), "retry", about)
        self._resumed.clear()
        while self._timers and self._timers[0][0] <= self._mono_us:
            _, _, kind, about = heapq.heappop(self._timers)
            match kind:
                case "retry":
                    run, node, path, item = about
                    active = self.runs.get(run)
                    if active is not None and not active.is_cancelled:
                        active.progress.again(node, path, item)
                        self._touched[run] = None
                case "timeout":
                    self._check_timeout(*about)
                case "ready_within":
                    active = self.runs.get(about[0])
                    if active is not None and active.waits:
                        missing = tuple(
                            t
                            for t in active.waits
                            if active.window and self.desks.watermarks.get(t, 0) < active.window[1]
                        )
                        self.emit(f.RunReady(active.run, self._now_us, missing))
                case _:
                    pass
        self._follow()

    def _check_timeout(self, worker_name: str, serial: int) -> None:
        worker = self.pool.workers.get(worker_name)
        flight = worker.flights.get(serial) if worker else None
        if worker is None or flight is None or flight.timeout_us is None:
            return
        begun_serial, begun_us = self._begun.get(worker_name, (0, 0))
        due = begun_us + flight.timeout_us if begun_serial == serial else self._mono_us + flight.timeout_us
        if due > self._mono_us:  # queued behind others, or begun later than it was sent
            self._timer(due, "timeout", (worker_name, serial))
            return
        worker.take(serial, self._mono_us)
        worker.is_leaving = True
        error = f"TimeoutError: the attempt took longer than its timeout of {flight.timeout_us / 1e6:g} s"
        self.emit(self._failure(self.runs[flight.run], flight, error, "", None))
        self._out.commands.append(KillWorker(worker_name, "an attempt timed out"))

    # -- handing out work ----------------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        """Fill workers, idle ones first; runs take turns, so a long map does not hold up a small run."""
        stuck = 0
        while self.ready and stuck < len(self.ready):
            active = self.runs.get(self.ready[0])
            if active is None or active.is_cancelled or not active.progress.ready:
                self.ready.popleft()
                if active is not None:
                    active.is_queued = False
                continue
            if self._dispatch_one(active):
                stuck = 0
            else:
                stuck += 1
            self.ready.rotate(-1)

    def _dispatch_one(self, active: Active) -> bool:
        """Hand out a handful of one group's items. False where nothing could be handed out now."""
        progress = active.progress
        for _ in range(len(progress.ready)):
            group = progress.ready[0]
            if not group.has_ready():
                progress.ready.popleft()
                group.in_ready = False
                continue
            allowed = self._allowed(active, group)
            if allowed > 0:
                expected = self.pool.expected_us(active.pipeline, group.plan.name)
                best = self.pool.least_loaded(active.code, expected)
                if best is None:
                    self._want_worker(active.code)
                    return False
                worker, room = best
                # Half of the room at a time: two idle workers share what is there instead of one taking all.
                for _ in range(min(max(room // 2, 1), allowed)):
                    if not group.has_ready():
                        break
                    self._start(active, group, worker, expected)
                return True
            progress.ready.rotate(-1)
        return False

    def _allowed(self, active: Active, group: Group) -> int:
        options = group.plan.node.options
        allowed = 1_000_000
        if options.concurrency is not None:
            running = sum(g.running for (name, _), g in active.progress.groups.items() if name == group.plan.name)
            allowed = options.concurrency - running
        if options.rate is not None:
            since = self._now_us - options.rate_us
            group.started_at_us = [at for at in group.started_at_us if at > since]
            left = options.rate - len(group.started_at_us)
            if left <= 0:
                self.wake_at(self._mono_us + group.started_at_us[0] + options.rate_us - self._now_us)
            allowed = min(allowed, left)
        return allowed

    def _start(self, active: Active, group: Group, worker: WorkerState, expected_us: int) -> None:
        item = group.take()
        if group.status[item] != PENDING:
            return
        node = group.plan.node
        tries = group.tries.get(item)
        attempt, epoch = (tries.attempt + 1, tries.epoch + 1) if tries else (1, 1)
        flight = Flight(
            active.run,
            node.name,
            group.path,
            item,
            attempt,
            epoch,
            expected_us,
            self._mono_us,
            timeout_us=node.options.timeout_us,
        )
        serial = worker.add(flight)
        self.emit(
            f.AttemptStarted(
                active.run,
                node.name,
                path_text(group.path),
                item,
                attempt,
                epoch,
                f"{worker.name}#{serial}",
                self._now_us,
            )
        )
        if node.options.timeout_us is not None:
            self._timer(self._mono_us + node.options.timeout_us, "timeout", (worker.name, serial))
        self._out.commands.append(
            StartAttempt(
                worker.name,
                serial,
                active.run,
                active.pipeline,
                active.code,
                node,
                group.path,
                item,
                attempt,
                epoch,
                upstream=_upstream_values(active.progress, group, item),
            )
        )

    def _want_worker(self, code: str) -> None:
        if not self.pool.wants_worker(code):
            return
        if len(self.pool.workers) >= self.pool.size:
            other = next((w for w in self.pool.idle() if w.code != code), None)
            if other is None:
                return
            other.is_leaving = True
            self._out.commands.append(StopWorker(other.name))
        self.spawn(code)

    def spawn(self, code: str) -> None:
        worker = self.pool.open_worker(code, self._mono_us, self.worker_prefix)
        self._out.commands.append(SpawnWorker(worker.name, code))

    def _tend_workers(self) -> None:
        """Let workers leave that were idle for a minute; one of the current code stays warm."""
        idle = self.pool.idle()
        warm = next((w for w in idle if w.code == self.code), None)
        for worker in idle:
            if worker is warm:
                continue
            if self._mono_us - worker.idle_since_us >= IDLE_WORKER_US or worker.code != self.code:
                worker.is_leaving = True
                self._out.commands.append(StopWorker(worker.name))
            else:
                self.wake_at(worker.idle_since_us + IDLE_WORKER_US)

    # -- applying ------------------------------------------------------------------------------------------------

    def activate(self, active: Active) -> None:
        """Take a run in, new or restored from rows."""
        self.runs[active.run] = active
        self._touched[active.run] = None

    def apply_created(self, fact: f.RunCreated) -> None:
        definition = definition_of(self.projects[fact.code], fact.pipeline)
        if definition is None:
            raise NotFoundError(f"code {fact.code} has no pipeline {fact.pipeline!r}")
        params = {p.name: p.default for p in definition.params if p.kind == "value"} | fact.params
        active = Active(
            fact.run,
            fact.pipeline,
            fact.code,
            definition,
            Progress(self.plan(fact.code, definition), params),
            fact.cause,
            params,
            fact.window,
            fact.events,
            fact.max_lost,
            fact.waits,
        )
        self.activate(active)
        if fact.waits and definition.ready_within_us is not None:
            self._timer(self._mono_us + definition.ready_within_us, "ready_within", (fact.run,))

    def apply_ready(self, fact: f.RunReady) -> None:
        self.runs[fact.run].waits = ()
        self._touched[fact.run] = None

    def apply_expanded(self, fact: f.MapExpanded) -> None:
        self._progress(fact.run).expanded(fact.scope, path_of(fact.path), fact.n)

    def apply_started(self, fact: f.AttemptStarted) -> None:
        self.runs[fact.run].progress.started(
            fact.node, path_of(fact.path), fact.item, fact.attempt, fact.epoch, fact.at_us
        )

    def apply_succeeded(self, fact: f.AttemptSucceeded) -> None:
        self._progress(fact.run).succeeded(fact.node, path_of(fact.path), fact.item, fact.result)

    def apply_failed(self, fact: f.AttemptFailed) -> None:
        self._progress(fact.run).failed(
            fact.node, path_of(fact.path), fact.item, fact.attempt, fact.epoch, retried=fact.retry_at_us is not None
        )

    def apply_lost(self, fact: f.AttemptLost) -> None:
        self._progress(fact.run).lost(
            fact.node, path_of(fact.path), fact.item, fact.attempt, fact.epoch, ends=fact.ends
        )

    def apply_returned(self, fact: f.AttemptReturned) -> None:
        self._progress(fact.run).returned(fact.node, path_of(fact.path), fact.item, fact.attempt, fact.epoch)

    def apply_cancelled(self, fact: f.AttemptCancelled) -> None:
        self._progress(fact.run).cancelled(fact.node, path_of(fact.path), fact.item)

    def apply_item_skipped(self, fact: f.ItemSkipped) -> None:
        self._progress(fact.run).item_skipped(fact.node, path_of(fact.path), fact.item, fact.why)

    def apply_node_skipped(self, fact: f.NodeSkipped) -> None:
        self._progress(fact.run).node_skipped(fact.node, path_of(fact.path), fact.why)

    def apply_pinned(self, fact: f.InputPinned) -> None:
        self.runs[fact.run].pins[fact.dataset] = fact.pin

    def apply_run_cancelled(self, fact: f.RunCancelled) -> None:
        active = self.runs[fact.run]
        active.is_cancelled, active.cancelled_by = True, fact.by
        self._touched[fact.run] = None

    def apply_ended(self, fact: f.RunEnded) -> None:
        del self.runs[fact.run]

    def apply_deployed(self, fact: f.CodeDeployed) -> None:
        self.code = fact.code

    def _progress(self, run: str) -> Progress:
        self._touched[run] = None
        return self.runs[run].progress


def definition_of(project: Project, name: str) -> PipelineDef | None:
    """A pipeline of the project, the built-in ones of its monitors included."""
    if name.startswith(MONITOR_PREFIX):
        monitor = project.monitors.get(name.removeprefix(MONITOR_PREFIX))
        return None if monitor is None else monitor_pipeline(monitor)
    return project.pipelines.get(name)


def _place(flight: Flight) -> tuple[str, str, str, int, int, int]:
    return (flight.run, flight.node, path_text(flight.path), flight.item, flight.attempt, flight.epoch)


def _upstream_values(progress: Progress, group: Group, item: int) -> dict[tuple[str, tuple[int, ...]], f.Value]:
    plan = group.plan
    where = (*group.path, item) if plan.depth else ()
    values: dict[tuple[str, tuple[int, ...]], f.Value] = {}
    for need in (*plan.group_needs, *plan.item_needs):
        key = where[: need.shared]
        value = progress.values.get((need.upstream, key))
        if value is not None:
            values[need.upstream, key] = value
    return values


def _check_params(definition: PipelineDef, params: dict[str, Any]) -> None:
    known = {p.name: p for p in definition.params if p.kind == "value"}
    for name in params:
        if name not in known:
            raise RefusedError(
                f"{definition.name} has no parameter {name!r}; it takes {', '.join(known) or 'none'}",
                cure=f"headrace trigger {definition.name} --help",
                code="HR3020",
            )
    missing = [p.name for p in known.values() if p.required and p.name not in params]
    if missing:
        raise RefusedError(
            f"{definition.name} needs {', '.join(missing)}", cure=f"give --{missing[0]} …", code="HR3021"
        )


_APPLY: dict[type[Fact], Callable[[Machine, Any], None]] = {
    f.RunCreated: Machine.apply_created,
    f.RunReady: Machine.apply_ready,
    f.MapExpanded: Machine.apply_expanded,
    f.AttemptStarted: Machine.apply_started,
    f.AttemptSucceeded: Machine.apply_succeeded,
    f.AttemptFailed: Machine.apply_failed,
    f.AttemptLost: Machine.apply_lost,
    f.AttemptReturned: Machine.apply_returned,
    f.AttemptCancelled: Machine.apply_cancelled,
    f.ItemSkipped: Machine.apply_item_skipped,
    f.NodeSkipped: Machine.apply_node_skipped,
    f.InputPinned: Machine.apply_pinned,
    f.RunCancelled: Machine.apply_run_cancelled,
    f.RunEnded: Machine.apply_ended,
    f.CodeDeployed: Machine.apply_deployed,
}
