"""Stream processes: who is started, how soon after a death, and how they are let go."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from headrace.definitions.nodes import Graph
from headrace.definitions.project import OnEvent, PipelineDef, Project, SourceDef, StreamDef, TopicDef
from headrace.engine import supervisor
from headrace.engine.supervisor import StreamSupervisor, spread
from headrace.streams.place import Place, places_of, places_text
from headrace.testing.clock import FakeClock

STREAM = StreamDef("score", "m:score", SourceDef("events"), "out")


def test_shards_and_triggers_are_spread_over_the_processes() -> None:
    pipeline = PipelineDef("look", "m:look", Graph(()), triggers=(OnEvent("events", slug="event events"),))
    project = Project(
        "p",
        topics={"events": TopicDef("events", partitions=3)},
        streams={"score": STREAM},
        pipelines={"look": pipeline},
    )
    shards, trigger = [Place("score", number) for number in range(3)], Place("look", slug="event events")
    assert spread(project, 1) == [(*shards, trigger)]
    assert spread(project, 2) == [(shards[0], shards[2]), (shards[1], trigger)]
    assert len(spread(project, 9)) == 4


def test_what_a_process_is_to_own_is_read_as_it_was_written() -> None:
    places = (Place("a:b", 0), Place("score", 11), Place("look", slug="event a/b: c"), Place("look", slug="x"))
    assert places_of(places_text(places)) == places
    with pytest.raises(ValueError, match="invalid literal"):
        places_of("score:0,1")


Supervise = Callable[[str], StreamSupervisor]


@pytest.fixture
def supervise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervise]:
    """A supervisor over processes that do what the shell script says; it holds one group of shards."""
    made: list[StreamSupervisor] = []

    def make(script: str) -> StreamSupervisor:
        program = tmp_path / "program"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))
        made.append(StreamSupervisor(lambda code, path: ("--code", code), tmp_path / "logs", FakeClock()))
        made[-1].deploy("c1", tmp_path, [(Place("score", 0),)])
        return made[-1]

    yield make
    for one in made:
        one.stop()


def ends(one: StreamSupervisor) -> list[supervisor.Death]:
    """The next deaths, once there are any."""
    until = time.monotonic() + 120
    while not (deaths := one.tend()):
        assert time.monotonic() < until
        time.sleep(0.001)
    return deaths


def died(one: StreamSupervisor) -> list[str]:
    return [death.words for death in ends(one)]


def until_up(folder: Path) -> Path:
    """The log of the process, once that has said that it is up."""
    log = folder / "logs" / "stream-1.log"
    until = time.monotonic() + 120
    while "up" not in log.read_text():
        assert time.monotonic() < until
        time.sleep(0.001)
    return log


@pytest.mark.process
def test_who_dies_is_started_again_at_first_at_once_then_later_and_later(supervise: Supervise, tmp_path: Path) -> None:
    one = supervise("echo so long; exit 3")
    log = tmp_path / "logs" / "stream-1.log"
    assert died(one) == [f"stream-1 died (exit code 3: so long); it starts again; its log: {log}"]
    assert len(one.processes) == 1, "at once"
    for wait_us in (200_000, 1_000_000, 5_000_000, 5_000_000):
        died(one)
        one.clock.advance(timedelta(microseconds=wait_us - 1))
        assert one.tend() == []
        assert not one.processes
        one.clock.advance(timedelta(microseconds=1))
        one.tend()
        assert len(one.processes) == 1
    assert (tmp_path / "logs" / "stream-1.log").read_text().startswith("so long\nso long\n")


@pytest.mark.process
def test_who_lived_long_is_started_again_at_once(supervise: Supervise) -> None:
    one = supervise("exit 3")
    died(one)
    died(one)
    one.clock.advance("200ms")
    one.tend()
    one.clock.advance("31s")
    died(one)
    assert len(one.processes) == 1


@pytest.mark.process
def test_who_dies_a_third_time_in_a_row_names_its_shards_and_the_reason(supervise: Supervise, tmp_path: Path) -> None:
    one = supervise('echo no module named x; echo "  install it"; exit 3')
    deaths: list[supervisor.Death] = []
    for wait in ("0s", "200ms", "1s", "5s"):
        one.clock.advance(wait)
        deaths += ends(one)
    assert [death.shards for death in deaths] == [(), (), (("score", 0),), (("score", 0),)]
    log = tmp_path / "logs" / "stream-1.log"
    why = deaths[2].why(("score", 0), {})
    assert why == f"its process dies as soon as it starts (exit code 3: no module named x); its log: {log}"


@pytest.mark.process
def test_the_last_words_are_those_of_the_process_that_died(supervise: Supervise, tmp_path: Path) -> None:
    one = supervise(f"[ -e {tmp_path}/second ] && kill -9 $$; echo before; touch {tmp_path}/second; exit 1")
    assert "(exit code 1: before)" in died(one)[0]
    assert "(killed by SIGKILL)" in died(one)[0]


@pytest.mark.process
def test_a_killed_process_is_said_to_be_killed_and_by_what(supervise: Supervise) -> None:
    one = supervise("kill -9 $$")
    assert "stream-1 died (killed by SIGKILL)" in died(one)[0]


@pytest.mark.process
def test_who_does_not_leave_in_time_is_ended(supervise: Supervise, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "GRACE_S", 0.1)
    one = supervise("trap '' TERM; while :; do sleep 0.01; done")
    (process,) = one.processes.values()
    one.stop()
    assert process.popen.returncode is not None
    assert one.processes == {}
    assert one.tend() == [], "who was let go is not missed"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(process.wake_fd)


@pytest.mark.process
def test_the_next_start_when_the_last_of_the_old_has_left_and_nobody_waits_for_that(
    supervise: Supervise, tmp_path: Path
) -> None:
    one = supervise("trap '' TERM; echo up; while :; do sleep 0.01; done")
    (old,) = one.processes.values()
    until_up(tmp_path)
    one.deploy("c2", tmp_path, [(Place("score", 0),)])
    assert one.is_changing
    assert one.is_child(old.popen.pid)
    assert not one.processes
    one.clock.advance("6s")  # it does not listen
    until = time.monotonic() + 120
    while one.is_changing:
        assert one.tend() == [], "who was let go is not missed"
        assert time.monotonic() < until
        time.sleep(0.001)
    assert old.popen.returncode == -signal.SIGKILL
    assert list(one.processes) == ["stream-1"]


@pytest.mark.process
def test_what_a_dead_process_had_started_is_ended_too(supervise: Supervise, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "held")
    reader = os.open(tmp_path / "held", os.O_RDONLY | os.O_NONBLOCK)
    one = supervise(
        f"[ -e {tmp_path}/second ] && exit 3; touch {tmp_path}/second; exec 3> {tmp_path}/held; sleep 60 & exit 3"
    )
    died(one)
    until = time.monotonic() + 120
    while True:
        try:
            assert os.read(reader, 1) == b"", "nobody has it open any longer"
            break
        except BlockingIOError:  # its child still has
            assert time.monotonic() < until
            time.sleep(0.001)
    os.close(reader)


@pytest.mark.process
def test_a_stopped_child_that_is_in_the_way_is_woken_and_told_to_leave(supervise: Supervise, tmp_path: Path) -> None:
    one = supervise("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done")
    (process,) = one.processes.values()
    log = until_up(tmp_path)
    assert one.is_child(process.popen.pid)
    process.popen.send_signal(signal.SIGSTOP)
    one.let_go(process.popen.pid, at_once=False)
    assert died(one) == ["stream-1 was told to leave; it starts again"]
    assert "bye" in log.read_text(), "it could put down what it had in hand"
    assert len(one.processes) == 1
    assert not one.is_child(process.popen.pid)


@pytest.mark.process
def test_who_does_not_listen_is_ended_at_once(supervise: Supervise, tmp_path: Path) -> None:
    one = supervise("trap '' TERM; echo up; while :; do sleep 0.01; done")
    (process,) = one.processes.values()
    until_up(tmp_path)
    one.let_go(process.popen.pid, at_once=False)
    one.let_go(process.popen.pid, at_once=True)
    assert died(one) == ["stream-1 was told to leave; it starts again"]
    assert process.popen.returncode == -signal.SIGKILL


@pytest.mark.process
def test_waking_reaches_the_process_and_does_no_harm_when_it_is_gone(supervise: Supervise) -> None:
    one = supervise("sleep 60")
    (process,) = one.processes.values()
    for _ in range(100_000):
        one.wake()  # until its pipe is full, and on
    with pytest.raises(BlockingIOError):
        os.write(process.wake_fd, b"1")  # what was written waits for it, up to the brim
    process.popen.kill()
    process.popen.wait()
    one.wake()
