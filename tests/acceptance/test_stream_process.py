"""Real stream processes, killed at random and by their own rows: the output is that of one undisturbed run."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from living import PATIENCE_S, freeze

from headrace.connectors.appends import append
from headrace.connectors.log import Log
from headrace.definitions.project import TopicDef
from headrace.ports import Append
from headrace.runs.facts import CodeDeployed, LogTaken
from headrace.store.sql.engine_store import EngineSqlStore
from headrace.store.sql.reads import streams as stream_rows
from headrace.store.sql.reads import topics

pytestmark = pytest.mark.process

EVENTS = TopicDef(
    name="events", schema={"id": "str", "x": "int", "odd": "bool"}, required=("id", "x", "odd"), key="id", partitions=2
)
OUT = TopicDef(name="out", key="id", partitions=2)
CODE = """
import os
import headrace as hr
import polars as pl

events = hr.Topic("events", schema={"id": str, "x": int, "odd": bool}, key="id", partitions=2)
out = hr.Topic("out", key="id", partitions=2)

@hr.stream(events, to=out, start="earliest")
def doubled(batch: pl.DataFrame) -> pl.DataFrame:
    if batch["x"].is_in([-1]).any():
        os._exit(3)
    if batch["x"].is_in([-2]).any():
        raise ValueError("poison")
    return batch.select("id", y=pl.col("x") * 2)

@hr.task
def look() -> None: ...

@hr.pipeline
def investigate() -> None:
    look()

investigate.on(hr.event(events, where="odd", count=3))
"""
ALL = "doubled:0;doubled:1;trigger/investigate/event events odd"


class Project:
    """A project on disk with its store, and the stream processes that were started for it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "flow.py").write_text(CODE)
        (root / "headrace.toml").write_text('[project]\nname = "flow"\n')
        (root / ".headrace").mkdir()
        self.database = root / ".headrace" / "headrace.db"
        self.store = EngineSqlStore(self.database)
        self.store.commit([Append("engine", 0, (CodeDeployed("c1", msgspec.Raw(b"{}"), 1),))])
        self.log = Log(self.store.database, topics)
        self.started: list[subprocess.Popen[bytes]] = []
        self.pipes: list[int] = []

    def start(self, shards: str = ALL, *more: str) -> subprocess.Popen[bytes]:
        read_fd, write_fd = os.pipe()
        self.pipes.append(write_fd)
        command = (
            sys.executable, "-m", "headrace.shards.process", "--wiring", "headrace.app.parts:shard_parts",
            "--root", str(self.root), "--code", "c1",
            "--code-path", str(self.root), "--project", "flow", "--store", str(self.database), "--shards", shards,
            "--wake-fd", str(read_fd), *more,
        )  # fmt: skip
        with (self.root / "process.log").open("ab") as output:
            self.started.append(subprocess.Popen(command, stdout=output, stderr=output, pass_fds=(read_fd,)))
        os.close(read_fd)
        return self.started[-1]

    def append(self, numbers: list[int], odd: set[int] | None = None) -> None:
        rows = [{"id": f"e{x}", "x": x, "odd": x in (odd or ())} for x in numbers]
        append(self.store, "clients", EVENTS, rows, time.time_ns() // 1000)
        for pipe in self.pipes:
            try:
                os.write(pipe, b"1")
            except BrokenPipeError:
                continue

    def out(self) -> Counter[tuple[str, int]]:
        frame = self.log.read(OUT)
        return Counter() if frame.is_empty() else Counter(frame.select("id", "y").rows())

    def is_read(self) -> bool:
        at = {row.shard: row.next_offset for row in stream_rows.shards(self.store.database, "doubled")}
        return all(at.get(part) == head for part, head in self.log.heads("events").items())

    def until(self, happened: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
        patience = time.monotonic() + seconds
        while not happened():
            assert time.monotonic() < patience, (self.root / "process.log").read_text()[-4000:]
            time.sleep(0.02)

    def end(self) -> None:
        for process in self.started:
            process.kill()
            process.wait()
        for pipe in self.pipes:
            os.close(pipe)
        self.store.close()


@pytest.fixture
def project(tmp_path: Path):
    made = Project(tmp_path)
    yield made
    made.end()


def freeze_at_rest(project: Project, pid: int) -> None:
    """Stopped amid a commit it would keep everybody from writing."""

    def is_at_rest() -> bool:
        os.kill(pid, signal.SIGCONT)
        freeze(pid)
        return project.store.holder() is None

    project.until(is_at_rest)


def doubled(numbers: list[int]) -> Counter[tuple[str, int]]:
    return Counter((f"e{x}", x * 2) for x in numbers)


def test_killed_again_and_again_each_row_comes_out_once(project: Project):
    chance = random.Random(7)
    numbers = list(range(6000))
    odd = {x for x in numbers if x % 7 == 0}
    process = project.start()
    for at in range(0, len(numbers), 500):
        project.append(numbers[at : at + 500], odd)
        if at % 1000 == 0:
            project.until(lambda seen=at: sum(project.out().values()) >= seen // 2)
            time.sleep(chance.random() * 0.05)
            process.send_signal(signal.SIGKILL)
            process.wait()
            process = project.start()
    project.until(project.is_read)
    assert project.out() == doubled(numbers)

    def fired() -> list[tuple[str, int, int, int]]:
        facts = project.store.facts("trigger:investigate:event events odd", after=0, kinds=["TriggerFired"])
        return [part for stored in facts for part in stored.fact.ranges]  # pyright: ignore

    project.until(lambda: sum(end - first for _, _, first, end in fired()) == len(odd) // 3 * 3)
    places = [(partition, offset) for _, partition, first, end in fired() for offset in range(first, end)]
    assert len(places) == len(set(places))


def test_a_row_that_kills_its_process_ends_as_a_dead_letter(project: Project):
    project.append([*range(300), -1, *range(300, 400), -2, *range(400, 500)])
    starts = 0
    while starts < 12:
        starts += 1
        process = project.start()
        project.until(lambda p=process: p.poll() is not None or project.is_read())
        if process.poll() is None:
            break
        assert process.returncode == 3
    letters = stream_rows.dead_letters(project.store.database, "doubled")
    assert sorted((x.reason, x.payload) for x in letters) == [
        ("crashed", '{"id":"e-1","x":-1,"odd":false}'),
        ("error", '{"id":"e-2","x":-2,"odd":false}'),
    ]
    assert project.out() == doubled(list(range(500)))
    assert starts < 12


def test_a_process_leaves_when_its_engine_is_gone_and_when_it_is_asked(project: Project):
    project.append([1])
    orphan = project.start()
    project.until(project.is_read)
    os.close(project.pipes.pop())
    assert orphan.wait(PATIENCE_S) == 0
    asked = project.start()
    project.append([2])
    project.until(project.is_read)
    asked.terminate()
    assert asked.wait(PATIENCE_S) == 0
    assert project.out() == doubled([1, 2])


def test_a_second_process_waits_until_the_first_lets_go(project: Project):
    first = project.start("doubled:0")
    project.until(lambda: project.store.head("shard:doubled:0") > 0)
    second = project.start("doubled:0;doubled:1")
    # It asks for its shards in their order: once it has the second, it was refused the first.
    project.until(lambda: project.store.head("shard:doubled:1") > 0)
    project.append(list(range(20)))
    project.until(project.is_read)
    owner = "SELECT owner FROM logs WHERE name = 'shard:doubled:0'"
    assert project.store.database.read(owner) == [(f"stream process {first.pid}",)]
    first.kill()
    first.wait()
    project.append([20])
    project.until(lambda: project.store.database.read(owner) == [(f"stream process {second.pid}",)])
    project.until(project.is_read)
    assert project.out() == doubled(list(range(21)))


def test_an_owner_that_was_replaced_while_it_slept_ends_without_writing(project: Project):
    process = project.start()
    project.append([1])
    project.until(project.is_read)
    freeze_at_rest(project, process.pid)
    for shard in (0, 1):
        log = f"shard:doubled:{shard}"
        head = project.store.head(log)
        project.store.commit([Append(log, head, (LogTaken(head + 1, "another", 1),))])
    project.append([2, 3])
    process.send_signal(signal.SIGCONT)
    assert process.wait(PATIENCE_S) == 4
    assert project.out() == doubled([1])


def test_the_engine_hears_of_a_commit(project: Project, tmp_path: Path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bell:
        bell.bind(str(tmp_path / "bell"))
        bell.settimeout(PATIENCE_S)
        project.start(ALL, "--ring", str(tmp_path / "bell"))
        project.append([1])
        assert bell.recv(8) == b"1"
