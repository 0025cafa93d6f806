"""The processes beside the workers: stream processes are started, watched and, after a death, started again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from headrace.definitions.project import OnEvent, Project
from headrace.ports import Clock

GRACE_S = 5.0
BACKOFF_US = (0, 200_000, 1_000_000, 5_000_000)  # before the first, second … start after a death


@dataclass(slots=True)
class StreamProcess:
    """One process with the shards that it hosts."""

    name: str
    arguments: tuple[str, ...]
    popen: subprocess.Popen[bytes]
    wake_fd: int
    started_us: int


@dataclass(slots=True)
class _Wanted:
    """What should run: a name, its arguments, and how often it died lately."""

    name: str
    arguments: tuple[str, ...]
    deaths: int = 0
    due_us: int = 0


def shard_arguments(project: Project, processes: int) -> list[tuple[str, ...]]:
    """Spread the shards of all streams, and the event triggers, over so many processes: `--shards`, `--triggers`.

    >>> shard_arguments(Project("p"), 2)
    []
    """
    places: list[str] = []
    for stream in project.streams.values():
        topic = project.topics.get(stream.source.topic)
        places += [f"{stream.name}:{shard}" for shard in range(topic.partitions if topic else 1)]
    for definition in project.pipelines.values():
        places += [f"trigger/{definition.name}/{t.slug}" for t in definition.triggers if isinstance(t, OnEvent)]
    groups = [places[i::processes] for i in range(processes)]
    return [("--shards", ";".join(group)) for group in groups if group]


@dataclass(slots=True)
class StreamSupervisor:
    """Keeps one set of stream processes alive. `command` are the arguments that all of them share.

    A child ends by itself when its wake pipe closes, so none outlives this process.
    """

    command: Callable[[str, Path], tuple[str, ...]]
    logs: Path
    clock: Clock
    processes: dict[str, StreamProcess] = field(default_factory=dict[str, StreamProcess])
    _wanted: dict[str, _Wanted] = field(default_factory=dict[str, _Wanted])
    _common: tuple[str, ...] = ()
    _told: set[int] = field(default_factory=set[int])
    environment: Mapping[str, str] = field(default_factory=dict[str, str])

    def deploy(self, code: str, code_path: Path, groups: list[tuple[str, ...]]) -> None:
        """Run these groups of shards on this code version: the old processes finish their batch and leave first."""
        self.stop()
        self._common = self.command(code, code_path)
        self._wanted = {f"stream-{i}": _Wanted(f"stream-{i}", group) for i, group in enumerate(groups, 1)}
        self.tend()

    def tend(self) -> list[str]:
        """Start what should run and does not. Returns what happened, in words."""
        news: list[str] = []
        now_us = self.clock.monotonic_us()
        for name, process in tuple(self.processes.items()):
            code = process.popen.poll()
            if code is None:
                continue
            os.close(process.wake_fd)
            _end_children(process)
            del self.processes[name]
            wanted = self._wanted.get(name)
            if process.popen.pid in self._told:
                self._told.discard(process.popen.pid)
                news.append(f"{name} was told to leave; it starts again")
            elif wanted is not None:
                lived_us = now_us - process.started_us
                wanted.deaths = 1 if lived_us > 30_000_000 else wanted.deaths + 1
                wanted.due_us = now_us + BACKOFF_US[min(wanted.deaths - 1, len(BACKOFF_US) - 1)]
                news.append(f"{name} died ({_how(code)}); it starts again; its log: {self._log(name)}")
        for wanted in self._wanted.values():
            if wanted.name not in self.processes and wanted.due_us <= now_us:
                self.processes[wanted.name] = self._start(wanted, now_us)
        return news

    def wake(self) -> None:
        """Tell every process that there may be new rows."""
        for process in self.processes.values():
            try:
                os.write(process.wake_fd, b"1")
            except (BlockingIOError, BrokenPipeError):
                continue  # it has enough rings waiting, or is gone and `tend` will see it

    def is_child(self, pid: int) -> bool:
        return any(process.popen.pid == pid for process in tuple(self.processes.values()))

    def let_go(self, pid: int, *, at_once: bool) -> None:
        """End a child that keeps others waiting. Any thread may call it.

        First it is woken, where it was stopped, and told to leave: what it has in hand is then not to blame.
        """
        self._told.add(pid)
        for number in (signal.SIGKILL,) if at_once else (signal.SIGTERM, signal.SIGCONT):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def stop(self) -> None:
        """Let every process finish its batch and leave; end those that do not within the grace."""
        self._wanted = {}
        for process in self.processes.values():
            process.popen.send_signal(signal.SIGTERM)
        until_s = time.monotonic() + GRACE_S
        for process in self.processes.values():
            try:
                process.popen.wait(max(0.0, until_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.popen.kill()
                process.popen.wait()
            os.close(process.wake_fd)
        self.processes = {}

    def _log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def _start(self, wanted: _Wanted, now_us: int) -> StreamProcess:
        read_fd, write_fd = os.pipe()
        os.set_blocking(write_fd, False)
        self.logs.mkdir(parents=True, exist_ok=True)
        command = (
            sys.executable, "-m", "headrace.shards.process",
            *self._common, *wanted.arguments, "--wake-fd", str(read_fd),
        )  # fmt: skip
        with self._log(wanted.name).open("ab") as output:
            popen = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=(read_fd,),
                start_new_session=True,  # Ctrl-C is for the engine, which tells its children
                env={**os.environ, **self.environment},
            )  # fmt: skip
        os.close(read_fd)
        return StreamProcess(wanted.name, wanted.arguments, popen, write_fd, now_us)


def _end_children(process: StreamProcess) -> None:
    """What user code has started there has nobody to work for any longer. Its session is named after the process."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.popen.pid, signal.SIGKILL)


def _how(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
