"""The processes of a running engine, and signals to them (Linux)."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

KINDS = (("worker", b"headrace.executors.worker"), ("stream", b"headrace.shards.process"))


def family(engine: int) -> list[tuple[str, int]]:
    """(kind, pid) of the engine's workers and stream processes that live now."""
    return sorted(
        (kind, pid)
        for pid, command in _living(lambda parent: parent == engine)
        for kind, mark in KINDS
        if mark in command
    )


def send(pid: int, number: signal.Signals) -> bool:
    """False where no process has this id any more."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def of_project(variable: str, value: str) -> list[int]:
    """Pids of all living processes in whose environment the variable has this value."""
    mark = f"{variable}={value}".encode()
    found: list[int] = []
    for pid, _ in _living(lambda _: True):
        try:
            if mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.append(pid)
        except OSError:
            continue  # it ended while we looked
    return found


def _living(wanted: Callable[[int], bool]) -> list[tuple[int, bytes]]:
    """(pid, command) of those processes whose parent is wanted."""
    found: list[tuple[int, bytes]] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            if state != "Z" and wanted(int(parent)):
                found.append((int(entry.name), (entry / "cmdline").read_bytes()))
        except (OSError, ValueError):
            continue  # it ended while we looked
    return found
