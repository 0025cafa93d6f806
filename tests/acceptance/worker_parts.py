"""The wiring of the workers in `test_worker_process`: a loaded project, local artifacts, an empty store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headrace.executors.attempt import CurrentAttempt
from headrace.executors.parts import AskPin, Parts
from headrace.executors.protocol import Setup, Start
from headrace.graph.project import load_project
from headrace.runs.effects import NO_EFFECTS, Effects
from headrace.runs.facts import Read, TableWrite
from headrace.storage.local import LocalStorage, attempt_prefix
from headrace.storage.values import Values


class NoResults:
    def one(self, run: str, node: str, indices: tuple[int, ...]) -> None:
        return None

    def below(self, run: str, node: str, prefix: tuple[int, ...]) -> list[Any]:
        return []

    def expanded(self, run: str, scope: str, prefix: tuple[int, ...]) -> list[Any]:
        return []


class PinningAccess:
    """Reads ask the engine for their pin; writes become effects."""

    def __init__(self, start: Start, ask: AskPin) -> None:
        self._start, self._ask = start, ask
        self.reads: tuple[Read, ...] = ()
        self.effects: Effects = NO_EFFECTS

    def read_table(self, table: Any, version: int | None, at_us: int | None) -> Any:
        pin = self._ask(f"table:{table.name}", 7)
        self.reads = (*self.reads, Read("table", table.name, pin))
        return pin

    def write_table(self, table: Any, rows: Any) -> None:
        self.effects = Effects(tables=(TableWrite(table.name, table.mode, "part.parquet", len(rows), 1, "d"),))

    def attempt(self) -> CurrentAttempt:
        return CurrentAttempt.of(self._start)


def make(setup: Setup) -> Parts:
    loaded = load_project(Path(setup.code_path), setup.project)
    if loaded.problems:
        raise ImportError(loaded.problems[0].message)
    return Parts(
        loaded=loaded,
        values=Values(LocalStorage(Path(setup.home) / "artifacts"), allow_pickle=setup.allow_pickle),
        results=NoResults(),
        make_access=PinningAccess,  # type: ignore[arg-type]
        prefix=lambda s: attempt_prefix(s.run, s.node, ".".join(map(str, s.path)), s.item, s.attempt, s.epoch),
    )
