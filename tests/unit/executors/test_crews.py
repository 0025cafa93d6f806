"""What every crew promises its engine: `ports.Workers`, over processes, in this process, and in the simulator."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from headrace.executors import local
from headrace.executors.crew import LocalCrew
from headrace.executors.frames import frame
from headrace.executors.here import HereCrew
from headrace.executors.local import LocalExecutor
from headrace.executors.protocol import FromWorker, PinAsked
from headrace.executors.slot import Slot
from headrace.ports import Workers
from headrace.runs import events as e
from headrace.testing.auditor.witness import Witness
from headrace.testing.simulator.crew import SimCrew
from headrace.testing.simulator.draw import Draw
from headrace.testing.simulator.world import SECOND, World


class Bench:
    """A crew, and how its world goes on. `came_to`: a worker has begun the attempt of this serial."""

    crew: Workers

    def came_to(self, worker: str, serial: int) -> None:
        raise NotImplementedError

    def heard(self) -> list[e.Event]:
        return self.crew.events()

    def death(self, worker: str) -> e.WorkerDied:
        for _ in range(2_000):
            for event in self.heard():
                if isinstance(event, e.WorkerDied):
                    assert event.worker == worker
                    return event
            self.crew.wait(0.01) if isinstance(self.crew, LocalCrew) else None
        raise AssertionError("it does not die")

    def close(self) -> None:
        self.crew.close()


class LocalBench(Bench):
    """Real processes that only sleep: what they would say is said here, on their end of the socket."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder / "workers"
        self.processes: list[subprocess.Popen[bytes]] = []
        self.ends: list[int] = []
        self.popen = subprocess.Popen
        monkeypatch.setattr(local.subprocess, "Popen", self._sleeping)
        self.crew = LocalCrew(self.folder, folder / "logs", self._spawn, lambda line: None)

    def came_to(self, worker: str, serial: int) -> None:
        slot = Slot(self.folder / f"{worker}.slot")
        slot.begin(serial, 1)
        slot.close()

    def say(self, *messages: FromWorker) -> None:
        os.write(self.ends[-1], frame(messages))

    def close(self) -> None:
        self.crew.abandon()
        for fd in self.ends:
            os.close(fd)

    def _sleeping(self, command: list[str], **how: Any) -> Any:
        self.ends.append(os.dup(int(command[3])))
        process: Any = self.popen(["sleep", "600"], **how)
        self.processes.append(process)
        return process

    def _spawn(self, executor: LocalExecutor, worker: str, code: str) -> None:
        folder = self.folder
        executor.spawn(worker, wiring="a:b", home=folder, root=folder, code_path=folder, project="p")


class HereBench(Bench):
    def __init__(self, folder: Path) -> None:
        nobody: Any = None  # no attempt runs here
        self.here = self.crew = HereCrew(nobody, folder / "here.log", lambda events: None)

    def came_to(self, worker: str, serial: int) -> None:
        self.here._executor._begun[worker] = serial  # pyright: ignore[reportPrivateUsage]


class SimBench(Bench):
    def __init__(self) -> None:
        self.world = World(1)
        drawn = Draw(workers=4)
        self.sim = self.crew = SimCrew(self.world, drawn, Witness(), "e1", lambda: None, list)

    def came_to(self, worker: str, serial: int) -> None:
        self.sim.workers[worker].begun = serial

    def heard(self) -> list[e.Event]:
        self.world.run_until(self.world.mono_us + SECOND, most=1_000)
        return self.crew.events()


@pytest.fixture(params=["local", "here", "sim"])
def bench(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    made = {"local": lambda: LocalBench(tmp_path, monkeypatch), "here": lambda: HereBench(tmp_path), "sim": SimBench}
    bench = made[request.param]()
    yield bench
    bench.close()


@pytest.fixture
def processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalBench]:
    bench = LocalBench(tmp_path, monkeypatch)
    yield bench
    bench.close()


COMMANDS: dict[str, Callable[[Workers], None]] = {
    "start": lambda crew: crew.start("w1", []),
    "answer_pin": lambda crew: crew.answer_pin("w1", 1, "table:t", 7),
    "stop": lambda crew: crew.stop("w1"),
    "cancel": lambda crew: crew.cancel("w1", 1),
    "kill": lambda crew: crew.kill("w1", "again"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_to_a_worker_that_is_gone_is_dropped(bench: Bench, command: str) -> None:
    bench.crew.spawn("w1", "c1")
    bench.crew.kill("w1", "it must go")
    assert bench.death("w1").why == "it must go"
    COMMANDS[command](bench.crew)
    assert bench.heard() == []
    assert bench.crew.begun(["w1"]) == {}


def test_who_is_abandoned_has_its_last_begun_serial_told_once_and_is_nowhere_any_more(bench: Bench) -> None:
    for worker in ("w1", "w2"):
        bench.crew.spawn(worker, "c1")
    bench.came_to("w2", 5)
    assert bench.crew.abandon() == {"w1": 0, "w2": 5}
    assert bench.crew.end_strangers() == {}
    assert bench.crew.abandon() == {}
    assert bench.heard() == []


def test_one_that_died_unheard_is_among_the_abandoned(bench: Bench) -> None:
    bench.crew.spawn("w1", "c1")
    bench.came_to("w1", 3)
    bench.crew.kill("w1", "it must go")
    if isinstance(bench, SimBench):
        bench.world.run_until(SECOND, most=1_000)
    assert bench.crew.abandon() == {"w1": 3}


def test_a_worker_that_died_while_it_asked_is_not_answered(processes: LocalBench) -> None:
    processes.crew.spawn("w1", "c1")
    processes.came_to("w1", 1)
    processes.say(PinAsked(1, "table:t", 7))
    processes.processes[0].kill()
    os.waitid(os.P_PID, processes.processes[0].pid, os.WEXITED | os.WNOWAIT)
    asked, died = processes.crew.events()
    assert asked == e.PinAsked("w1", 1, "table:t", 7)
    assert isinstance(died, e.WorkerDied)
    assert (died.begun, died.was_killed) == (1, True)
    processes.crew.answer_pin("w1", 1, "table:t", 7)
    assert processes.crew.events() == []


def open_files() -> int:
    count = 0
    for fd in range(256):
        with suppress(OSError):
            os.fstat(fd)
            count += 1
    return count


def fails(number: int) -> Callable[..., Any]:
    def call(*args: Any, **named: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return call


@pytest.mark.parametrize(
    ("place", "name", "number"),
    [
        (local.subprocess, "Popen", errno.EAGAIN),
        (local, "Slot", errno.ENOSPC),
        (local.socket, "socketpair", errno.EMFILE),
        (local.os, "open", errno.ENOSPC),  # the lock
    ],
)
def test_a_worker_that_cannot_be_started_died_before_it_was_ready_and_leaves_nothing(
    processes: LocalBench, monkeypatch: pytest.MonkeyPatch, place: Any, name: str, number: int
) -> None:
    before = open_files()
    with monkeypatch.context() as patched:
        patched.setattr(place, name, fails(number))
        processes.crew.spawn("w1", "c1")
    (died,) = processes.crew.events()
    assert isinstance(died, e.WorkerDied)
    assert (died.worker, died.begun, died.was_killed) == ("w1", 0, True), "it says nothing about the code"
    assert os.strerror(number) in died.why
    assert open_files() == before
    assert list(processes.folder.iterdir()) == []
    assert processes.crew.events() == []
    COMMANDS["start"](processes.crew)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full")
def test_a_slot_takes_its_place_on_the_disk_when_it_is_made() -> None:
    with pytest.raises(OSError, match="No space left"):
        Slot(Path("/dev/full"), create=True)
