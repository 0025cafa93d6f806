"""What an engine needs to go on where another one stopped: unfinished work and the small state beside it.

The work that is done stays in the database, so starting costs what is active, not what ever ran.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import msgspec

from headrace.runs.rows import ActiveRun, CellRow, ItemRow, ScopeRow
from headrace.store.sql.connection import Database
from headrace.store.sql.reads.rows import plain, selected
from headrace.store.sql.reads.runs import (
    CELL_COLUMNS,
    ITEM_COLUMNS,
    RUN_COLUMNS,
    cell_row,
    item_row,
    run_row,
)


class Snapshot(msgspec.Struct, frozen=True):
    """One moment of the store, as seen by the owner of `log`.

    `head` and `epoch` are the log's; `code` is the current code version and `project` the canonical JSON of its
    definitions ("" and b"" before the first deploy).
    """

    log: str
    head: int
    epoch: int
    code: str
    project: bytes
    runs: tuple[ActiveRun, ...]
    paused: frozenset[str]
    schedules: dict[tuple[str, str], int]  # (pipeline, slug) → the last slot that is used up
    cursors: dict[str, int]  # log → seq up to which this log has acted on it
    tables: dict[str, int]  # table → last version
    topics: dict[str, int | None]  # topic → event time through which it is declared complete
    models: dict[str, int]  # model → last version
    aliases: dict[tuple[str, str], int]  # (model, alias) → version
    controllers: dict[str, bytes]  # model → canonical JSON of its controller's state
    streaks: dict[str, tuple[int, int]]  # asker → (length, window end)
    windows: dict[str, int]  # monitor → end of its last window
    playback: tuple[int, int] | None  # (step, through_us)


def restore(db: Database, log: str) -> Snapshot:
    """All of it in one read transaction."""
    with db.reading(is_snapshot=True) as connection:
        ask = connection.execute
        head, epoch = ask("SELECT head, epoch FROM logs WHERE name = ?", (log,)).fetchone() or (0, 0)
        code = ask("SELECT code, project FROM current_code JOIN codes USING (code)").fetchone() or ("", "")
        return Snapshot(
            log=log,
            head=head,
            epoch=epoch,
            code=code[0],
            project=code[1].encode(),
            runs=tuple(_active_runs(connection, log)),
            paused=frozenset(name for (name,) in ask("SELECT pipeline FROM paused WHERE is_paused")),
            schedules=_pairs(ask("SELECT pipeline, slug, last_us FROM schedules")),
            cursors=dict(ask("SELECT log, seq FROM cursors WHERE owner = ?", (log,))),
            tables=dict(ask("SELECT name, version FROM tables")),
            topics=dict(ask("SELECT name, complete_through_us FROM topics")),
            models=dict(ask("SELECT name, last_version FROM models")),
            aliases=_pairs(ask("SELECT model, alias, version FROM aliases")),
            controllers={model: state.encode() for model, state in ask("SELECT model, state FROM controllers")},
            streaks={asker: (n, end) for asker, n, end in ask("SELECT asker, length, window_end_us FROM streaks")},
            windows=dict(ask("SELECT monitor, max(end_us) FROM windows GROUP BY monitor")),
            playback=ask("SELECT step, through_us FROM playback").fetchone(),
        )


def active_runs(db: Database, log: str) -> list[ActiveRun]:
    """Every run of this log that has not ended, oldest first."""
    with db.reading(is_snapshot=True) as connection:
        return _active_runs(connection, log)


def active_run(db: Database, run: str) -> ActiveRun | None:
    """One run with all that has a row; None where it has ended or does not exist."""
    with db.reading(is_snapshot=True) as connection:
        found = _unfinished(connection, "r.run = ?", run)
    return found[0] if found else None


def _active_runs(connection: sqlite3.Connection, log: str) -> list[ActiveRun]:
    return _unfinished(connection, "r.log = ?", log)


def _unfinished(connection: sqlite3.Connection, where: str, wanted: str) -> list[ActiveRun]:
    chosen = f"{where} AND r.ended_us IS NULL"

    def parts(table: str, columns: str) -> Iterable[tuple[Any, ...]]:
        sql = f"SELECT {selected(columns, 'x.')} FROM runs r JOIN {table} x USING (run) WHERE {chosen}"
        return connection.execute(sql, (wanted,))

    cells: dict[str, list[CellRow]] = defaultdict(list)
    items: dict[str, list[ItemRow]] = defaultdict(list)
    scopes: dict[str, list[ScopeRow]] = defaultdict(list)
    pins: dict[str, dict[str, Any]] = defaultdict(dict)
    for row in parts("cells", CELL_COLUMNS):
        cells[row[0]].append(cell_row(row))
    for row in parts("items", ITEM_COLUMNS):
        items[row[0]].append(item_row(row))
    for row in parts("scopes", "run, scope, path, n"):
        scopes[row[0]].append(ScopeRow(*row))
    for run, dataset, pin in parts("pins", "run, dataset, pin"):
        pins[run][dataset] = plain(pin)
    sql = f"SELECT {RUN_COLUMNS} FROM runs r WHERE {chosen} ORDER BY first_seq"
    return [
        ActiveRun(run, tuple(cells[run.run]), tuple(items[run.run]), tuple(scopes[run.run]), pins[run.run])
        for run in map(run_row, connection.execute(sql, (wanted,)))
    ]


def _pairs(rows: Iterable[tuple[str, str, int]]) -> dict[tuple[str, str], int]:
    return {(first, second): number for first, second, number in rows}
