"""What the engine's step wants done once its facts are committed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from headrace.definitions.nodes import Node
from headrace.runs.facts import Value
from headrace.runs.path import Path


@dataclass(frozen=True, slots=True)
class StartAttempt:
    """Hand an attempt to a worker. `upstream` holds the single results that it needs; joins are read from the store."""

    worker: str
    serial: int
    run: str
    pipeline: str
    code: str
    node: Node
    path: Path
    item: int
    attempt: int
    epoch: int
    upstream: dict[tuple[str, Path], Value]


@dataclass(frozen=True, slots=True)
class SpawnWorker:
    worker: str
    code: str


@dataclass(frozen=True, slots=True)
class StopWorker:
    """Ask an idle worker to leave."""

    worker: str


@dataclass(frozen=True, slots=True)
class CancelAttempt:
    """Tell the attempt to stop: raised inside its code, or answered at once where it waits in the worker's queue."""

    worker: str
    serial: int


@dataclass(frozen=True, slots=True)
class KillWorker:
    worker: str
    why: str


@dataclass(frozen=True, slots=True)
class AnswerPin:
    worker: str
    serial: int
    dataset: str
    pin: Any


@dataclass(frozen=True, slots=True)
class ReloadRun:
    """Read the run's rows again and give them to the machine: its facts changed more than one item."""

    run: str


@dataclass(frozen=True, slots=True)
class ReadSlots:
    """Read which slots of a schedule after `after_us` have a run, and tell the machine: they must not get another."""

    pipeline: str
    slug: str
    after_us: int


Command = StartAttempt | SpawnWorker | StopWorker | CancelAttempt | KillWorker | AnswerPin | ReloadRun | ReadSlots
