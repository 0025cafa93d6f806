"""What attempts print: those that run now, and how far the output of ended ones reaches in a log file."""

from __future__ import annotations

from typing import NamedTuple

from headrace.store.sql.connection import Database


class Begun(NamedTuple):
    """An attempt that a worker of `log` was given: `worker` is its name, and after `#` the serial of the start."""

    run: str
    node: str
    path: str
    item: int
    attempt: int
    worker: str
    log: str


def begun(db: Database) -> list[Begun]:
    """Every attempt that is with a worker."""
    rows = db.read(
        "SELECT i.run, i.node, i.path, i.item, i.attempt, i.worker, r.log FROM runs r JOIN items i USING (run)"
        " WHERE r.ended_us IS NULL AND i.state = 'running' AND i.worker IS NOT NULL"
    )
    return [Begun(*row) for row in rows]


def end_in(db: Database, file: str) -> int:
    """Where the part of the last attempt ends that ended in this log file; 0 where none has."""
    return db.read("SELECT coalesce(max(log_end), 0) FROM items WHERE log_file = ?", (file,))[0][0]
