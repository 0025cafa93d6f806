"""A project on disk that a real engine serves, and the ledger in which its tasks sign for each time they ran.

The ledger lies outside the store: one line per entry, appended with `O_APPEND` and fsync before the task goes on.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
import polars as pl

from headrace.connectors.appends import append
from headrace.connectors.log import Log
from headrace.definitions.project import TopicDef
from headrace.host.doorbell import doorbell_path, ring
from headrace.store.sql.engine_store import EngineSqlStore
from headrace.store.sql.reads import runs as run_rows
from headrace.store.sql.reads import topics

T = TypeVar("T")
COMMAND = (sys.executable, "-m", "headrace.cli.main")
PATIENCE_S = 120.0  # never reached where all is well, however slow and busy the machine
POLL_S = 0.005
WITNESS = '''
import os, time
from pathlib import Path
import headrace as hr
import polars as pl

HERE = Path(os.environ["LIVING"])

def sign(item):
    """One line in the ledger, on the disk before anything else happens."""
    now = hr.current()
    line = f"{now.run}|{now.task}|{item}|{now.attempt}|{now.token}|{now.key}|{os.getpid()}\\n"
    fd = os.open(HERE / "ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(fd, line.encode()); os.fsync(fd); os.close(fd)

def wait_for(name):
    """Until the test makes the file: as long as it takes, but not for ever."""
    until = time.monotonic() + 600
    while not (HERE / name).exists():
        assert time.monotonic() < until, f"nobody made {name}"
        time.sleep(0.005)
'''


class Entry(NamedTuple):
    """A line of the ledger."""

    run: str
    task: str
    item: int
    attempt: int
    token: int
    key: str
    pid: int


def freeze(pid: int) -> None:
    """Stop the process and wait until it stands: the signal alone lets its threads go on for a while."""
    os.kill(pid, signal.SIGSTOP)
    patience = time.monotonic() + PATIENCE_S
    while not all(is_stopped(thread) for thread in Path(f"/proc/{pid}/task").iterdir()):
        assert time.monotonic() < patience, f"process {pid} does not stop"
        time.sleep(POLL_S)


def is_stopped(thread: Path) -> bool:
    """Whether it stands, or has ended meanwhile."""
    try:
        return (thread / "stat").read_text().rpartition(")")[2].split()[0] in "TZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


class Living:
    """The project, its store as a client sees it, its engine while one runs."""

    def __init__(self, root: Path, code: str, toml: str = "") -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        (root / "flow.py").write_text(WITNESS + code)
        (root / "headrace.toml").write_text(f'{toml}\n[project]\nname = "flow"\n')
        self.home = root / ".headrace"
        self.home.mkdir()
        self.database = self.home / "headrace.db"
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("HEADRACE_", "PYTEST_"))},
            "LIVING": str(root),
            "HEADRACE_WORKERS": "2",  # on every machine
        }
        self._store: EngineSqlStore | None = None
        self.engine: subprocess.Popen[bytes] | None = None

    @property
    def store(self) -> EngineSqlStore:
        if self._store is None:
            self._store = EngineSqlStore(self.database)
        return self._store

    # -- processes -----------------------------------------------------------------------------------------------

    def start(self, *flags: str) -> subprocess.Popen[bytes]:
        """Start an engine and wait until it serves what is in the folder."""
        seen = len(self.said())
        with (self.root / "engine.log").open("ab") as output:
            self.engine = subprocess.Popen(
                [*COMMAND, "dev", "--no-reload", *flags], cwd=self.root, env=self.environment,
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        engine = self.engine
        self.until(lambda: "workers, store" in self.said()[seen:] or engine.poll() is not None, "engine")
        self.until(lambda: self.store.heads("engine") or engine.poll() is not None, "engine's log")
        assert engine.poll() is None, self.said()
        return engine

    def kill_engine(self) -> None:
        assert self.engine is not None
        self.engine.kill()
        self.engine.wait()

    def stop(self) -> int:
        assert self.engine is not None
        self.engine.terminate()
        return self.engine.wait(PATIENCE_S)

    def said(self) -> str:
        log = self.root / "engine.log"
        return log.read_text(errors="replace") if log.exists() else ""  # it may end amid a letter

    def processes(self, mark: str = "") -> list[int]:
        """Pids of all living processes that descend from this project's engines and have `mark` in their command."""
        sign = b"LIVING=" + str(self.root).encode()
        found: list[int] = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                is_ours = sign in (entry / "environ").read_bytes().split(b"\0")
                if is_ours and mark.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue  # it ended while we looked
        return sorted(found)

    def command(self, *words: str, timeout: float = PATIENCE_S, **more: str) -> subprocess.CompletedProcess[str]:
        """`headrace …` in the project, with `more` in its environment."""
        return subprocess.run(
            [*COMMAND, *words], cwd=self.root, env={**self.environment, **more}, capture_output=True, text=True,
            timeout=timeout, check=False,
        )  # fmt: skip

    def end(self) -> None:
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if self.engine is not None:
            self.engine.wait()
        if self._store is not None:
            self._store.close()

    # -- asking and waiting --------------------------------------------------------------------------------------

    def until(self, happened: Callable[[], T], what: str, seconds: float = PATIENCE_S) -> T:
        """Look until it happened, and return it. Fails with what the engine said."""
        patience = time.monotonic() + seconds
        while not (found := happened()):
            assert time.monotonic() < patience, f"waited {seconds:g} s for: {what}\n{self.said()[-3000:]}"
            time.sleep(POLL_S)
        return found

    def ask(self, verb: str, key: str, **body: Any) -> int:
        request = self.store.ask(verb, {"by": "test", **body}, key=key, at_us=time.time_ns() // 1000)
        ring(doorbell_path(self.home))
        return request

    def answer(self, request: int) -> Any:
        status, value = self.until(lambda: self.store.answer(request), f"the answer to request {request}")
        assert status == "done", value
        return value

    def trigger(self, pipeline: str, **params: Any) -> str:
        """Ask for a run; its id."""
        key = f"{pipeline}:{time.monotonic_ns()}"
        return self.answer(self.ask("trigger", key, pipeline=pipeline, params=params))["run"]

    def ended(self, run: str, seconds: float = PATIENCE_S) -> str:
        """The state in which the run ended."""

        def state() -> str | None:
            row = run_rows.run(self.store.database, run)
            return None if row is None or row.ended_us is None else row.state

        return str(self.until(state, f"the end of run {run}", seconds))

    def open(self, gate: str) -> None:
        (self.root / gate).touch()

    # -- what happened -------------------------------------------------------------------------------------------

    def ledger(self, task: str | None = None) -> list[Entry]:
        path = self.root / "ledger"
        text = path.read_text() if path.exists() else ""
        lines = text[: text.rfind("\n") + 1].splitlines()  # what is just being written is not there yet
        entries = [msgspec.convert(line.split("|"), Entry, strict=False) for line in lines]
        return [entry for entry in entries if task in (None, entry.task)]

    def rows(self, sql: str, *given: Any) -> list[tuple[Any, ...]]:
        return self.store.database.read(sql, given)

    def kinds(self, kind: str) -> list[Any]:
        """All facts of that kind in the engine's log."""
        return [stored.fact for stored in self.store.facts("engine", after=0, limit=100_000, kinds=[kind])]

    def error_of(self, run: str) -> tuple[str, str]:
        """(error, detail) of the first failed task of a run."""
        ((error, detail),) = self.rows(
            "SELECT error, coalesce(detail, '') FROM items WHERE run = ? AND state = 'failed' ORDER BY node LIMIT 1",
            run,
        )
        return error, detail

    def audit(self, run: str) -> None:
        """What holds of every run that succeeded, whatever happened to its processes."""
        states = dict(self.rows("SELECT state, count(*) FROM items WHERE run = ? GROUP BY state", run))
        assert set(states) == {"succeeded"}
        place = lambda fact: (fact.node, fact.path, fact.item)  # noqa: E731
        accepted = Counter(place(fact) for fact in self.kinds("AttemptSucceeded") if fact.run == run)
        assert set(accepted.values()) == {1}, "each task is accepted once"
        assert accepted.total() == sum(states.values())
        lost = Counter(place(fact) for fact in self.kinds("AttemptLost") if fact.run == run)
        failed = Counter(place(fact) for fact in self.kinds("AttemptFailed") if fact.run == run)
        numbers: dict[Any, set[int]] = {}
        for fact in self.kinds("AttemptStarted"):
            if fact.run == run:
                numbers.setdefault(place(fact), set()).add(fact.attempt)
        for at, found in numbers.items():
            assert found == set(range(1, len(found) + 1)), f"{at}: attempts are numbered 1..n"
            assert len(found) == 1 + lost[at] + failed[at], (
                f"{at}: only a lost or failed attempt is followed by another"
            )
        keys: dict[tuple[str, int], set[str]] = {}
        entries = [entry for entry in self.ledger() if entry.run == run]
        for entry in entries:
            keys.setdefault((entry.task, entry.item), set()).add(entry.key)
        assert all(len(found) == 1 for found in keys.values()), "the key is that of the task run, not of the attempt"
        again = Counter((entry.task, entry.item, entry.attempt) for entry in entries)
        assert set(again.values()) <= {1}, "no attempt was entered twice"
        for (task, item), count in Counter((entry.task, entry.item) for entry in entries).items():
            tokens = [entry.token for entry in entries if (entry.task, entry.item) == (task, item)]
            assert len(tokens) == count
            assert tokens == sorted(set(tokens)), "the fence grows with each attempt"

    # -- topics --------------------------------------------------------------------------------------------------

    def append(self, topic: TopicDef, rows: list[dict[str, Any]]) -> None:
        append(self.store, "clients", topic, rows, time.time_ns() // 1000)
        ring(doorbell_path(self.home))

    def read(self, topic: TopicDef) -> pl.DataFrame:
        return Log(self.store.database, topics).read(topic)
