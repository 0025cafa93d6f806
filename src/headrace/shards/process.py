"""The entry of a stream process: `python -m headrace.shards.process --wiring … --root … --shards "score:0;score:1"`."""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import selectors
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from headrace.errors import DisagreementError, HeadraceError, StoreError, SupersededError
from headrace.executors.output import take_standard_output
from headrace.executors.tracebacks import show_originals
from headrace.host.clock import SystemClock
from headrace.host.doorbell import ring
from headrace.shards.project import Opened, ProjectParts, Setup
from headrace.shards.runner import StreamRunner
from headrace.streams.place import places_of

PAUSE_AFTER_ERROR_S = 1.0


class Waker:
    """What a process sleeps on: the pipe from its engine, and its own threads. The end of the pipe is the engine's."""

    def __init__(self, fd: int | None) -> None:
        self.is_orphan = False
        self._engine = fd
        self._own, self._ring = os.pipe()
        os.set_blocking(self._own, False)
        os.set_blocking(self._ring, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._own, selectors.EVENT_READ)
        if fd is not None:
            os.set_blocking(fd, False)
            self._selector.register(fd, selectors.EVENT_READ)

    def ring(self) -> None:
        """Wake up. Any thread, and a signal handler, may call it."""
        try:
            os.write(self._ring, b"1")
        except BlockingIOError:
            return  # full of rings already

    def wait(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            self._drain(key.fd)

    def _drain(self, fd: int) -> None:
        try:
            while body := os.read(fd, 4096):
                if len(body) < 4096:
                    return
        except BlockingIOError:
            return
        if fd == self._engine:  # its last writer is gone
            self.is_orphan = True


def main(arguments: Sequence[str] | None = None) -> int:
    """Own the shards until SIGTERM, or until the engine that started this process is gone."""
    given = _parser().parse_args(arguments)
    take_standard_output()
    show_originals(Path(given.code_path), Path(given.root), given.project)
    waker = Waker(given.wake_fd)
    is_over: list[int] = []
    running: list[StreamRunner] = []

    def leave(number: int, _: object) -> None:
        is_over.append(number)
        for found in running:
            found.forget_hands()
        waker.ring()

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    try:
        runner, close = open_runner(given, waker)
    except HeadraceError as error:
        print(error, file=sys.stderr, flush=True)  # noqa: T201
        return error.exit_code
    running.append(runner)
    try:
        run(runner, waker, lambda: bool(is_over) or waker.is_orphan)
    except HeadraceError as error:
        print(error, file=sys.stderr, flush=True)  # noqa: T201
        return error.exit_code
    finally:
        runner.close()
        close()
    return 0


def run(runner: StreamRunner, waker: Waker, should_stop: Callable[[], bool]) -> None:
    """Rounds until told to stop. A store that refuses (a full disk) is tried again. Raises SupersededError."""
    while not should_stop():
        if runner.is_store_behind:  # a reader keeps the write-ahead log from being emptied: do not add to it
            waker.wait(PAUSE_AFTER_ERROR_S)
            continue
        try:
            is_busy = runner.tick()
        except (SupersededError, DisagreementError):  # what this process believes is not what the rows say
            raise
        except StoreError as error:
            print(error, file=sys.stderr, flush=True)  # noqa: T201
            time.sleep(PAUSE_AFTER_ERROR_S)
            continue
        waker.wait(0 if is_busy else runner.patience_s)


def open_runner(given: argparse.Namespace, waker: Waker) -> tuple[StreamRunner, Callable[[], None]]:
    """The runner over the project's own store, and what closes that store."""
    setup = Setup(Path(given.root), given.code, Path(given.code_path), given.project, Path(given.store))
    opened = _wired(given.wiring)(setup)
    clock = SystemClock()
    runner = StreamRunner(
        opened.store, ProjectParts(opened, clock, wake=waker.ring), clock,
        name=f"stream process {os.getpid()}", ring=lambda: _ring(given.ring),
    )  # fmt: skip
    runner.want(places_of(given.shards))
    gc.freeze()  # what is loaded now stays: the collector need not walk it in the loop
    return runner, opened.store.close


def _wired(wiring: str) -> Callable[[Setup], Opened]:
    # By name, so that this room does not know the root, which puts every process's adapters together.
    module, _, function = wiring.partition(":")
    return getattr(importlib.import_module(module), function)


def _ring(bell: str | None) -> None:
    if bell is not None:
        ring(Path(bell))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m headrace.shards.process", description=__doc__)
    parser.add_argument("--wiring", required=True, help="module:function that opens the project")
    parser.add_argument("--root", required=True, help="the project's folder")
    parser.add_argument("--code", required=True, help="the code version")
    parser.add_argument("--code-path", required=True, help="the copy of the package that this process serves")
    parser.add_argument("--project", required=True, help="the name of the package")
    parser.add_argument("--store", required=True, help="the database")
    parser.add_argument("--shards", required=True, help='what to own: "score:0;score:1;trigger/pipeline/slug"')
    parser.add_argument("--ring", help="the engine's doorbell")
    parser.add_argument("--wake-fd", type=int, help="a pipe: bytes mean news, its end means that the engine is gone")
    return parser


if __name__ == "__main__":
    sys.exit(main())
