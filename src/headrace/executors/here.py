"""The engine's one worker when a run happens in this process: attempts run between two rounds of the loop."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from headrace.errors import StoreError
from headrace.executors.attempt import AttemptRunner
from headrace.executors.crew import event_of, start_message
from headrace.executors.inline import InlineExecutor
from headrace.executors.protocol import PinAsked, Start
from headrace.runs import events as e
from headrace.runs.active import Active
from headrace.runs.commands import StartAttempt


class _Unpinned(BaseException):
    """Raised inside the user's code where the store did not take its pin. No Exception, so `except Exception` lets it by."""


class HereCrew:
    """Implements `ports.Workers` in this process. `act` is the engine's own step, for what attempts ask as they run."""

    def __init__(self, runner: AttemptRunner, log: Path, act: Callable[[Sequence[e.Event]], object]) -> None:
        self._act = act
        self._trouble: Exception | None = None
        self._executor = InlineExecutor(runner, log, self._pin)
        self._queue: deque[tuple[str, Start]] = deque()
        self._ready: list[e.Event] = []
        self._living: set[str] = set()
        self._current = ""
        self._pins: dict[tuple[int, str], Any] = {}

    def spawn(self, worker: str, code: str) -> None:
        self._executor.spawn(worker)
        self._living.add(worker)
        self._ready.append(e.WorkerReady(worker))

    def start(self, worker: str, attempts: Sequence[tuple[StartAttempt, Active]]) -> None:
        if worker in self._living:
            self._queue.extend((worker, start_message(start, active)) for start, active in attempts)

    def answer_pin(self, worker: str, serial: int, dataset: str, pin: Any) -> None:
        self._pins[serial, dataset] = pin

    def stop(self, worker: str) -> None:
        self._end(worker, "asked to leave")

    def cancel(self, worker: str, serial: int) -> None:
        """What waits is not run; what runs here runs to its end."""
        waiting = next((pair for pair in self._queue if pair[1].serial == serial), None)
        if waiting is not None:
            self._queue.remove(waiting)
            self._ready.append(e.AttemptErrored(worker, serial, "the run was cancelled", retryable=False))

    def kill(self, worker: str, why: str) -> None:
        """An attempt in this process cannot be killed; what waits in the queue is not begun."""
        self._end(worker, why)

    def events(self) -> list[e.Event]:
        """Runs the next attempt, if there is one, and tells how it went.

        Raises what kept the store from taking a pin: no fault of the task, which is therefore not told to have failed.
        """
        found, self._ready = self._ready, []
        if not found and self._queue:
            worker, start = self._queue.popleft()
            self._current = worker
            self._executor.send(worker, [start])
            if self._trouble is not None:
                raise self._trouble
            for message in self._executor.receive(worker):
                event = event_of(worker, message)
                if event is not None and not isinstance(event, e.WorkerReady):
                    found.append(event)
        return found

    def begun(self, workers: Sequence[str]) -> dict[str, tuple[int, int]]:
        return {}

    def wait(self, timeout_s: float, *others: int) -> None:
        if not self._queue and not self._ready:
            time.sleep(timeout_s)

    def end_strangers(self) -> dict[str, int]:
        return {}

    def abandon(self) -> dict[str, int]:
        begun = {event.worker: event.begun for event in self._ready if isinstance(event, e.WorkerDied)}
        begun |= {worker: self._executor.begun(worker).serial for worker in self._living}
        self._living.clear()
        self._queue.clear()
        self._ready.clear()
        return begun

    def close(self) -> None:
        self._executor.close()

    def _end(self, worker: str, why: str) -> None:
        if worker in self._living:
            self._living.remove(worker)
            self._queue = deque(pair for pair in self._queue if pair[0] != worker)
            self._ready.append(e.WorkerDied(worker, self._executor.begun(worker).serial, why))

    def _pin(self, asked: PinAsked) -> Any:
        try:
            self._act([e.PinAsked(self._current, asked.serial, asked.dataset, asked.pin)])
        except Exception as error:
            self._trouble = error
            raise _Unpinned from error
        if (asked.serial, asked.dataset) not in self._pins:  # the engine has begun again and knows no such attempt
            self._trouble = StoreError(
                f"the run began again from its rows while its task read {asked.dataset}, which was not pinned",
                where=f"attempt {asked.serial}",
                cure="headrace doctor says whether the store is sound",
            )
            raise _Unpinned
        return self._pins.pop((asked.serial, asked.dataset))
