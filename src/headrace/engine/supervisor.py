"""The processes beside the workers: stream processes are started, watched and, after a death, started again."""

from __future__ import annotations

import contextlib
import fcntl
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
from headrace.streams.owner import Hand
from headrace.streams.place import Place, places_text

GRACE_S = 5.0
KILLED_S = 5.0  # so long until the kernel has ended a process that was killed
BACKOFF_US = (0, 200_000, 1_000_000, 5_000_000)  # before the first, second … start after a death
HOPELESS = 3  # deaths in a row: whoever looks at the shards must then find the reason there
_LAST_BYTES = 4096


@dataclass(slots=True)
class StreamProcess:
    """One process with what it hosts."""

    name: str
    places: tuple[Place, ...]
    popen: subprocess.Popen[bytes]
    wake_fd: int
    started_us: int
    log_start: int  # where its own words begin in the log


@dataclass(frozen=True, slots=True)
class Death:
    """A process is gone, `how` and with which `log`. `shards` are set where it died soon, and not for the first time:
    what they stand still for must then be found at them."""

    words: str
    shards: tuple[tuple[str, int], ...] = ()
    how: str = ""
    log: str = ""

    def why(self, shard: tuple[str, int], in_hand: Mapping[tuple[str, int], Hand]) -> str:
        """Why a shard stands still. `in_hand` are those whose rows user code was running over when the process died."""
        hand = in_hand.get(shard)
        if hand is not None:
            return (
                f"its rows {hand.first} to {hand.end - 1} killed its process ({self.how}):"
                f" they are cut down until the one that does is a dead letter; its log: {self.log}"
            )
        if in_hand:
            names = sorted({stream for stream, _ in in_hand})
            return (
                f"it shares a process with {' and '.join(names)}, whose rows kill it: it goes on when those are found"
            )
        return f"its process dies as soon as it starts ({self.how}); its log: {self.log}"


@dataclass(slots=True)
class _Wanted:
    """What should run: a name, what it hosts, and how often it died lately."""

    name: str
    places: tuple[Place, ...]
    deaths: int = 0
    due_us: int = 0


def spread(project: Project, processes: int) -> list[tuple[Place, ...]]:
    """The shards of all streams, and the event triggers, over at most so many processes.

    >>> spread(Project("p"), 2)
    []
    """
    places: list[Place] = []
    for stream in project.streams.values():
        topic = project.topics.get(stream.source.topic)
        places += [Place(stream.name, shard) for shard in range(topic.partitions if topic else 1)]
    for definition in project.pipelines.values():
        places += [Place(definition.name, slug=t.slug) for t in definition.triggers if isinstance(t, OnEvent)]
    groups = [tuple(places[i::processes]) for i in range(processes)]
    return [group for group in groups if group]


@dataclass(slots=True)
class StreamSupervisor:
    """Keeps one set of stream processes alive. `command` are the arguments that all of them share.

    A child ends by itself when its wake pipe closes, so none outlives this process.
    """

    command: Callable[[str, Path], tuple[str, ...]]
    logs: Path
    clock: Clock
    processes: dict[str, StreamProcess] = field(default_factory=dict[str, StreamProcess])
    _leaving: list[StreamProcess] = field(default_factory=list[StreamProcess])
    _leave_until_us: int = 0
    _wanted: dict[str, _Wanted] = field(default_factory=dict[str, _Wanted])
    _common: tuple[str, ...] = ()
    _told: set[int] = field(default_factory=set[int])
    environment: Mapping[str, str] = field(default_factory=dict[str, str])

    def deploy(self, code: str, code_path: Path, groups: list[tuple[Place, ...]]) -> None:
        """Run a process for each of these groups on this code version: the old processes finish their batch and leave first.

        Returns at once; `tend` starts the new ones when the last of the old ones is gone.
        """
        self._let_all_go()
        self._common = self.command(code, code_path)
        self._wanted = {f"stream-{i}": _Wanted(f"stream-{i}", group) for i, group in enumerate(groups, 1)}
        self.tend()

    @property
    def is_changing(self) -> bool:
        """Whether processes are still to leave before others can start."""
        return bool(self._leaving)

    def tend(self) -> list[Death]:
        """Start what should run and does not, end who should have left. Returns who has died."""
        deaths: list[Death] = []
        now_us = self.clock.monotonic_us()
        self._tend_leaving(now_us)
        for name, process in tuple(self.processes.items()):
            code = process.popen.poll()
            if code is None:
                continue
            _clear_up(process)
            del self.processes[name]
            wanted = self._wanted.get(name)
            if process.popen.pid in self._told:
                self._told.discard(process.popen.pid)
                deaths.append(Death(f"{name} was told to leave; it starts again"))
            elif wanted is not None:
                lived_us = now_us - process.started_us
                wanted.deaths = 1 if lived_us > 30_000_000 else wanted.deaths + 1
                wanted.due_us = now_us + BACKOFF_US[min(wanted.deaths - 1, len(BACKOFF_US) - 1)]
                deaths.append(self._death(process, wanted.deaths, code))
        for wanted in self._wanted.values():
            if wanted.name not in self.processes and wanted.due_us <= now_us and not self._leaving:
                self.processes[wanted.name] = self._start(wanted, now_us)
        return deaths

    def wake(self) -> None:
        """Tell every process that there may be new rows."""
        for process in self.processes.values():
            try:
                os.write(process.wake_fd, b"1")
            except (BlockingIOError, BrokenPipeError):
                continue  # it has enough rings waiting, or is gone and `tend` will see it

    def is_child(self, pid: int) -> bool:
        return any(process.popen.pid == pid for process in (*self.processes.values(), *self._leaving))

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
        self._let_all_go()
        for grace_s in (GRACE_S, KILLED_S):
            until_s = time.monotonic() + grace_s
            for process in self._leaving:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.popen.wait(max(0.0, until_s - time.monotonic()))
            self._tend_leaving(self._leave_until_us)
        self._leaving = []  # whom even a kill does not end waits for a disk: its right is free when that answers

    def _let_all_go(self) -> None:
        """Tell every process to leave: `_tend_leaving` sees to it that they do."""
        self._leave_until_us = self.clock.monotonic_us() + int(GRACE_S * 1e6)
        for process in self.processes.values():
            process.popen.send_signal(signal.SIGTERM)
        self._leaving += self.processes.values()
        self.processes = {}

    def _tend_leaving(self, now_us: int) -> None:
        for process in tuple(self._leaving):
            if process.popen.poll() is not None:
                _clear_up(process)
                self._leaving.remove(process)
            elif now_us >= self._leave_until_us:
                process.popen.kill()

    def _death(self, process: StreamProcess, deaths: int, code: int) -> Death:
        log = self._log(process.name)
        how = ": ".join(filter(None, (_how(code), _last_words(log, process.log_start))))
        words = f"{process.name} died ({how}); it starts again; its log: {log}"
        if deaths < HOPELESS:
            return Death(words)
        shards = tuple((place.name, place.number) for place in process.places if place.number is not None)
        return Death(words, shards, how, str(log))

    def _log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def _start(self, wanted: _Wanted, now_us: int) -> StreamProcess:
        read_fd, write_fd = os.pipe()
        os.set_blocking(write_fd, False)
        self.logs.mkdir(parents=True, exist_ok=True)
        command = (
            sys.executable, "-m", "headrace.shards.process",
            *self._common, "--shards", places_text(wanted.places), "--wake-fd", str(read_fd),
        )  # fmt: skip
        with self._log(wanted.name).open("ab") as output:
            fcntl.flock(output, fcntl.LOCK_SH)  # the process has it too: retention leaves its log alone
            log_start = output.tell()
            popen = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=(read_fd,),
                start_new_session=True,  # Ctrl-C is for the engine, which tells its children
                env={**os.environ, **self.environment},
            )  # fmt: skip
        os.close(read_fd)
        return StreamProcess(wanted.name, wanted.places, popen, write_fd, now_us, log_start)


def _clear_up(process: StreamProcess) -> None:
    """What user code has started there has nobody to work for any longer. Its session is named after the process."""
    os.close(process.wake_fd)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.popen.pid, signal.SIGKILL)


def _how(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _last_words(log: Path, start: int) -> str:
    """The last line that says what happened: further lines of a message, such as its cure, are indented."""
    with log.open("rb") as file:
        file.seek(max(start, log.stat().st_size - _LAST_BYTES))
        lines = file.read().decode("utf-8", "replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip() and not line[0].isspace()), "")
