"""Workers on this machine: one process each, one socket each, driven by the engine's own loop and selector.

Nothing here blocks (but `close` and `end_strangers`, within their time) and nothing needs a thread.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from headrace.errors import EngineUnavailableError, NotFoundError
from headrace.executors.frames import FrameReader, frame
from headrace.executors.protocol import Cancel, FromWorker, Setup, Stop, ToWorker
from headrace.executors.slot import Begun, Slot, last_begun

KILLED_S = 5.0  # so long may a killed process take to be gone
_READ_BYTES = 1 << 20
_UNSENT_LIMIT_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Death:
    """The end of a worker: how, the last attempt that it began, and what it had still sent."""

    worker: str
    why: str
    begun: int
    last: tuple[FromWorker, ...]
    is_gone: bool = True
    was_killed: bool = False


@dataclass(slots=True)
class _Process:
    popen: subprocess.Popen[bytes]
    socket: socket.socket
    slot: Slot
    slot_path: Path
    lock_path: Path
    reader: FrameReader
    unsent: bytearray = field(default_factory=bytearray)
    at_end: bool = False


class LocalExecutor:
    """The workers of one engine. `folder` holds their locks and slots, `logs` their logs."""

    def __init__(self, folder: Path, logs: Path) -> None:
        self._folder, self._logs = folder.absolute(), logs.absolute()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._logs.mkdir(parents=True, exist_ok=True)
        self._processes: dict[str, _Process] = {}

    def __len__(self) -> int:
        return len(self._processes)

    def __contains__(self, worker: str) -> bool:
        """Whether it can be sent to; not once `dead` has told its end."""
        return worker in self._processes

    def spawn(
        self,
        worker: str,
        *,
        wiring: str,
        home: Path,
        root: Path,
        code_path: Path,
        project: str,
        store: str = "",
        allow_pickle: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Start a worker for one code version; it says `Ready` or `Broken`. `worker` is a name never used before.

        Raises `EngineUnavailableError` where the name is in use or no process can be started.
        """
        log, slot_path = self._logs / f"{worker}.log", self._folder / f"{worker}.slot"
        lock_path = self._folder / f"{worker}.lock"
        setup = Setup(
            worker, wiring, str(home), str(root), str(code_path), project,
            str(slot_path), str(log), log.name, store, allow_pickle,
        )  # fmt: skip
        try:
            self._processes[worker] = _begin(worker, lock_path, slot_path, log, root, {**os.environ, **(env or {})})
        except OSError as error:
            raise EngineUnavailableError(
                f"the worker {worker} cannot be started: {error}",
                cure="see ulimit -u and -n, free memory and free disk",
                code="HR5030",
            ) from error
        self.send(worker, [setup])

    def fileno(self, worker: str) -> int:
        """For a selector: readable for messages or the worker's end, writable where `unsent` can go on."""
        return self._process(worker).socket.fileno()

    def send(self, worker: str, messages: Sequence[ToWorker]) -> bool:
        """Hand the messages over as one frame. False, and nothing taken, where too much is still unsent."""
        process = self._process(worker)
        if len(process.unsent) > _UNSENT_LIMIT_BYTES:
            return False
        process.unsent += frame(messages)
        self.flush(worker)
        return True

    def unsent(self, worker: str) -> bool:
        return bool(self._process(worker).unsent)

    def flush(self, worker: str) -> None:
        """Send on what the socket did not take before."""
        process = self._process(worker)
        while process.unsent:
            try:
                sent = process.socket.send(process.unsent)
            except BlockingIOError:
                return
            except OSError:  # it has ended; `dead` tells
                process.unsent.clear()
                return
            del process.unsent[:sent]

    def receive(self, worker: str) -> list[FromWorker]:
        """The messages that are there."""
        process = self._process(worker)
        messages: list[FromWorker] = []
        while not process.at_end:
            try:
                data = process.socket.recv(_READ_BYTES)
            except BlockingIOError:
                break
            except ConnectionError:
                data = b""
            process.at_end = not data
            messages += process.reader.feed(data)
            if len(data) < _READ_BYTES:
                break
        return messages

    def begun(self, worker: str) -> Begun:
        """Which attempt it began last, and since when that runs. Every started serial up to it was begun."""
        return self._process(worker).slot.read()

    def cancel(self, worker: str, serial: int) -> None:
        """Ask the worker to stop the attempt; where its code does not listen, `kill`."""
        self.send(worker, [Cancel(serial)])
        self._signal(worker, signal.SIGINT, group=False)

    def kill(self, worker: str) -> None:
        """End the worker and its children at once; `dead` tells when it is gone."""
        self._signal(worker, signal.SIGKILL, group=True)

    def dead(self) -> list[Death]:
        """The workers that ended since the last call. They are forgotten; call it when a socket is at its end."""
        return [self._buried(worker) for worker in list(self._processes) if self._has_ended(worker)]

    def close(self, grace_s: float = 5.0) -> list[Death]:
        """Let all workers finish what they have, at most so long, then end them and forget them all.

        One that does not end even so, after a few seconds more (a disk that hangs, say), is not gone.
        """
        deaths: list[Death] = []
        if grace_s > 0:
            for worker in self._processes:
                self.send(worker, [Stop()])
            deaths += self._wait(grace_s)
        for worker in self._processes:
            self.kill(worker)
        deaths += self._wait(KILLED_S)
        for worker, process in self._processes.items():
            why = f"process {process.popen.pid} was killed and does not end"
            deaths.append(Death(worker, why, process.slot.read().serial, (), is_gone=False))
            process.socket.close()
            process.slot.close()
        self._processes.clear()
        return deaths

    def _wait(self, seconds: float) -> list[Death]:
        """Until all have ended, at most so long."""
        deaths: list[Death] = []
        deadline = time.monotonic() + seconds
        while self._processes and time.monotonic() < deadline:
            deaths += self.dead()
            time.sleep(0.002)
        return deaths

    def _process(self, worker: str) -> _Process:
        try:
            return self._processes[worker]
        except KeyError:
            raise NotFoundError(f"there is no worker {worker!r}", cure="it has ended: dead() told so") from None

    def _signal(self, worker: str, number: int, *, group: bool) -> None:
        pid = self._process(worker).popen.pid
        try:
            (os.killpg if group else os.kill)(pid, number)
        except (ProcessLookupError, PermissionError):  # it has ended; macOS says the latter of a zombie
            return

    def _has_ended(self, worker: str) -> bool:
        popen = self._processes[worker].popen
        if not hasattr(os, "waitid"):  # macOS before Python 3.13
            return popen.poll() is not None
        # Looked at and not yet taken away: its group's number stays its own until its children are ended.
        return os.waitid(os.P_PID, popen.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _buried(self, worker: str) -> Death:
        last = tuple(self.receive(worker))
        process = self._processes[worker]
        while not process.at_end and (more := self.receive(worker)):
            last = (*last, *more)
        self.kill(worker)  # its children
        code = process.popen.wait()
        begun = process.slot.read().serial
        process.socket.close()
        process.slot.close()
        process.slot_path.unlink(missing_ok=True)
        process.lock_path.unlink(missing_ok=True)
        del self._processes[worker]
        return Death(worker, _why(code), begun, last, was_killed=code == -signal.SIGKILL)


def end_strangers(folder: Path, *, within_s: float = 5.0) -> dict[str, int]:
    """End the workers that an engine before this one left behind in the folder, and clear up after the dead.

    Gives for each the last serial that it began, read when it can begin no more. A lock that is held proves that its
    process or a child of it lives. Raises `EngineUnavailableError` where one does not end in time.
    """
    begun: dict[str, int] = {}
    deadline = time.monotonic() + within_s
    for path in sorted(folder.glob("*.lock")):
        with path.open("r+b") as file:
            while not _is_free(file.fileno()):
                pid = _pid_in(path)
                if pid:
                    _kill_group(pid)
                if time.monotonic() > deadline:
                    raise EngineUnavailableError(
                        f"the worker {path.stem} of an earlier engine does not end",
                        where=str(path),
                        cure=f"end process {pid or 'that holds this file'} yourself, then start again",
                        code="HR5031",
                    )
                time.sleep(0.005)
        slot_path = path.with_suffix(".slot")
        begun[path.stem] = last_begun(slot_path)
        slot_path.unlink(missing_ok=True)
        path.unlink()
    return begun


def _begin(worker: str, lock_path: Path, slot_path: Path, log: Path, root: Path, env: Mapping[str, str]) -> _Process:
    """Start its process. Raises OSError, and then nothing is left of it."""
    lock_fd = _take_lock(lock_path, worker)
    with ExitStack() as undone, ExitStack() as handed_over:
        # From its start on the worker alone holds its lock, and its end of the socket.
        handed_over.callback(os.close, lock_fd)
        undone.callback(lock_path.unlink)
        ours, theirs = socket.socketpair()
        undone.callback(ours.close)
        handed_over.callback(theirs.close)
        undone.callback(slot_path.unlink, missing_ok=True)
        slot = Slot(slot_path, create=True)
        undone.callback(slot.close)
        with log.open("ab") as output:
            popen = subprocess.Popen(
                [sys.executable, "-m", "headrace.executors.worker", str(theirs.fileno()), str(lock_fd), worker],
                cwd=root,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(theirs.fileno(), lock_fd),
                start_new_session=True,
            )
        ours.setblocking(False)
        undone.pop_all()
        return _Process(popen, ours, slot, slot_path, lock_path, FrameReader(list[FromWorker]))


def _take_lock(path: Path, worker: str) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if _is_free(fd):
        return fd
    os.close(fd)
    raise EngineUnavailableError(
        f"a worker named {worker} is running already", where=str(path), cure="is another engine at work?", code="HR5030"
    )


def _is_free(fd: int) -> bool:
    """Whether the lock is ours now."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _pid_in(path: Path) -> int:
    """The worker's process id; 0 while it has not written it yet."""
    words = path.read_text().split()
    return int(words[0]) if words else 0


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return  # the lock tells whether that was enough


def _why(code: int) -> str:
    if code >= 0:
        return f"the worker exited with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = " (out of memory?)" if name == "SIGKILL" else ""
    return f"the worker was killed by {name}{hint}"
