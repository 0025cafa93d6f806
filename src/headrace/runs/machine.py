"""The engine's step: events in, facts to commit and commands to carry out after the commit. No I/O, no clock.

Deciding on an event gives facts; each is applied at once to the state in memory, and what follows from it (an
expansion, a skip, the end of a run) is decided in the same step. Nothing is sent before the commit has succeeded; after
a commit that failed, the shell throws this object away and makes a new one from the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from headrace.base.facts import Fact
from headrace.base.ids import make_id
from headrace.data.facts import TopicAppended, TopicShaped
from headrace.definitions.project import PipelineDef, Project
from headrace.errors import HeadraceError, NotFoundError, RefusedError
from headrace.runs import events as e
from headrace.runs import facts as f
from headrace.runs.active import Active
from headrace.runs.commands import AnswerPin, CancelAttempt, Command, KillWorker, ReloadRun
from headrace.runs.desks import Desks
from headrace.runs.handout import Handout
from headrace.runs.monitoring import PREFIX as MONITOR_PREFIX
from headrace.runs.monitoring import monitor_pipeline
from headrace.runs.plan import GraphPlan, make_plan
from headrace.runs.pool import Flight, Pool
from headrace.runs.progress import WAITING, End, Expand, Path, Progress, Skip, path_of, path_text
from headrace.runs.retry import retry_delay_us
from headrace.runs.timers import Timers

UNREADY_LIMIT = 3
CANCEL_GRACE_US = 5_000_000


@dataclass(slots=True)
class Decision:
    """What one step gives: facts for the engine's log, files whose bytes belong to facts, commands for afterwards."""

    facts: list[Fact] = field(default_factory=list[Fact])
    files: dict[int, str] = field(default_factory=dict[int, str])
    commands: list[Command] = field(default_factory=list[Command])


class TaintedStepError(Exception):
    """Deciding on one event raised half-way: the state in memory is no longer that of any commit."""


class Machine:
    """State and step of one engine, or of one in-process run."""

    def __init__(
        self, *, pool_size: int, max_lost: int = 5, worker_prefix: str = "w", desks: Desks | None = None
    ) -> None:
        self.pool = Pool(pool_size)
        self.desks = desks or Desks()
        self.max_lost = max_lost
        self.code = ""
        self.projects: dict[str, Project] = {}
        self.runs: dict[str, Active] = {}
        self.timers = Timers()
        self._handout = Handout(self, self.pool, worker_prefix)
        self._plans: dict[tuple[str, str], GraphPlan] = {}
        self._unready: dict[str, int] = {}
        self._keys: set[str] = set()
        self._reviving: set[str] = set()
        self._answers: list[f.RequestAnswered] = []
        self._resumed: list[tuple[int, tuple[Any, ...]]] = []
        self._touched: dict[str, None] = {}
        self._out = Decision()
        self._now_us = self._mono_us = self._entropy = self._ids = 0
        self._begun: Mapping[str, tuple[int, int]] = {}

    # -- the step ------------------------------------------------------------------------------------------------

    def step(
        self,
        events: Iterable[e.Event],
        *,
        now_us: int,
        mono_us: int,
        entropy: int,
        begun: Mapping[str, tuple[int, int]] | None = None,
    ) -> Decision:
        """Decide on all of it. `begun` maps a worker to (serial, monotonic microseconds) of what it is in.

        Raises TaintedStepError where this object may not be used any longer.
        """
        self._now_us, self._mono_us, self._entropy, self._ids = now_us, mono_us, entropy, 0
        self._begun = begun or {}
        self._out = Decision()
        self._keys.clear()
        self.timers.begin_step()
        for answer in self._answers:
            self.emit(msgspec.structs.replace(answer, at_us=now_us))
        self._answers.clear()
        for event in events:
            self._take(event)
            self._follow()
        self._fire_timers()
        for fact in self.desks.due(self, now_us):
            self.emit(fact)
        self._follow()
        self._handout.hand_out()
        self._handout.tend_workers()
        return self._out

    def next_due_us(self) -> int | None:
        """Monotonic time at which the next step is due without any event; None for never."""
        return 0 if self._answers or self._resumed else self.timers.next_us(self._mono_us)

    def workers_with_timeouts(self) -> list[str]:
        """Workers whose begun slot must be read before the next step."""
        return [w.name for w in self.pool.workers.values() if any(x.timeout_us for x in w.flights.values())]

    def answer_later(self, request: int, status: str, answer: dict[str, Any]) -> None:
        """Answer a request that never became an event, in the next step."""
        self._answers.append(f.RequestAnswered(request, status, answer, 0))

    # -- what desks and the hand-out use -------------------------------------------------------------------------

    @property
    def now_us(self) -> int:
        return self._now_us

    @property
    def mono_us(self) -> int:
        return self._mono_us

    @property
    def project(self) -> Project:
        return self.projects.get(self.code) or Project("none")

    def emit(self, fact: Fact) -> None:
        """Append a fact to this step and apply it to the state."""
        self._out.facts.append(fact)
        apply = _APPLY.get(type(fact))
        if apply is not None:
            apply(self, fact)
        self.desks.apply(fact)

    def command(self, command: Command) -> None:
        self._out.commands.append(command)

    def new_id(self) -> str:
        self._ids += 1
        return make_id(self._now_us, self._entropy + self._ids)

    def wake_at(self, mono_us: int) -> None:
        self.timers.wake_at(mono_us)

    def wake_in(self, delay_us: int) -> None:
        self.timers.wake_at(self._mono_us + delay_us)

    def watch_timeout(self, due_us: int, worker: str, serial: int) -> None:
        self.timers.add(due_us, "timeout", (worker, serial))

    def is_active(self, pipeline: str) -> bool:
        return any(active.pipeline == pipeline for active in self.runs.values())

    def window_of(self, run: str) -> tuple[int, int] | None:
        active = self.runs.get(run)
        return None if active is None else active.window

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

    # -- deciding ------------------------------------------------------------------------------------------------

    def _take(self, event: e.Event) -> None:
        before = len(self._out.facts)
        try:
            for fact in self._decide(event):
                self.emit(fact)
        except Exception as error:
            if len(self._out.facts) > before:
                raise TaintedStepError(f"{type(error).__name__}: {error} while deciding on {event!r:.500}") from error
            if isinstance(error, HeadraceError):
                self._answer(event, "refused", {"code": error.code, "message": error.message, "cure": error.cure})
                return
            text = f"{type(error).__name__}: {error}"
            self.emit(f.EventRejected(repr(event)[:2000], text, self._now_us))
            self._answer(event, "error", {"code": "HR0001", "message": text, "cure": None})

    def _decide(self, event: e.Event) -> Iterator[Fact]:
        match event:
            case e.AttemptDone():
                yield from self._on_done(event)
            case e.AttemptErrored():
                yield from self._on_errored(event)
            case e.WorkerReady():
                self._on_ready(event)
            case e.WorkerDied():
                yield from self._on_died(event)
            case e.PinAsked():
                yield from self._on_pin(event)
            case e.RunAsked():
                yield from self._on_run_asked(event)
            case e.CancelAsked():
                yield from self._on_cancel(event)
            case e.RetryAsked():
                yield from self._on_retry(event)
            case e.RunRestored():
                self.activate(event.active)
            case e.PauseAsked():
                self.pipeline(event.pipeline)
                yield f.PipelinePaused(event.pipeline, event.is_paused, event.by, self._now_us)
                yield from self._answered(event.request, {"pipeline": event.pipeline, "paused": event.is_paused})
            case e.AliasAsked():
                yield from self.desks.on_alias(self, event)
                yield from self._answered(event.request, {"model": event.model, "alias": event.alias})
            case e.Deployed():
                self.projects[event.code] = event.project
                if event.code != self.code:
                    yield f.CodeDeployed(event.code, msgspec.Raw(event.body), self._now_us)
                yield from self._answered(event.request, {"code": event.code})
            case e.TriggerSeen():
                yield from self.desks.on_trigger(self, event)
                yield f.CursorMoved(event.log, event.seq)
            case e.UpdateSeen():
                yield f.CursorMoved(event.log, event.seq)
                self.desks.tables.apply(event.published)
                yield from self.desks.on_published(self, event.published.table, event.published.version_number)
            case e.WatermarksRead():
                self.desks.watermarks = dict(event.through_us)
                self._touched.update((run, None) for run, active in self.runs.items() if active.waits)

    def _on_done(self, event: e.AttemptDone) -> Iterator[Fact]:
        found = self._flight(event.worker, event.serial)
        if found is None:
            return
        active, flight = found
        self.pool.measured(active.pipeline, flight.node, event.took_us)
        place = _place(flight)
        yield f.AttemptSucceeded(*place, self._now_us, event.took_us, event.result, log=event.log, reads=event.reads)
        for write in event.effects.topics:
            if write.schema is not None:
                yield TopicShaped(write.topic, write.schema, self._now_us)
            self._out.files[len(self._out.facts)] = write.path
            yield TopicAppended(
                write.topic,
                write.partition,
                write.rows,
                self._now_us,
                min_time_us=write.min_time_us,
                max_time_us=write.max_time_us,
                min_known_us=write.min_known_us,
                max_known_us=write.max_known_us,
            )
        yield from self.desks.on_effects(self, active.run, active.code, flight, event.effects)

    def _on_errored(self, event: e.AttemptErrored) -> Iterator[Fact]:
        found = self._flight(event.worker, event.serial)
        if found is None:
            return
        active, flight = found
        if active.is_cancelled:
            yield f.AttemptCancelled(*_place(flight), self._now_us)
        else:
            yield self._failure(active, flight, event.error, event.detail, event.log, retryable=event.retryable)

    def _failure(
        self, active: Active, flight: Flight, error: str, detail: str, log: f.LogSpan | None, *, retryable: bool = True
    ) -> Fact:
        group = active.progress.groups[flight.node, flight.path]
        tries = group.tries.get(flight.item)
        failures = (tries.failed if tries else 0) + 1
        delay_us = None
        if retryable and not active.is_cancelled:
            key = f"{active.run}/{flight.node}/{path_text(flight.path)}/{flight.item}"
            delay_us = retry_delay_us(group.plan.node.options, failures, key)
        if delay_us is not None:
            self._retry_in(delay_us, active, flight.node, flight.path, flight.item)
        retry_at_us = None if delay_us is None else self._now_us + delay_us
        return f.AttemptFailed(*_place(flight), self._now_us, error, detail, retry_at_us, log)

    def _on_ready(self, event: e.WorkerReady) -> None:
        worker = self.pool.workers.get(event.worker)
        if worker is not None:
            worker.is_ready, worker.idle_since_us = True, self._mono_us
            self._unready.pop(worker.code, None)

    def _on_died(self, event: e.WorkerDied) -> Iterator[Fact]:
        worker = self.pool.workers.pop(event.worker, None)
        if worker is None:
            return
        for serial, flight in worker.flights.items():
            active = self.runs.get(flight.run)
            if active is None:
                continue
            if active.is_cancelled:
                yield f.AttemptCancelled(*_place(flight), self._now_us)
            elif serial <= event.begun:
                yield self._loss(active, flight, event.why)
            else:
                yield f.AttemptReturned(*_place(flight))
        worker.flights.clear()
        if not worker.is_ready and not worker.is_leaving:
            yield from self._on_unready(worker.code, event.why)

    def _on_unready(self, code: str, why: str) -> Iterator[Fact]:
        """A worker went before it could take work. The third time in a row the code is to blame, and its runs end."""
        self._unready[code] = self._unready.get(code, 0) + 1
        if self._unready[code] < UNREADY_LIMIT:
            return
        self._unready[code] = 0
        why = f"no worker can load code version {code}: {why}"
        for active in tuple(self.runs.values()):
            if active.code == code and active.progress.running == 0:
                yield from self._ending(active, "failed", why)

    def _loss(self, active: Active, flight: Flight, why: str) -> Fact:
        group = active.progress.groups[flight.node, flight.path]
        tries = group.tries.get(flight.item)
        lost = (tries.lost if tries else 0) + 1
        limit = group.plan.node.options.max_lost
        limit = active.max_lost if limit is None else limit
        return f.AttemptLost(*_place(flight), self._now_us, why, ends=lost > limit)

    def _on_pin(self, event: e.PinAsked) -> Iterator[Fact]:
        worker = self.pool.workers.get(event.worker)
        flight = worker.flights.get(event.serial) if worker else None
        active = self.runs.get(flight.run) if flight else None
        if active is None:
            return
        pin = active.pins.get(event.dataset, event.pin)
        if event.dataset not in active.pins:
            yield f.InputPinned(active.run, event.dataset, event.pin)
        self.command(AnswerPin(event.worker, event.serial, event.dataset, pin))

    def _on_run_asked(self, event: e.RunAsked) -> Iterator[Fact]:
        definition = self.pipeline(event.pipeline)
        _check_params(definition, event.params)
        if event.key in self._keys:
            raise RefusedError(
                f"the key {event.key!r} was asked for twice at once", cure="ask again: the answer is then the same run"
            )
        self._keys.add(event.key)
        run: str | None = None
        for fact in self.desks.on_run_asked(self, definition, event):
            yield fact
            run = fact.run if isinstance(fact, f.RunCreated) else run
        yield from self._answered(event.request, {"run": run, "pipeline": event.pipeline})

    def _on_cancel(self, event: e.CancelAsked) -> Iterator[Fact]:
        active = self.runs.get(event.run)
        if active is None:
            raise RefusedError(f"run {event.run} is not running", cure=f"headrace runs show {event.run}", code="HR3010")
        if not active.is_cancelled:
            yield f.RunCancelled(event.run, self._now_us, event.by)
            for worker in self.pool.workers.values():
                for serial, flight in worker.flights.items():
                    if flight.run == event.run:
                        self.command(CancelAttempt(worker.name, serial))
                        self.timers.add(self._mono_us + CANCEL_GRACE_US, "grace", (worker.name, serial))
        yield from self._answered(event.request, {"run": event.run})

    def _on_retry(self, event: e.RetryAsked) -> Iterator[Fact]:
        if event.run in self.runs or event.run in self._reviving:
            raise RefusedError(f"run {event.run} has not ended", cure="wait for it, or cancel it first", code="HR3011")
        self._reviving.add(event.run)
        yield f.RunRetried(event.run, event.generation, self._now_us, event.by, event.code or "")
        self.command(ReloadRun(event.run))
        yield from self._answered(event.request, {"run": event.run})

    def _flight(self, worker_name: str, serial: int) -> tuple[Active, Flight] | None:
        worker = self.pool.workers.get(worker_name)
        flight = worker.take(serial, self._mono_us) if worker else None
        if flight is None:
            return None  # nobody waits for it: the attempt was closed before
        active = self.runs.get(flight.run)
        return None if active is None else (active, flight)

    # -- answers -------------------------------------------------------------------------------------------------

    def _answered(self, request: int | None, answer: dict[str, Any]) -> Iterator[Fact]:
        if request is not None:
            yield f.RequestAnswered(request, "done", answer, self._now_us)

    def _answer(self, event: e.Event, status: str, answer: dict[str, Any]) -> None:
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
        if active.waits and not active.behind(self.desks.watermarks):
            self.emit(f.RunReady(active.run, self._now_us))
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
                    self._finish(active, *_outcome(active))
                    return
        if active.is_cancelled and progress.running == 0:
            self._finish(active, "cancelled", f"cancelled by {active.cancelled_by}")
        elif progress.ready and not active.waits and not self._is_held(active):
            self._handout.add(active)

    def _is_held(self, active: Active) -> bool:
        """Whether it waits because enough runs of its pipeline are at work: the oldest go first."""
        most = active.definition.max_active
        if most is None or active.has_started:
            return False
        others = [x for x in self.runs.values() if x.pipeline == active.pipeline and not x.waits]
        place = others.index(active) if active in others else 0
        return sum(x.has_started or at < place for at, x in enumerate(others)) >= most

    def _finish(self, active: Active, state: str, why: str) -> None:
        for fact in self._ending(active, state, why):
            self.emit(fact)

    def _ending(self, active: Active, state: str, why: str) -> Iterator[Fact]:
        ended = f.RunEnded(active.run, state, self._now_us, why)
        yield ended
        yield from self.desks.on_run_ended(self, active.definition, ended)
        if active.definition.max_active is not None:
            self._touched.update((run, None) for run, x in self.runs.items() if x.pipeline == active.pipeline)

    # -- timers --------------------------------------------------------------------------------------------------

    def retry_at(self, at_us: int, active: Active, node: str, path: Path, item: int) -> None:
        """A wait for a retry that began before this machine: `at_us` is wall time, turned into a deadline at a step."""
        self._resumed.append((at_us, (active, node, path, item)))

    def _retry_in(self, delay_us: int, active: Active, node: str, path: Path, item: int) -> None:
        about = (active.run, active.generation, node, path, item)
        self.timers.add(self._mono_us + delay_us, "retry", about)

    def _fire_timers(self) -> None:
        for at_us, (active, node, path, item) in self._resumed:
            longest_us = active.progress.plan.nodes[node].node.options.backoff_max_us
            self._retry_in(min(max(at_us - self._now_us, 0), longest_us), active, node, path, item)
        self._resumed.clear()
        for kind, about in self.timers.due(self._mono_us):
            match kind:
                case "retry":
                    self._fire_retry(*about)
                case "timeout":
                    self._fire_timeout(*about)
                case "grace":
                    self._end_grace(*about)
                case _:
                    active = self.runs.get(about[0])
                    if active is not None and active.waits:
                        self.emit(f.RunReady(active.run, self._now_us, active.behind(self.desks.watermarks)))
        self._follow()

    def _fire_retry(self, run: str, generation: int, node: str, path: Path, item: int) -> None:
        active = self.runs.get(run)
        if active is None or active.is_cancelled or active.generation != generation:
            return
        if active.progress.groups[node, path].status[item] == WAITING:
            active.progress.again(node, path, item)
            self._touched[run] = None

    def _fire_timeout(self, worker_name: str, serial: int) -> None:
        worker = self.pool.workers.get(worker_name)
        flight = worker.flights.get(serial) if worker else None
        if worker is None or flight is None or flight.timeout_us is None:
            return
        begun_serial, begun_us = self._begun.get(worker_name, (0, 0))
        due_us = begun_us + flight.timeout_us if begun_serial == serial else self._mono_us + flight.timeout_us
        if due_us > self._mono_us:  # queued behind others, or begun later than it was sent
            self.watch_timeout(due_us, worker_name, serial)
            return
        worker.take(serial, self._mono_us)
        worker.is_leaving = True
        error = f"TimeoutError: the attempt took longer than its timeout of {flight.timeout_us / 1e6:g} s"
        self.emit(self._failure(self.runs[flight.run], flight, error, "", None))
        self.command(KillWorker(worker_name, "an attempt timed out"))

    def _end_grace(self, worker_name: str, serial: int) -> None:
        """An attempt that was told to stop and has not: its worker is ended."""
        worker = self.pool.workers.get(worker_name)
        if worker is not None and serial in worker.flights:
            worker.is_leaving = True
            self.command(KillWorker(worker_name, "an attempt of a cancelled run did not stop"))

    # -- applying ------------------------------------------------------------------------------------------------

    def activate(self, active: Active) -> None:
        """Take a run in, new or restored from rows."""
        self.runs[active.run] = active
        self._reviving.discard(active.run)
        self._touched[active.run] = None
        if active.waits and active.definition.ready_within_us is not None:
            self.timers.add(self._mono_us + active.definition.ready_within_us, "ready_within", (active.run,))

    def apply_created(self, fact: f.RunCreated) -> None:
        definition = definition_of(self.projects[fact.code], fact.pipeline)
        if definition is None:
            raise NotFoundError(f"code {fact.code} has no pipeline {fact.pipeline!r}")
        params = {p.name: p.default for p in definition.params if p.kind == "value"} | fact.params
        progress = Progress(self._plan(fact.code, definition), params)
        self.activate(
            Active(
                fact.run,
                fact.pipeline,
                fact.code,
                definition,
                progress,
                fact.cause,
                params,
                fact.window,
                fact.events,
                fact.max_lost,
                fact.waits,
            )
        )

    def _plan(self, code: str, pipeline: PipelineDef) -> GraphPlan:
        plan = self._plans.get((code, pipeline.name))
        if plan is None:
            plan = self._plans[code, pipeline.name] = make_plan(pipeline.graph)
        return plan

    def apply_ready(self, fact: f.RunReady) -> None:
        self.runs[fact.run].waits = ()
        self._touched[fact.run] = None

    def apply_expanded(self, fact: f.MapExpanded) -> None:
        self._progress(fact.run).expanded(fact.scope, path_of(fact.path), fact.n)

    def apply_started(self, fact: f.AttemptStarted) -> None:
        progress = self.runs[fact.run].progress
        progress.started(fact.node, path_of(fact.path), fact.item, fact.attempt, fact.epoch, self._mono_us)

    def apply_succeeded(self, fact: f.AttemptSucceeded) -> None:
        self._progress(fact.run).succeeded(fact.node, path_of(fact.path), fact.item, fact.result)

    def apply_failed(self, fact: f.AttemptFailed) -> None:
        retried = fact.retry_at_us is not None
        place = (fact.node, path_of(fact.path), fact.item, fact.attempt, fact.epoch)
        self._progress(fact.run).failed(*place, retried=retried)

    def apply_lost(self, fact: f.AttemptLost) -> None:
        place = (fact.node, path_of(fact.path), fact.item, fact.attempt, fact.epoch)
        self._progress(fact.run).lost(*place, ends=fact.ends)

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


def _outcome(active: Active) -> tuple[str, str]:
    """State and reason of a run whose task runs have all ended: a function of their counts alone."""
    if not active.progress.has_failed:
        return "succeeded", ""
    failed = sorted({name for (name, _), g in active.progress.groups.items() if g.is_leaf and g.failed})
    return "failed", f"failed: {', '.join(failed)}" if failed else "a map could not expand"


def _place(flight: Flight) -> tuple[str, str, str, int, int, int]:
    return (flight.run, flight.node, path_text(flight.path), flight.item, flight.attempt, flight.epoch)


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
        raise RefusedError(f"{definition.name} needs {', '.join(missing)}", cure=f"give {missing[0]}=…", code="HR3021")


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
