"""One database and many real processes: no lost writes, no "database is locked", a stopped writer is named."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headrace.data.facts import TopicAppended
from headrace.errors import StoreError
from headrace.ports import Append
from headrace.store.sql.connection import RESTART_BYTES
from headrace.store.sql.reads import topics
from headrace.store.sql.store import SqlStore

pytestmark = pytest.mark.process

PREAMBLE = """
import os, signal, sys, threading
from headrace.data.facts import TopicAppended
from headrace.ports import Append
from headrace.runs.facts import LogTaken
from headrace.store.sql.store import SqlStore
store = SqlStore(sys.argv[1], patience_s=300.0)
"""

WRITERS = """
def write(thread):
    log = f"own:{os.getpid()}/{thread}"
    for n in range(12):
        fact = TopicAppended("flights", thread % 4, 1 + n, at_us=1)
        store.commit([Append(log, n, (LogTaken(n + 1, "me", 1),)), Append("clients", None, (fact,), {0: b"x" * 200})])
        store.ask("run", n, key=f"{log}/{n}", at_us=1)
        assert store.head(log) == n + 1

errors = []
threading.excepthook = lambda hook: errors.append(repr(hook.exc_value))
threads = [threading.Thread(target=write, args=(n,)) for n in range(16)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
store.close()
sys.exit(", ".join(errors) or 0)
"""

STOPPED = """
with store.database.write() as connection:
    connection.execute("INSERT INTO logs (name, head) VALUES ('half', 1)")
    print("held", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
"""

READER = """
print("reading", flush=True)
while True:
    store.database.read("SELECT topic, first, rows FROM topic_blobs ORDER BY first LIMIT 1000")
"""

Start = Callable[[str, Path], "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a process on a store; whatever is left of it is killed at the end."""
    children: list[subprocess.Popen[str]] = []

    def begin(code: str, path: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", PREAMBLE + code, str(path)]
        children.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return children[-1]

    yield begin
    for child in children:
        child.kill()
        child.communicate()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"disk full: needs the right to mount a small tmpfs ({done.stderr.strip()})")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def appended(store: SqlStore, size_bytes: int) -> None:
    fact = TopicAppended("flights", 0, 1, at_us=1, size_bytes=size_bytes)
    store.commit([Append("clients", None, (fact,), {0: bytes(size_bytes)})])


def fill(store: SqlStore) -> None:
    for _ in range(100):
        appended(store, 100_000)


def test_64_threads_in_4_processes_write_without_loss_or_lock_errors(tmp_path: Path, start: Start) -> None:
    path = tmp_path / "store.db"
    children = [start(WRITERS, path) for _ in range(4)]
    for child in children:
        _, errors = child.communicate(timeout=1000)
        assert (child.returncode, errors) == (0, "")

    store = SqlStore(path)
    assert sorted(store.heads("own:").values()) == [12] * 64
    assert store.head("clients") == 64 * 12
    assert topics.heads(store.database, "flights") == dict.fromkeys(range(4), 16 * sum(range(1, 13)))
    for partition in range(4):
        blobs = topics.blobs(store.database, "flights", partition, 0)
        assert [blob.first for blob in blobs[1:]] == [blob.end for blob in blobs[:-1]]
        assert [blob.seq for blob in blobs] == sorted(blob.seq for blob in blobs)
    assert len(store.requests(limit=1000)) == 64 * 12
    assert store.database.read("PRAGMA integrity_check") == [("ok",)]
    store.close()


def test_a_stopped_writer_is_named_and_its_death_frees_the_store(tmp_path: Path, start: Start) -> None:
    store = SqlStore(tmp_path / "store.db", patience_s=0.2)
    child = start(STOPPED, tmp_path / "store.db")
    assert line(child) == "held"
    holder = store.holder()
    assert holder is not None
    assert holder[0] == child.pid
    with pytest.raises(StoreError, match=f"held by process {child.pid}") as caught:
        appended(store, 10)
    assert caught.value.code == "HR4050"
    later = store.holder()
    assert later is not None
    assert later[1] > holder[1]
    assert store.head("clients") == 0, "readers do not wait"

    os.kill(child.pid, signal.SIGKILL)
    child.wait(100)
    assert store.holder() is None
    appended(store, 10)
    assert store.heads("") == {"clients": 1}
    store.close()


def test_the_wal_stays_bounded_beside_a_reader_that_never_rests(tmp_path: Path, start: Start) -> None:
    store = SqlStore(tmp_path / "store.db")
    child = start(READER, tmp_path / "store.db")
    assert line(child) == "reading"
    # The moment that it waits for may not come the first time, where the reader is stopped amid a read.
    restarts = before = commits = 0
    while restarts < 2:
        assert commits < 8 * RESTART_BYTES >> 20, "it grows for ever"
        appended(store, 1 << 20)
        commits += 1
        used = store.database.wal_bytes()
        restarts += used < before
        before = used
    assert child.poll() is None
    store.close()


def test_a_full_disk_is_said_plainly_and_leaves_nothing_half_written(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(3 << 20))
    store = SqlStore(small_disk / "store.db")
    with pytest.raises(StoreError, match="the disk is full") as caught:
        fill(store)
    assert caught.value.code == "HR4020"
    written = store.head("clients")
    assert written > 0
    assert topics.heads(store.database, "flights") == {0: written}

    ballast.unlink()
    appended(store, 100_000)
    assert store.head("clients") == written + 1
    assert store.database.read("PRAGMA integrity_check") == [("ok",)]
    store.close()
