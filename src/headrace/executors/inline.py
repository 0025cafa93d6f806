"""Attempts in this process, one after the other: for `pipeline.run()`, notebooks and tests."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from headrace.executors.attempt import AttemptRunner
from headrace.executors.output import LogFile, Tee
from headrace.executors.protocol import FromWorker, PinAsked, Ready, Start, ToWorker
from headrace.executors.slot import Begun

AnswerPin = Callable[[PinAsked], Any]


class InlineExecutor:
    """The executor of a run in process. `send` runs the attempts before it returns; `receive` gives their reports.

    `answer_pin` decides and commits what a first read gets, while the attempt waits inside `send`. What tasks print is
    shown as ever and kept in the log.
    """

    def __init__(self, runner: AttemptRunner, log: Path, answer_pin: AnswerPin) -> None:
        self._runner = runner
        self._log = LogFile(log, log.name)
        self._answer_pin = answer_pin
        self._reports: dict[str, deque[FromWorker]] = {}
        self._begun: dict[str, int] = {}

    def spawn(self, worker: str) -> None:
        """A worker in name only; it is ready at once."""
        self._reports[worker] = deque([Ready(0, 0)])
        self._begun[worker] = 0

    def send(self, worker: str, messages: Sequence[ToWorker]) -> bool:
        for message in messages:
            if isinstance(message, Start):
                self._run(worker, message)
            # A cancel finds nothing: what was sent is done. Everything else is for processes.
        return True

    def receive(self, worker: str) -> list[FromWorker]:
        reports = list(self._reports[worker])
        self._reports[worker].clear()
        return reports

    def begun(self, worker: str) -> Begun:
        return Begun(self._begun[worker], None)

    def close(self) -> None:
        self._log.close()

    def _run(self, worker: str, start: Start) -> None:
        self._begun[worker] = start.serial
        with Tee(self._log):
            report = self._runner.run(start, partial(self._ask, start.serial))
        span = self._log.span()
        if span is not None:
            report = msgspec.structs.replace(report, log=span)
        self._reports[worker].append(report)

    def _ask(self, serial: int, dataset: str, pin: Any) -> Any:
        return self._answer_pin(PinAsked(serial, dataset, pin))
