"""The worker process: `python -m headrace.executors.worker <socket> <lock> <name>`. Runs attempts until told to stop.

A fresh interpreter and the leader of its own session. It holds the lock that its engine took for it, so whoever finds
the lock free knows that neither it nor its children run. It sends no heartbeats: the process and the pipe are its life.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from headrace.errors import RefusedError
from headrace.executors.attempt import AttemptCancelled, AttemptRunner, failure
from headrace.executors.backlog import Backlog
from headrace.executors.channel import Channel
from headrace.executors.limits import Limits
from headrace.executors.output import LogFile, ProcessOutput
from headrace.executors.parts import Parts
from headrace.executors.protocol import Broken, Cancel, PinAnswer, PinAsked, Ready, Setup, Start, Stop
from headrace.executors.slot import Slot
from headrace.executors.tracebacks import one_line, show_originals, user_frames
from headrace.host.failpoints import reach


class Worker:
    """Works through its backlog in the order of the serials."""

    def __init__(self, channel: Channel, slot: Slot, output: ProcessOutput, runner: AttemptRunner) -> None:
        self._channel = channel
        self._slot = slot
        self._output = output
        self._runner = runner
        self._backlog = Backlog(slot, self._read_late, channel.send)
        self._cancelled: set[int] = set()
        self._answers: dict[tuple[int, str], PinAnswer] = {}
        self._reading = threading.RLock()  # the socket: by whoever waits, else by the signal or the backlog
        self._serial = 0
        self._pid = os.getpid()
        self._root = os.open(".", os.O_RDONLY)
        self._in_task = False
        self._is_poked = False
        self._is_stopping = False
        self._limits, self._is_limited = Limits(), False
        signal.signal(signal.SIGINT, self._poked)

    def serve(self, first: list[Any]) -> None:
        """Work through these messages and all that follow, until told to stop."""
        self._take(first)
        while True:
            while (start := self._backlog.take()) is None:
                if self._is_stopping:
                    self._channel.flush()
                    return
                self._wait()
            self._run(start)
            if self._is_limited:  # what waits was not begun, and goes to another worker
                self._channel.flush()
                return

    def _run(self, start: Start) -> None:
        self._serial = start.serial
        began_us = _now_us()
        self._slot.begin(start.serial, began_us)
        try:
            self._in_task = True
            self._look_for_cancel()
            report = self._runner.run(start, partial(self._ask, start.serial))
            self._in_task = False
        except AttemptCancelled as error:  # it came outside the user's own code
            self._in_task = False
            report = failure(start.serial, error, _now_us() - began_us)
        if os.getpid() != self._pid:  # the task forked, and its child has come back out of it
            os._exit(0)
        self._cancelled.discard(start.serial)
        os.fchdir(self._root)  # where the next task expects to be
        self._is_limited = not self._limits.restore()
        span = self._output.span()
        if span is not None:
            report = msgspec.structs.replace(report, log=span)
        self._slot.end()
        reach("worker.before_report")
        self._channel.report(report, _now_us(), more=bool(self._backlog))

    def _wait(self) -> None:
        """Until there is something to do."""
        with self._reading:
            if not self._backlog and not self._is_stopping:  # else the backlog has read it meanwhile
                self._take(self._channel.receive())

    def _ask(self, serial: int, dataset: str, pin: Any) -> Any:
        """What the run reads of the dataset. Any thread of the task may ask."""
        with self._reading:
            self._in_task = False  # a cancel that comes now is read below, not by the signal
            try:
                self._channel.send(PinAsked(serial, dataset, pin))
                while (serial, dataset) not in self._answers:
                    self._take(self._channel.receive())
                    if serial in self._cancelled:
                        raise AttemptCancelled
                answer = self._answers.pop((serial, dataset))
            finally:
                self._in_task = True
                if serial in self._cancelled and threading.current_thread() is not threading.main_thread():
                    self._poke()  # here it is raised in this thread alone
        if answer.error is not None:
            raise RefusedError(answer.error, where=dataset)
        return answer.pin

    def _take(self, messages: list[Any]) -> None:
        for message in messages:
            match message:
                case Start():
                    self._backlog.put(message)
                case Cancel(serial=serial):
                    self._cancel(serial)
                case PinAnswer(serial=serial, dataset=dataset):
                    self._answers[serial, dataset] = message
                case Stop():
                    self._is_stopping = True
                case _:
                    raise AssertionError(f"a worker does not understand {message!r}")

    def _cancel(self, serial: int) -> None:
        if self._backlog.remove(serial):
            self._channel.report(failure(serial, AttemptCancelled(), 0), _now_us(), more=bool(self._backlog))
        elif serial == self._serial:
            self._cancelled.add(serial)

    def _poked(self, _signal: int, _frame: object) -> None:
        """SIGINT: there is a Cancel in the socket. Only while user code runs nobody else reads it."""
        self._is_poked = True
        if self._in_task:
            self._look_for_cancel()

    def _look_for_cancel(self) -> None:
        if self._is_poked:
            self._is_poked = False
            self._read()
            if self._serial in self._cancelled:
                raise AttemptCancelled

    def _read(self) -> None:
        """Take what is there. Where another thread reads just now, that one does."""
        if self._reading.acquire(blocking=False):
            try:
                self._take(self._channel.receive(wait=False))
            finally:
                self._reading.release()

    def _read_late(self) -> list[Start]:
        """The starts that have come while the main thread is in a task. What else has come is taken."""
        if not self._reading.acquire(blocking=False):
            return []
        try:
            messages = self._channel.receive(wait=False)
            self._take([message for message in messages if not isinstance(message, Start)])
        finally:
            self._reading.release()
        if any(isinstance(message, Cancel) for message in messages):
            self._poke()
        return [message for message in messages if isinstance(message, Start)]

    def _poke(self) -> None:
        """Let the main thread look: the signal that told of the cancel may have come before it was read elsewhere."""
        os.kill(self._pid, signal.SIGINT)


def main(arguments: list[str]) -> None:
    """Load what the first message names, say `Ready`, and serve."""
    socket_fd, lock_fd, name = int(arguments[0]), int(arguments[1]), arguments[2]
    began_us = _now_us()
    os.set_inheritable(lock_fd, False)
    os.register_at_fork(after_in_child=partial(os.close, lock_fd))
    os.truncate(lock_fd, 0)
    os.pwrite(lock_fd, f"{os.getpid()} {name}\n".encode(), 0)
    channel = Channel(socket_fd)
    first: list[Any] = []
    while not first:
        first = channel.receive()
    setup: Setup = first[0]
    output = ProcessOutput(LogFile(Path(setup.log), setup.log_name))
    slot = Slot(Path(setup.slot))
    show_originals(Path(setup.code_path), Path(setup.root), setup.project)
    try:
        runner = AttemptRunner(_parts(setup))
    except BaseException as error:
        channel.send(Broken(one_line(error), user_frames(error)))
        os._exit(1)
    # What was imported lives as long as the worker: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    worker = Worker(channel, slot, output, runner)
    channel.send(Ready(os.getpid(), _now_us() - began_us))
    worker.serve(first[1:])


def _parts(setup: Setup) -> Parts:
    # By name, so that this room needs neither the store nor the storage: the engine's own code names the function.
    module, _, function = setup.wiring.partition(":")
    make: Callable[[Setup], Parts] = getattr(importlib.import_module(module), function)
    return make(setup)


def _now_us() -> int:
    return time.monotonic_ns() // 1000


if __name__ == "__main__":
    main(sys.argv[1:])
