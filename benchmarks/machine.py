"""The machine: what it allows at best, and what it is doing besides, both measured beside every scenario."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_ECHO = """
import socket, sys
end = socket.socket(fileno=int(sys.argv[1]))
while body := end.recv(64):
    end.send(body)
"""


class Limits:
    """What this machine allows at best, measured in `folder` when asked for, once, for `seconds` each."""

    def __init__(self, folder: Path, *, seconds: float = 0.3) -> None:
        self.folder, self._seconds = folder, seconds

    @cached_property
    def commit_s(self) -> float:
        """One SQLite commit of one row, WAL and synchronous=FULL."""
        return self._commits(1)

    @cached_property
    def row_s(self) -> float:
        """One row of SQLite commits of 100 rows."""
        return self._commits(100) / 100

    @cached_property
    def round_trip_s(self) -> float:
        """There and back over a socket pair with one other process."""
        ours, theirs = socket.socketpair()
        echo = subprocess.Popen([sys.executable, "-c", _ECHO, str(theirs.fileno())], pass_fds=(theirs.fileno(),))
        theirs.close()

        def once() -> None:
            ours.send(b"x")
            ours.recv(64)

        once()
        spent = _mean(once, self._seconds)
        ours.close()
        echo.wait()
        return spent

    @cached_property
    def fsync_s(self) -> float:
        """One fsync after 4 KiB were overwritten."""
        fd = os.open(self.folder / "fsync", os.O_RDWR | os.O_CREAT)

        def once() -> None:
            os.pwrite(fd, b"x" * 4096, 0)
            os.fsync(fd)

        spent = _mean(once, self._seconds)
        os.close(fd)
        return spent

    @cached_property
    def python_s(self) -> float:
        """Starting Python for nothing."""
        return min(_timed([sys.executable, "-c", "pass"]) for _ in range(5))

    def arrow_write_s(self, mib: int) -> float:
        """Making a frame of so many MiB of floats and writing it as an Arrow file."""
        import numpy as np
        import polars as pl

        path = self.folder / "frame.arrow"
        times: list[float] = []
        for _ in range(3):
            begun = time.perf_counter()
            pl.DataFrame({"x": np.arange(mib << 17, dtype=np.float64)}).write_ipc(path, compression="uncompressed")
            times.append(time.perf_counter() - begun)
        path.unlink()
        return sorted(times)[1]

    def arrow_open_s(self, mib: int) -> float:
        """Opening such a file by mmap."""
        import polars as pl

        path = self.folder / "frame.arrow"
        pl.DataFrame({"x": pl.int_range(mib << 17, eager=True).cast(pl.Float64)}).write_ipc(
            path, compression="uncompressed"
        )
        spent = _mean(lambda: pl.scan_ipc(path, glob=False).collect().height, self._seconds)
        path.unlink()
        return spent

    def _commits(self, rows: int) -> float:
        path = self.folder / f"commits-{rows}.db"
        database = sqlite3.connect(path, isolation_level=None)
        for setting in ("page_size = 16384", "journal_mode = WAL", "synchronous = FULL"):
            database.execute(f"PRAGMA {setting}")
        database.execute("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, body TEXT)")
        many = [("x" * 100,)] * rows

        def once() -> None:
            database.execute("BEGIN IMMEDIATE")
            database.executemany("INSERT INTO t (body) VALUES (?)", many)
            database.execute("COMMIT")

        once()
        spent = _mean(once, self._seconds)
        database.close()
        path.unlink()
        return spent


def _mean(once: Callable[[], object], seconds: float) -> float:
    """The mean time of a call, over so many seconds."""
    count, begun = 0, time.perf_counter()
    while (spent := time.perf_counter() - begun) < seconds or not count:
        once()
        count += 1
    return spent / count


def _timed(command: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


# -- what it is doing ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Moment:
    """Processor time until a moment: of the whole machine, and of this process with all below it."""

    at_s: float
    busy_s: float
    own_s: float

    @classmethod
    def now(cls) -> Moment:
        return cls(time.monotonic(), _busy_s(), _tree_s())

    def foreign_since(self, before: Moment) -> float:
        """Cores that others used since then."""
        foreign = (self.busy_s - before.busy_s) - (self.own_s - before.own_s)
        return max(0.0, foreign / max(1e-6, self.at_s - before.at_s))


def cpu_s(pid: int) -> float:
    """Processor seconds of a process and of the children that it has waited for; 0 where there is no `/proc`."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(word) for word in words[11:15]) / _TICKS


def below(pid: int) -> Iterator[int]:
    """The process and all its living descendants."""
    yield pid
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [child for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return
    for child in children:
        yield from below(int(child))


def pss_mib(pid: int) -> float:
    """Memory of a process where shared pages count by share; 0 where the machine does not tell."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(row.split()[1]) / 1024 for row in lines if row.startswith("Pss:")), 0.0)


def peak_mib(pid: int) -> float:
    """The most memory that a process has had resident; 0 where the machine does not tell."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(row.split()[1]) / 1024 for row in lines if row.startswith("VmHWM:")), 0.0)


def command_of(pid: int) -> str:
    """The command line of a process; "" where it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def _tree_s() -> float:
    return sum(cpu_s(pid) for pid in below(os.getpid()))


def _busy_s() -> float:
    try:
        with open("/proc/stat") as file:
            words = [int(word) for word in file.readline().split()[1:9]]
    except OSError:
        return 0.0
    idle, waiting = words[3], words[4]
    return (sum(words) - idle - waiting) / _TICKS
