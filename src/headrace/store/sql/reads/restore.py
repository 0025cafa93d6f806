"""What an engine needs to go on where another one stopped: unfinished work and the small state beside it.

The work that is done stays in the database, so starting costs what is active, not what ever ran.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import msgspec

from headrace.data.facts import Part
from headrace.runs.rows import ActiveRun, CellRow, ItemRow, Restored, ScopeRow
from headrace.store.sql.connection import Database
from headrace.store.sql.reads.monitors import last_ends
from headrace.store.sql.reads.rows import plain, selected
from headrace.store.sql.reads.runs import (
    CELL_COLUMNS,
    ITEM_COLUMNS,
    RUN_COLUMNS,
    cell_row,
    item_row,
    run_row,
)

_PARTS = msgspec.json.Decoder(tuple[Part, ...])


def restore(db: Database, log: str) -> Restored:
    """All of it in one read transaction, so that the rows fit together."""
    with db.reading(is_snapshot=True) as connection:
        ask = connection.execute
        runs = tuple(_active_runs(connection, log))
        code = (ask("SELECT code FROM current_code").fetchone() or ("",))[0]
        served, since_us = _champions(connection)
        return Restored(
            code=code,
            codes=_codes(connection, {code, *(run.run.code for run in runs)} - {""}),
            runs=runs,
            paused=frozenset(name for (name,) in ask("SELECT pipeline FROM paused WHERE is_paused")),
            schedules=_pairs(ask("SELECT pipeline, slug, last_us FROM schedules")),
            tables={
                name: (version, _PARTS.decode(parts))
                for name, version, parts in ask(
                    "SELECT t.name, t.version, v.parts FROM tables t"
                    " CROSS JOIN table_versions v ON v.name = t.name AND v.version = t.version"  # in this order
                )
            },
            columns={
                name: plain(schema) for name, schema in ask("SELECT name, schema FROM topics WHERE schema IS NOT NULL")
            },
            models=dict(ask("SELECT name, last_version FROM models")),
            aliases=_pairs(ask("SELECT model, alias, version FROM aliases")),
            served=served,
            champion_since_us=since_us,
            controllers={model: state.encode() for model, state in ask("SELECT model, state FROM controllers")},
            ended_trainings=dict(
                ask(
                    "SELECT r.run, r.state FROM controllers c"
                    " CROSS JOIN runs r ON r.run = json_extract(c.state, '$.run') WHERE r.ended_us IS NOT NULL"
                )
            ),
            streaks={asker: (n, end) for asker, n, end in ask("SELECT asker, length, window_end_us FROM streaks")},
            monitored_us=last_ends(ask),
        )


def _codes(connection: sqlite3.Connection, wanted: Iterable[str]) -> dict[str, bytes]:
    sql = "SELECT project FROM codes WHERE code = ?"
    return {code: body.encode() for code in wanted for (body,) in connection.execute(sql, (code,))}


def _champions(connection: sqlite3.Connection) -> tuple[dict[str, tuple[int, ...]], dict[str, int]]:
    """Of every model its champions in order, and from which event time the first one serves."""
    served: dict[str, tuple[int, ...]] = {}
    since_us: dict[str, int] = {}
    history = "SELECT model, version, coalesce(event_us, at_us) FROM alias_history WHERE alias = 'champion'"
    for model, version, event_us in connection.execute(f"{history} ORDER BY at_us, log, seq"):
        served[model] = (*served.get(model, ()), version)
        since_us.setdefault(model, event_us)
    return served, since_us


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
    replaced_by: dict[str, dict[str, str]] = defaultdict(dict)
    for run, table, other in connection.execute(_REPLACED.format(chosen=chosen), (wanted,)):
        replaced_by[run][table] = other
    sql = f"SELECT {RUN_COLUMNS} FROM runs r WHERE {chosen} ORDER BY first_seq"
    return [
        ActiveRun(
            run,
            tuple(cells[run.run]),
            tuple(items[run.run]),
            tuple(scopes[run.run]),
            pins[run.run],
            replaced_by[run.run],
        )
        for run in map(run_row, connection.execute(sql, (wanted,)))
    ]


# Only versions after the run's own are looked at, of the tables that it has written.
_REPLACED = """
SELECT own.run, later.name, later.run FROM (
    SELECT v.run, v.name, min(v.version) AS first FROM runs r CROSS JOIN table_versions v USING (run)
    WHERE {chosen} GROUP BY v.run, v.name
) own
CROSS JOIN table_versions later ON later.name = own.name AND later.version > own.first
JOIN json_each(later.replaced) other ON other.value = own.run
ORDER BY later.version
"""


def _pairs(rows: Iterable[tuple[str, str, int]]) -> dict[tuple[str, str], int]:
    return {(first, second): number for first, second, number in rows}
