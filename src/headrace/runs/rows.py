"""Rows of the store about runs, as values: what a restart reads, and what the pages of a run show."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.data.facts import Part
from headrace.runs.facts import Gone, LogSpan, Value

RUN_LOGS = "run:"
"""How the logs of runs begin that have a process of their own."""


def run_file(log: str) -> str:
    """What the lock and the output of a run in a process of its own are called, which has a log of its own.

    >>> run_file("run:1-a")
    'run-1-a'
    """
    return log.replace(":", "-")


class RunRow(msgspec.Struct, frozen=True):
    """A run as it is now. Times are UTC microseconds; `generation` is 1 until it is retried."""

    run: str
    log: str
    pipeline: str
    code: str
    key: str
    cause: str
    state: str
    params: dict[str, Any]
    window: tuple[int, int] | None
    events: tuple[tuple[str, int, int, int], ...]
    why: str
    waits: tuple[str, ...]
    missing: tuple[str, ...]
    max_lost: int
    generation: int
    created_us: int
    ready_us: int | None
    started_us: int | None
    ended_us: int | None
    cancelled_by: str | None
    cancelled_why: str | None
    end_why: str | None
    result: Value | None
    dropped_us: int | None  # since when its details are gone


class CellRow(msgspec.Struct, frozen=True):
    """How many items of a task run at one path are where; `is_skipped`: the whole of it will not run."""

    run: str
    node: str
    path: str
    running: int
    succeeded: int
    failed: int
    skipped: int
    cancelled: int
    is_skipped: bool
    why: str | None
    after_failure: bool


class ItemRow(msgspec.Struct, frozen=True, gc=False):
    """One item of a task run, from its first attempt on. `error` is that of the last attempt that did not succeed."""

    run: str
    node: str
    path: str
    item: int
    state: str
    attempt: int
    epoch: int
    failures: int
    losses: int
    worker: str | None
    started_us: int | None
    ended_us: int | None
    took_us: int | None
    retry_at_us: int | None
    result: Value | None
    error: str | None
    detail: str | None
    why: str | None
    after_failure: bool
    log: LogSpan | None

    @property
    def was_lost(self) -> bool:
        """Whether its last attempt was, of those that did not succeed: nothing raised, so there is no traceback."""
        return self.error is not None and self.detail is None


class ScopeRow(msgspec.Struct, frozen=True):
    """A map scope has `n` items at `path`."""

    run: str
    scope: str
    path: str
    n: int


class ActiveRun(msgspec.Struct, frozen=True):
    """A run that has not ended, with all that has a row: items of a map that never started have none."""

    run: RunRow
    cells: tuple[CellRow, ...]
    items: tuple[ItemRow, ...]
    scopes: tuple[ScopeRow, ...]
    pins: dict[str, Any]
    replaced_by: dict[str, str]  # table → the run that has replaced there what this one had written


class Running(msgspec.Struct, frozen=True):
    """An attempt that is with a worker."""

    node: str
    path: str
    item: int
    attempt: int
    epoch: int


class OpenRun(msgspec.Struct, frozen=True):
    """A run that has not ended, as far as whoever ends it from the outside needs it: that can be read of damaged rows."""

    run: str
    log: str
    pipeline: str
    running: tuple[Running, ...] = ()


class OldDetails(msgspec.Struct, frozen=True):
    """Runs that ended long ago, and their facts that may go."""

    runs: tuple[str, ...]
    gone: tuple[Gone, ...]


class LeftFiles(msgspec.Struct, frozen=True):
    """A run whose rows no longer name its files, but for those of `values` and `paths`."""

    run: str
    values: tuple[Value, ...]
    paths: frozenset[str]


class Restored(msgspec.Struct, frozen=True):
    """One moment of the store, for the owner of a log: its unfinished runs, and the small state of the project.

    `codes` holds the canonical JSON of the current code version's definitions and of every version that an unfinished
    run goes on with. `unreadable`: unfinished run → why its rows cannot be read; it is not among `runs`.
    """

    code: str
    codes: dict[str, bytes]
    runs: tuple[ActiveRun, ...]
    unreadable: dict[str, str]
    paused: frozenset[str]
    schedules: dict[tuple[str, str], int]  # (pipeline, slug) → the last slot that is used up
    tables: dict[str, tuple[int, tuple[Part, ...]]]  # table → last version and its parts
    columns: dict[str, dict[str, str]]  # topic without schema= → the columns that it took from its rows
    models: dict[str, int]  # model → last version
    aliases: dict[tuple[str, str], int]  # (model, alias) → version
    served: dict[str, tuple[int, ...]]  # model → its champions in order
    champion_since_us: dict[str, int]  # model → event time from which its first champion serves
    controllers: dict[str, bytes]  # model → canonical JSON of its controller's state
    ended_trainings: dict[str, str]  # run that a controller still waits for → the state that it ended in
    streaks: dict[str, tuple[int, int]]  # asker → (length, window end)
    monitored_us: dict[str, int]  # monitor → end of the last window that has a run
