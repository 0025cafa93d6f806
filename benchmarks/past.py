"""Years of past runs in a store, made in seconds: one real run's rows, written again under other names."""

from __future__ import annotations

import sqlite3
from pathlib import Path

_PAGE = 20_000  # runs in a transaction
_OWN = ("runs", "cells", "items", "scopes", "pins", "reads")
_TIMES = ("at_us", "created_us", "ready_us", "started_us", "ended_us")


def repeat_run(database: Path, run: str, numbers: range, *, during: tuple[int, int] | None = None) -> None:
    """Add one copy of an ended run for each number, with all its rows and facts, as older runs of the same pipeline.

    `during` (UTC microseconds) spreads their times evenly over a span; the bodies of facts keep theirs. The engine must
    be stopped: its log is written. The copies' facts follow the log's last one, without a gap, so that the store is one
    that an engine could have made.
    """
    connection = sqlite3.connect(database, isolation_level=None)
    try:
        log, first, last, created_us = connection.execute(
            "SELECT log, first_seq, last_seq, created_us FROM runs WHERE run = ?", (run,)
        ).fetchone()
        later = "0"
        if during is not None:
            step_us = (during[1] - during[0]) // len(numbers)
            later = f"{during[0] - created_us} + (k - {numbers.start}) * {step_us}"
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -400000")
        connection.execute("CREATE TEMP TABLE n (k INTEGER PRIMARY KEY)")
        for begin in range(numbers.start, numbers.stop, _PAGE):
            page = range(begin, min(begin + _PAGE, numbers.stop))
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("DELETE FROM n")
            connection.executemany("INSERT INTO n VALUES (?)", ((k,) for k in page))
            _repeat(connection, page, run, (log, first, last), later)
            connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()


def _repeat(connection: sqlite3.Connection, page: range, run: str, facts: tuple[str, int, int], later: str) -> None:
    log, first, last = facts
    head = connection.execute("SELECT head FROM logs WHERE name = ?", (log,)).fetchone()[0]
    size = last - first + 1
    place = f"{head} + (k - {page.start}) * {size}"
    name = "printf('0%011d', k)"  # twelve characters that sort before every real run
    connection.execute(
        f"INSERT INTO facts SELECT log, {place} + seq - {first} + 1, kind, version, at_us + {later},"
        f" CAST(replace(CAST(body AS TEXT), ?, {name}) AS BLOB)"
        " FROM n CROSS JOIN facts WHERE log = ? AND seq BETWEEN ? AND ? ORDER BY k, seq",
        (run, log, first, last),
    )
    for table in _OWN:
        columns = [str(row[1]) for row in connection.execute(f"PRAGMA table_info({table})")]
        new = {"run": name, "key": "key || ':' || k", "first_seq": f"{place} + 1", "last_seq": f"{place} + {size}"}
        new |= {column: f"{column} + {later}" for column in _TIMES}
        given = ", ".join(new.get(column, column) for column in columns)
        connection.execute(f"INSERT INTO {table} SELECT {given} FROM n CROSS JOIN {table} WHERE run = ?", (run,))
    connection.execute("UPDATE logs SET head = head + ? WHERE name = ?", (size * len(page), log))
