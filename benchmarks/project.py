"""A real project in a folder of its own, and a real engine that serves it: `headrace dev --no-reload`."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from headrace.host.doorbell import doorbell_path, ring
from headrace.settings import Settings, read_settings
from headrace.storage.local import LocalStorage
from headrace.storage.values import Values
from headrace.store.sql.engine_store import EngineSqlStore
from headrace.store.sql.reads import runs as run_rows
from headrace.store.sql.reads import streams as stream_rows

PATIENCE_S = 120.0
_LOOK_EVERY_S = 0.0005


@dataclass(frozen=True, slots=True)
class Ran:
    """A run that was asked for and has ended, in seconds of the monotonic clock."""

    run: str
    asked_s: float
    ended_s: float

    @property
    def seconds(self) -> float:
        return self.ended_s - self.asked_s


class Project:
    """A project on disk. `source` is a file of `benchmarks/projects`."""

    def __init__(self, root: Path, source: str) -> None:
        self.root = root
        shutil.copy(Path(__file__).parent / "projects" / f"{source}.py", root / "flow.py")
        (root / "headrace.toml").write_text('workers = 2\n\n[project]\nname = "flow"\n')
        self.settings: Settings = read_settings(root)
        self.settings.home.mkdir()
        self.store = EngineSqlStore(self.settings.database)
        self.values = Values(LocalStorage(self.settings.artifacts))
        self.engine: subprocess.Popen[bytes] | None = None
        self._asked = 0
        self._bell = doorbell_path(self.settings.home)

    # -- the engine ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the engine; it is not ready when this returns."""
        command = [sys.executable, "-m", "headrace", "dev", "--no-reload", "--project", str(self.root)]
        with (self.root / "engine.log").open("ab") as log:
            self.engine = subprocess.Popen(command, cwd=self.root, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def stop(self) -> None:
        """End the engine and wait for it."""
        if self.engine is not None:
            self.engine.terminate()
            self.engine.wait(30)
            self.engine = None

    def kill(self) -> None:
        """End the engine as a crash would: kill -9."""
        assert self.engine is not None
        self.engine.kill()
        self.engine.wait(30)
        self.engine = None

    # -- asking --------------------------------------------------------------------------------------------------

    def ask(self, pipeline: str, **params: Any) -> int:
        """Ask for a run, durably, and ring."""
        self._asked += 1
        body = {"pipeline": pipeline, "params": params, "by": "benchmark"}
        key = f"benchmark:{time.time_ns()}:{self._asked}"
        request = self.store.ask("trigger", body, key=key, at_us=time.time_ns() // 1000)
        self.ring()
        return request

    def ring(self) -> None:
        """Tell the engine that something was written."""
        ring(self._bell)

    def answered(self, request: int) -> str:
        """The run that the request has led to."""
        self.until(lambda: self.store.answer(request) is not None)
        status, answer = self.store.answer(request) or ("", {})
        if status != "done":
            raise RuntimeError(f"the engine {status}: {answer}\n{self.said()}")
        return answer["run"]

    def run(self, pipeline: str, **params: Any) -> Ran:
        """Ask for a run and wait for its end."""
        asked_s = time.monotonic()
        run = self.answered(self.ask(pipeline, **params))
        self.until(lambda: self.ended(run))
        return Ran(run, asked_s, time.monotonic())

    def ended(self, run: str) -> bool:
        """Whether it has. Raises RuntimeError where it did not succeed."""
        row = run_rows.run(self.store.database, run)
        if row is None or row.ended_us is None:
            return False
        if row.state != "succeeded":
            raise RuntimeError(f"run {run} {row.state}: {row.end_why}\n{self.said()}")
        return True

    def result(self, run: str, task: str) -> Any:
        """What a task of the run has returned."""
        item = run_rows.item(self.store.database, run, task, "", 0)
        if item is None or item.result is None:
            raise RuntimeError(f"task {task} of run {run} has no result")
        return self.values.decode(item.result)

    def until(self, happened: Callable[[], bool]) -> None:
        """Wait, looking only after somebody has written. Raises TimeoutError with the engine's words, or when it died."""
        patience_s = time.monotonic() + PATIENCE_S
        changes = -1
        while True:
            now = self.store.change_count()
            if now != changes:
                changes = now
                if happened():
                    return
            if time.monotonic() > patience_s or (self.engine is not None and self.engine.poll() is not None):
                raise TimeoutError(self.said())
            time.sleep(_LOOK_EVERY_S)

    def until_streaming(self, shards: int) -> None:
        """Wait until so many shards know where they begin, and a trigger where it stands."""

        def is_there() -> bool:
            rows = stream_rows.shards(self.store.database)
            triggers = stream_rows.triggers(self.store.database)
            return sum(row.next_offset is not None for row in rows) + len(triggers) >= shards

        self.until(is_there)

    def said(self) -> str:
        """The last words of the engine and its processes."""
        logs = [self.root / "engine.log", *sorted(self.settings.logs.glob("stream*.log"))]
        return "\n".join(path.read_text()[-2000:] for path in logs if path.exists())


@contextmanager
def project(source: str, *, is_served: bool = True) -> Generator[Project]:
    """A project in a new folder, served by an engine unless told otherwise; both are gone afterwards."""
    root = Path(mkdtemp(prefix="headrace-bench-"))
    made = Project(root, source)
    try:
        if is_served:
            made.start()
        yield made
    finally:
        made.stop()
        made.store.close()
        shutil.rmtree(root)
