"""The workers of an engine in its own process: each has its queue, and runs real attempts between two turns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from crashing.boundaries import crew_call, stage
from crashing.faults import Actor, Death
from headrace.executors.attempt import AttemptCancelled, AttemptRunner
from headrace.executors.crew import event_of, start_message
from headrace.executors.protocol import Start
from headrace.runs import events as e
from headrace.runs.active import Active
from headrace.runs.commands import StartAttempt


class Killed(BaseException):
    """The worker was killed while its attempt waited for the engine."""


@dataclass(eq=False)
class Worker:
    actor: Actor
    runner: AttemptRunner
    queue: deque[Start] = field(default_factory=deque[Start])
    running: int = 0
    is_cancelled: bool = False
    is_leaving: bool = False


class InlineCrew:
    """Implements `ports.Workers`, with the manners of `executors.crew.LocalCrew`.

    `act` is the engine's step, for what attempts ask as they run. `slots` outlives the process: worker → the last serial
    that it began.
    """

    def __init__(
        self,
        engine: Actor,
        slots: dict[str, int],
        runner: Callable[[str], AttemptRunner],
        act: Callable[[Sequence[e.Event]], object],
    ) -> None:
        self._engine, self._slots, self._runner, self._act = engine, slots, runner, act
        self._workers: dict[str, Worker] = {}
        self._ready: list[e.Event] = []
        self._pins: dict[tuple[str, int, str], Any] = {}
        self._trouble: BaseException | None = None

    def spawn(self, worker: str, code: str) -> None:
        crew_call("spawn", partial(self._spawn, worker, code), worker)

    def start(self, worker: str, attempts: Sequence[tuple[StartAttempt, Active]]) -> None:
        starts = [start_message(start, active) for start, active in attempts]
        said = " ".join(f"{start.node}[{start.item}]" for start in starts)
        crew_call("start", partial(self._start, worker, starts), f"{worker} {said}")

    def answer_pin(self, worker: str, serial: int, dataset: str, pin: Any) -> None:
        crew_call("answer_pin", partial(self._pins.__setitem__, (worker, serial, dataset), pin), f"{worker} {dataset}")

    def stop(self, worker: str) -> None:
        crew_call("stop", partial(self._stop, worker), worker)

    def cancel(self, worker: str, serial: int) -> None:
        crew_call("cancel", partial(self._cancel, worker, serial), f"{worker} {serial}")

    def kill(self, worker: str, why: str) -> None:
        crew_call("kill", partial(self._ended, worker, why), worker)

    def events(self) -> list[e.Event]:
        """Runs the next attempt, if nothing else has happened, and tells how it went."""
        if not self._ready:
            busy = next((worker for worker in self._workers.values() if worker.queue), None)
            if busy is not None:
                self._run(busy)
        found, self._ready = self._ready, []
        return found

    def begun(self, workers: Sequence[str]) -> dict[str, tuple[int, int]]:
        return {}

    def wait(self, timeout_s: float, *others: int) -> None:
        """Nobody waits: the world moves the clock."""

    def end_strangers(self) -> dict[str, int]:
        return crew_call("end_strangers", self._take_slots, "")

    def abandon(self) -> dict[str, int]:
        return crew_call("abandon", self._forget, "")

    def close(self) -> None:
        self._forget()

    # -- inside --------------------------------------------------------------------------------------------------

    def _spawn(self, name: str, code: str) -> None:
        self._workers[name] = Worker(Actor(name, self._engine), self._runner(code))
        self._slots[name] = 0
        self._ready.append(e.WorkerReady(name))

    def _start(self, name: str, starts: Sequence[Start]) -> None:
        if name in self._workers:
            self._workers[name].queue.extend(starts)

    def _stop(self, name: str) -> None:
        worker = self._workers.get(name)
        if worker is None:
            return
        worker.is_leaving = True
        if not worker.queue and not worker.running:
            self._ended(name, "asked to leave")

    def _cancel(self, name: str, serial: int) -> None:
        worker = self._workers.get(name)
        if worker is None:
            return
        waiting = next((start for start in worker.queue if start.serial == serial), None)
        if waiting is not None:
            worker.queue.remove(waiting)
            self._ready.append(e.AttemptErrored(name, serial, "the run was cancelled", retryable=False))
        worker.is_cancelled |= worker.running == serial

    def _ended(self, name: str, why: str) -> None:
        if self._workers.pop(name, None) is not None:
            self._ready.append(e.WorkerDied(name, self._slots.pop(name), why))

    def _take_slots(self) -> dict[str, int]:
        begun = dict(self._slots)
        self._slots.clear()
        return begun

    def _forget(self) -> dict[str, int]:
        begun = {event.worker: event.begun for event in self._ready if isinstance(event, e.WorkerDied)}
        begun |= {name: self._slots.pop(name) for name in self._workers if name in self._slots}
        self._workers.clear()
        self._ready.clear()
        return begun

    def _run(self, worker: Worker) -> None:
        start = worker.queue.popleft()
        name = worker.actor.name
        self._slots[name] = worker.running = start.serial
        worker.is_cancelled = False
        with stage.faults.acting(worker.actor):
            report = worker.runner.run(start, partial(self._ask, worker))
        worker.running = 0
        # Only now is it certain what really happened: the runner makes a report of everything.
        trouble, self._trouble = self._trouble, None
        if self._engine.is_dead:
            raise Death
        if trouble is not None:
            raise trouble
        if worker.actor.is_dead:
            self._ended(name, "the worker was killed by SIGKILL")
        elif name in self._workers:
            event = event_of(name, report)
            assert event is not None
            self._ready.append(event)
            if worker.is_leaving and not worker.queue:
                self._ended(name, "asked to leave")

    def _ask(self, worker: Worker, dataset: str, pin: Any) -> Any:
        name, serial = worker.actor.name, worker.running
        try:
            with stage.faults.acting(self._engine):
                self._act([e.PinAsked(name, serial, dataset, pin)])
        except BaseException as error:
            self._trouble = error
            raise Killed from error
        if name not in self._workers:
            raise Killed
        if worker.is_cancelled:
            raise AttemptCancelled
        return self._pins.pop((name, serial, dataset))
