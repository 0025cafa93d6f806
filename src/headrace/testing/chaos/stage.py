"""The campaign's project on disk, and its engine: the real command, started again at once whenever it has died."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from headrace.testing.chaos.ledger import ENGINES, TASKS, Served, now_us, record
from headrace.testing.chaos.processes import of_project

COMMAND = (sys.executable, "-m", "headrace")
WITNESS, START = "CHAOS_WITNESS", "CHAOS_START"
SLOT_S = 2  # the step of the project's schedule
SHORT_LIFE_S, SHORT_LIVES = 10.0, 5  # so many engines that end by themselves so soon, one after the other: it is no use


class Stage:
    """A folder with a project, the witness's files beside it, and one engine."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.project = root / "project"
        shutil.copytree(Path(__file__).with_name("project"), self.project, ignore=shutil.ignore_patterns("__pycache__"))
        self.witness = root / "witness"
        self.witness.mkdir()
        self.database = self.project / ".headrace" / "headrace.db"
        self.first_slot_s = now_us() // 1_000_000 // SLOT_S * SLOT_S
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("HEADRACE_", "PYTEST_"))},
            WITNESS: str(self.witness / TASKS),
            START: _instant(self.first_slot_s),
        }
        self._engine: subprocess.Popen[bytes] | None = None
        self._started_s = 0.0
        self._short_lives = 0

    @property
    def engine(self) -> int | None:
        """The pid of the engine, None where none lives."""
        return None if self._engine is None or self._engine.poll() is not None else self._engine.pid

    @property
    def is_hopeless(self) -> bool:
        """Engines do not stay alive, though nobody kills them."""
        return self._short_lives >= SHORT_LIVES

    def tend(self, arm: Callable[[], dict[str, str]]) -> None:
        """Start an engine where none lives, with what `arm` adds to its environment."""
        if self.engine is not None:
            return
        self._note_end()
        with (self.root / "engine.log").open("ab") as output:
            self._engine = subprocess.Popen(
                [*COMMAND, "dev", "--no-reload"], cwd=self.project, env=self.environment | arm(),
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        self._started_s = time.monotonic()
        record(self.witness, ENGINES, Served("started", self._engine.pid, now_us()))

    def client(self, words: list[str], output: Path, armed: dict[str, str]) -> subprocess.Popen[bytes]:
        """`headrace …` in the project, beside everything else."""
        with output.open("wb") as file:
            return subprocess.Popen(
                [*COMMAND, *words], cwd=self.project, env=self.environment | armed,
                stdin=subprocess.DEVNULL, stdout=file, stderr=file,
            )  # fmt: skip

    def stop(self, grace_s: float) -> str:
        """Ask the engine to end. Returns what was wrong with how it did, or ""."""
        if self._engine is None:
            return ""
        self._engine.send_signal(signal.SIGTERM)
        try:
            code = self._engine.wait(grace_s)
        except subprocess.TimeoutExpired:
            return f"the engine did not end within {grace_s:g} s of SIGTERM"
        if code:
            return f"the engine ended with code {code} when it was asked to"
        left = of_project(WITNESS, self.environment[WITNESS])
        return f"processes {left} outlived their engine" if left else ""

    def end(self) -> None:
        """Leave nobody behind."""
        for pid in of_project(WITNESS, self.environment[WITNESS]):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if self._engine is not None:
            self._engine.wait()

    def said(self) -> str:
        log = self.root / "engine.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def _note_end(self) -> None:
        if self._engine is None:
            return
        code, lived_s = self._engine.returncode, time.monotonic() - self._started_s
        record(self.witness, ENGINES, Served("ended", self._engine.pid, now_us(), code))
        self._short_lives = self._short_lives + 1 if code > 0 and lived_s < SHORT_LIFE_S else 0
        self._engine = None


def _instant(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
