"""The engine's workers on this machine: its commands as messages to processes, their reports as events."""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from headrace.errors import EngineUnavailableError
from headrace.executors.local import LocalExecutor, end_strangers
from headrace.executors.protocol import (
    Broken,
    Done,
    Failed,
    FromWorker,
    PinAnswer,
    PinAsked,
    Ready,
    Returned,
    Start,
    Stop,
    Upstream,
)
from headrace.runs import events as e
from headrace.runs.active import Active
from headrace.runs.commands import StartAttempt
from headrace.runs.effects import NO_EFFECTS, Effects
from headrace.runs.path import item_key

Spawn = Callable[[LocalExecutor, str, str], None]
_EFFECTS = msgspec.json.Decoder(Effects)
_PARAMS = msgspec.json.Encoder()


class LocalCrew:
    """Implements `ports.Workers` over `LocalExecutor`. `spawn_worker(executor, worker, code)` knows paths and wiring.

    `notice` gets lines for people.
    """

    def __init__(self, folder: Path, logs: Path, spawn_worker: Spawn, notice: Callable[[str], object]) -> None:
        self._folder = folder
        self._executor = LocalExecutor(folder, logs)
        self._spawn, self._notice = spawn_worker, notice
        self._names: dict[int, str] = {}
        self._kill_why: dict[str, str] = {}
        self._broken: dict[str, str] = {}
        self._stillborn: list[e.Event] = []
        self._poll = select.poll()

    def spawn(self, worker: str, code: str) -> None:
        try:
            self._spawn(self._executor, worker, code)
        except EngineUnavailableError as error:
            # Like a kill it says nothing about the code. It is told in the next round: so long is the pause between tries.
            self._stillborn.append(e.WorkerDied(worker, 0, str(error), was_killed=True))
            return
        fd = self._executor.fileno(worker)
        self._names[fd] = worker
        self._poll.register(fd, select.POLLIN)

    def start(self, worker: str, attempts: Sequence[tuple[StartAttempt, Active]]) -> None:
        if worker not in self._executor:
            return
        if not self._executor.send(worker, [start_message(start, active) for start, active in attempts]):
            self.kill(worker, "the worker read nothing for too long")  # what it was not given goes back

    def answer_pin(self, worker: str, serial: int, dataset: str, pin: Any) -> None:
        if worker in self._executor:
            self._executor.send(worker, [PinAnswer(serial, dataset, pin)])

    def stop(self, worker: str) -> None:
        if worker in self._executor:
            self._executor.send(worker, [Stop()])

    def cancel(self, worker: str, serial: int) -> None:
        if worker in self._executor:
            self._executor.cancel(worker, serial)

    def kill(self, worker: str, why: str) -> None:
        if worker in self._executor:
            self._kill_why[worker] = why
            self._executor.kill(worker)

    def events(self) -> list[e.Event]:
        found, self._stillborn = self._stillborn, []
        for worker in tuple(self._names.values()):
            found += [event for m in self._executor.receive(worker) if (event := self._taken(worker, m)) is not None]
        for death in self._executor.dead():
            found += [event for m in death.last if (event := self._taken(death.worker, m)) is not None]
            why = self._kill_why.pop(death.worker, None) or self._broken.pop(death.worker, None) or death.why
            found.append(e.WorkerDied(death.worker, death.begun, why, death.was_killed))
            self._forget(death.worker)
        return found

    def begun(self, workers: Sequence[str]) -> dict[str, tuple[int, int]]:
        known = set(self._names.values())
        slots = {worker: self._executor.begun(worker) for worker in workers if worker in known}
        return {worker: (slot.serial, slot.since_us) for worker, slot in slots.items() if slot.since_us is not None}

    def wait(self, timeout_s: float, *others: int) -> None:
        for fd in others:
            self._poll.register(fd, select.POLLIN)
        for fd, worker in self._names.items():
            unsent = self._executor.unsent(worker)
            self._poll.modify(fd, select.POLLIN | (select.POLLOUT if unsent else 0))
        for fd, happened in self._poll.poll(timeout_s * 1000):
            if happened & select.POLLOUT and fd in self._names:
                self._executor.flush(self._names[fd])

    def end_strangers(self) -> dict[str, int]:
        return end_strangers(self._folder)

    def abandon(self) -> dict[str, int]:
        """One that does not die in time is left to `end_strangers`, which says so: its lock is held."""
        deaths = self._executor.close(grace_s=0.0)
        for worker in tuple(self._names.values()):
            self._forget(worker)
        self._kill_why.clear()
        self._broken.clear()
        self._stillborn.clear()
        return {death.worker: death.begun for death in deaths}

    def close(self) -> None:
        for death in self._executor.close():
            if not death.is_gone:
                self._notice(f"the worker {death.worker} stays behind: {death.why}")

    def _taken(self, worker: str, message: FromWorker) -> e.Event | None:
        if isinstance(message, Broken):
            self._broken[worker] = message.error
        return event_of(worker, message)

    def _forget(self, worker: str) -> None:
        for fd, name in tuple(self._names.items()):
            if name == worker:
                del self._names[fd]
                self._poll.unregister(fd)


def event_of(worker: str, message: FromWorker) -> e.Event | None:
    """A worker's message as an event; None for `Broken`, which is told by its death."""
    match message:
        case Done():
            effects = NO_EFFECTS if message.effects is None else _EFFECTS.decode(message.effects)
            return e.AttemptDone(
                worker, message.serial, message.result, message.took_us, message.log, message.reads, effects
            )
        case Failed():
            return e.AttemptErrored(
                worker, message.serial, message.error, message.detail, message.log, message.retryable
            )
        case PinAsked():
            return e.PinAsked(worker, message.serial, message.dataset, message.pin)
        case Returned():
            return e.AttemptsReturned(worker, message.serials, message.serial, message.running_us)
        case Ready():
            return e.WorkerReady(worker)
        case Broken():
            return None


def start_message(start: StartAttempt, active: Active) -> Start:
    """The message for an attempt. The idempotency key is the same for all attempts of the item, the token grows."""
    return Start(
        serial=start.serial,
        run=start.run,
        pipeline=start.pipeline,
        node=start.node.name,
        path=start.path,
        item=start.item,
        attempt=start.attempt,
        epoch=start.epoch,
        key=item_key(start.run, start.node.name, start.path, start.item),
        token=start.epoch,
        upstream=tuple(Upstream(node, key, value) for (node, key), value in start.upstream.items()),
        params=_params_of(active),
        window=active.window,
        events=active.events,
    )


def _params_of(active: Active) -> str:
    return _PARAMS.encode(active.params).decode() if active.params else "{}"
