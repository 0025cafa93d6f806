"""The witness: what tasks, clients and the campaign itself have seen, in files outside the store."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

TASKS, CLIENTS, STRIKES, ENGINES = "tasks.jsonl", "clients.jsonl", "strikes.jsonl", "engines.jsonl"


class Signed(msgspec.Struct, frozen=True):
    """A function of the project: an attempt `began` or `raised`, or a stream `scored` these rows."""

    what: str
    pid: int
    parent: int
    at_us: int
    run: str = ""
    task: str = ""
    item: int = 0
    attempt: int = 0
    epoch: int = 0
    values: tuple[int, ...] = ()


class Asked(msgspec.Struct, frozen=True):
    """A client before it asks, and after: `acknowledged` (exit code 0), `refused` (another one), `killed` by us.

    `numbers` are what its rows or its run are about; each number is used once in a campaign.
    """

    what: str
    client: int
    verb: str  # "trigger" | "run" | "append"
    name: str  # of the pipeline or topic
    numbers: tuple[int, ...]
    at_us: int
    code: int = 0
    said: str = ""


class Struck(msgspec.Struct, frozen=True):
    """A process that was killed or stopped, by the campaign or (`point`) by itself at a failpoint."""

    kind: str  # "engine" | "worker" | "stream" | "client"
    pid: int
    what: str  # "kill" | "stop" | "continue"
    point: str
    at_us: int


class Served(msgspec.Struct, frozen=True):
    """An engine process `started`, or `ended` with a code."""

    what: str
    pid: int
    at_us: int
    code: int = 0


@dataclass(frozen=True)
class Ledger:
    """All that was witnessed."""

    tasks: tuple[Signed, ...]
    clients: tuple[Asked, ...]
    strikes: tuple[Struck, ...]
    engines: tuple[Served, ...]


Entry = TypeVar("Entry", bound=msgspec.Struct)


def record(folder: Path, file: str, entry: msgspec.Struct) -> None:
    """Append one line, durably."""
    fd = os.open(folder / file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(fd, msgspec.json.encode(entry) + b"\n")
        os.fsync(fd)
    finally:
        os.close(fd)


def read_ledger(folder: Path) -> Ledger:
    """Everything in the folder's files."""
    return Ledger(
        _read(folder / TASKS, Signed), _read(folder / CLIENTS, Asked), _read(folder / STRIKES, Struck),
        _read(folder / ENGINES, Served),
    )  # fmt: skip


def _read(path: Path, shape: type[Entry]) -> tuple[Entry, ...]:
    if not path.exists():
        return ()
    return tuple(msgspec.json.decode(line, type=shape) for line in path.read_bytes().splitlines())


def now_us() -> int:
    return time.time_ns() // 1000
