"""What a projector works with: neighbouring facts of one kind, and a connection whose every change is counted."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import msgspec

from headrace.base.facts import Fact
from headrace.errors import ConflictError, DisagreementError

F = TypeVar("F", bound=Fact)
Row = tuple[Any, ...]


@dataclass(slots=True)
class Group(Generic[F]):
    """Facts of one kind that follow each other in one log, the first at `seq`. `bodies`: payload bytes by seq."""

    log: str
    seq: int
    facts: Sequence[F]
    bodies: Mapping[int, bytes] = field(default_factory=dict[int, bytes])


class Work:
    """One transaction's row changes.

    Counters of cells are gathered and written once per cell by `flush`, so a map costs a cell update per commit, not
    per item.
    """

    __slots__ = ("_cells", "connection")

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._cells: dict[tuple[str, str, str], list[int]] = {}

    def change(self, sql: str, rows: Sequence[Row], group: Group[Any]) -> None:
        """Exactly one row changes per element of `rows`, else DisagreementError."""
        try:
            changed = self.connection.executemany(sql, rows).rowcount
        except sqlite3.IntegrityError as error:
            raise disagreement(group, str(error)) from error
        if changed != len(rows):
            raise disagreement(group, f"{changed} of {len(rows)} rows changed")

    def is_changed(self, sql: str, row: Row) -> bool:
        """Whether the one row was there to be changed."""
        return self.connection.execute(sql, row).rowcount == 1

    def one(self, sql: str, row: Row) -> Row | None:
        return self.connection.execute(sql, row).fetchone()

    def count(
        self, run: str, node: str, path: str, *, running: int = 0, succeeded: int = 0, failed: int = 0,
        skipped: int = 0, cancelled: int = 0,
    ) -> None:  # fmt: skip
        """Add to the counters of a cell."""
        cell = self._cells.get((run, node, path))
        if cell is None:
            self._cells[run, node, path] = [running, succeeded, failed, skipped, cancelled]
            return
        cell[0] += running
        cell[1] += succeeded
        cell[2] += failed
        cell[3] += skipped
        cell[4] += cancelled

    def flush(self) -> None:
        """Write what was counted. Called at the end of a transaction and before anything that reads cells."""
        if self._cells:
            self.connection.executemany(_COUNT, [(*cell, *by) for cell, by in self._cells.items()])
            self._cells.clear()


_COUNT = """
INSERT INTO cells (run, node, path, running, succeeded, failed, skipped, cancelled) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (run, node, path) DO UPDATE SET
    running = running + excluded.running,
    succeeded = succeeded + excluded.succeeded,
    failed = failed + excluded.failed,
    skipped = skipped + excluded.skipped,
    cancelled = cancelled + excluded.cancelled
"""


def disagreement(group: Group[Any], why: str) -> DisagreementError:
    """A fact says one thing and the rows another: the transaction must not happen."""
    first = group.facts[0]
    last_seq = group.seq + len(group.facts) - 1
    return DisagreementError(
        f"state and fact disagree: {first.kind} {text(first)[:200]}: {why}",
        where=f"{group.log} {group.seq}" + (f" to {last_seq}" if last_seq > group.seq else ""),
        cure="nothing was written; the writer must read the state again before it decides",
    )


def conflict(group: Group[Any], why: str) -> ConflictError:
    """The number that a fact takes is not free: another writer was faster, and this one decides again."""
    return ConflictError(
        f"another writer was faster: {why}",
        where=f"{group.log} {group.seq}",
        cure="nothing was written; the writer must read the state again before it decides",
    )


def text(value: object) -> str:
    """JSON, as it lies in the columns."""
    return msgspec.json.encode(value).decode()


def text_or_none(value: object) -> str | None:
    return None if value is None else text(value)


def nothing(work: Work, group: Group[Any]) -> None:
    """This kind of fact is history only: no row depends on it."""
