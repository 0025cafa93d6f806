"""A project with a store that holds some history, and `headrace` as a function."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.base.facts import Fact
from headrace.cli.main import main
from headrace.definitions import project as definitions
from headrace.graph.project import load_project
from headrace.host.rights import take_right
from headrace.ports import Append, Request
from headrace.runs import facts as f
from headrace.store.sql.store import SqlStore

PIPELINES = """
import headrace as hr
import polars as pl

departures = hr.Topic("departures", schema={"flight_id": str, "delay": float | None}, key="flight_id", partitions=2)
scores = hr.Topic("scores", key="flight_id")
daily = hr.Table("daily")

@hr.task
def ingest() -> int:
    return 1

@hr.task
def train(rows: int, rounds: int) -> int:
    return rows * rounds

@hr.pipeline(max_active=1)
def retrain(rounds: int = 200, note: str = "") -> int:
    return train(ingest(), rounds)

@hr.task
def count(window: hr.Window) -> int:
    return 0

@hr.pipeline(schedule="@daily")
def nightly(window: hr.Window) -> int:
    return count(window)

@hr.stream(departures, to=scores)
def score(batch: pl.DataFrame) -> pl.DataFrame:
    return batch.select("flight_id")
"""


@dataclass(frozen=True)
class Result:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return msgspec.json.decode(self.out)


Headrace = Callable[..., Result]


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEADRACE_ENV", "HEADRACE_DEBUG", "HEADRACE_HOME", "HEADRACE_WORKERS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TZ", "UTC")


@pytest.fixture
def headrace(capsys: pytest.CaptureFixture[str]) -> Headrace:
    """Run a command in this process."""

    def call(*words: object) -> Result:
        capsys.readouterr()
        code = main([str(word) for word in words])
        printed = capsys.readouterr()
        return Result(code, printed.out, printed.err)

    return call


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder, which is the working directory."""
    package = tmp_path / "cliflights"
    package.mkdir()
    (tmp_path / "headrace.toml").write_text('[project]\nname = "cliflights"\n')
    (package / "__init__.py").write_text("")
    (package / "pipelines.py").write_text(PIPELINES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def store(project: Path) -> Iterator[SqlStore]:
    """The project's store, with its code deployed."""
    (project / ".headrace").mkdir()
    opened = SqlStore(project / ".headrace" / "headrace.db")
    body = definitions.encode(load_project(project, "cliflights").project)
    write_facts(opened, f.LogTaken(1, "test", 0), f.CodeDeployed("c0de", msgspec.Raw(body), 0))
    yield opened
    opened.close()


def write_facts(store: SqlStore, *facts: Fact) -> None:
    """Append to the engine's log."""
    store.commit([Append("engine", None, facts)])


@pytest.fixture
def write() -> Callable[..., None]:
    return write_facts


@dataclass
class FakeEngine:
    """Holds the engine's lock and answers every request: what it was asked is in `asked`."""

    store: SqlStore
    locks: Path
    status: str = "done"
    answer: dict[str, Any] = field(default_factory=lambda: {"run": "1ng66r0y5e46"})
    asked: list[Request] = field(default_factory=list[Request])

    def __enter__(self) -> FakeEngine:
        self._right = take_right(self.locks / "engine.lock")
        assert self._right is not None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        assert self._right is not None
        self._right.release()

    def _serve(self) -> None:
        while not self._over.wait(0.005):
            for request in self.store.requests():
                self.asked.append(request)
                write_facts(self.store, f.RequestAnswered(request.id, self.status, self.answer, 0))


@pytest.fixture
def engine(store: SqlStore, project: Path) -> Iterator[FakeEngine]:
    with FakeEngine(store, project / ".headrace" / "locks") as alive:
        yield alive
