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
from headrace.errors import DamagedError
from headrace.runs.rows import ActiveRun, OpenRun, Restored, Running, ScopeRow
from headrace.store.sql.connection import Database
from headrace.store.sql.reads.monitors import last_ends
from headrace.store.sql.reads.rows import build, plain, selected
from headrace.store.sql.reads.runs import (
    CELL_COLUMNS,
    ITEM_COLUMNS,
    RUN_COLUMNS,
    cell_row,
    item_row,
    run_row,
)

_PARTS = msgspec.json.Decoder(tuple[Part, ...])
_SENSELESS = (ValueError, TypeError)  # what decoding text raises that is no longer what was written


def restore(db: Database, log: str) -> Restored:
    """All of it in one read transaction, so that the rows fit together. Raises DamagedError; but not for a run."""
    with db.reading(is_snapshot=True) as connection:
        try:
            return _restored(connection, log)
        except _SENSELESS as error:
            raise _damaged(f"{type(error).__name__}: {error}", db.path) from error


def _restored(connection: sqlite3.Connection, log: str) -> Restored:
    ask = connection.execute
    runs, unreadable = _unfinished(connection, "r.log = ?", log)
    code = (ask("SELECT code FROM current_code").fetchone() or ("",))[0]
    served, since_us = _champions(connection)
    return Restored(
        code=code,
        codes=_codes(connection, {code, *(run.run.code for run in runs)} - {""}),
        runs=tuple(runs),
        unreadable=unreadable,
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


def active_run(db: Database, run: str) -> ActiveRun | None:
    """One run with all that has a row; None where it has ended or does not exist. Raises DamagedError."""
    with db.reading(is_snapshot=True) as connection:
        found, unreadable = _unfinished(connection, "r.run = ?", run)
    if unreadable:
        raise _damaged(unreadable[run], f"run {run}")
    return found[0] if found else None


def open_run(db: Database, run: str) -> OpenRun | None:
    """One run without what is read of text that may be damaged; None where it has ended or does not exist."""
    with db.reading(is_snapshot=True) as connection:
        ask = connection.execute
        row = ask("SELECT run, log, pipeline FROM runs WHERE run = ? AND ended_us IS NULL", (run,)).fetchone()
        sql = "SELECT node, path, item, attempt, epoch FROM items WHERE run = ? AND state = 'running'"
        return None if row is None else build(OpenRun, *row, tuple(Running(*x) for x in ask(sql, (run,))))


def _unfinished(connection: sqlite3.Connection, where: str, wanted: str) -> tuple[list[ActiveRun], dict[str, str]]:
    """Runs, the oldest first, and of those whose rows are not what was written why."""
    chosen = f"{where} AND r.ended_us IS NULL"

    def parts(table: str, columns: str) -> dict[str, list[tuple[Any, ...]]]:
        sql = f"SELECT {selected(columns, 'x.')} FROM runs r JOIN {table} x USING (run) WHERE {chosen}"
        found: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
        for row in connection.execute(sql, (wanted,)):
            found[row[0]].append(row)
        return found

    cells, items = parts("cells", CELL_COLUMNS), parts("items", ITEM_COLUMNS)
    scopes, pins = parts("scopes", "run, scope, path, n"), parts("pins", "run, dataset, pin")
    replaced_by: dict[str, dict[str, str]] = defaultdict(dict)
    for run, table, other in connection.execute(_REPLACED.format(chosen=chosen), (wanted,)):
        replaced_by[run][table] = other
    runs: list[ActiveRun] = []
    unreadable: dict[str, str] = {}
    sql = f"SELECT {RUN_COLUMNS} FROM runs r WHERE {chosen} ORDER BY first_seq"
    for row in connection.execute(sql, (wanted,)):
        run = row[0]
        try:
            runs.append(
                ActiveRun(
                    run_row(row),
                    tuple(map(cell_row, cells.pop(run, ()))),
                    tuple(map(item_row, items.pop(run, ()))),
                    tuple(ScopeRow(*scope) for scope in scopes[run]),
                    {dataset: plain(pin) for _, dataset, pin in pins[run]},
                    replaced_by[run],
                )
            )
        except _SENSELESS as error:
            unreadable[run] = f"{type(error).__name__}: {error}"
    return runs, unreadable


def _damaged(why: str, where: str) -> DamagedError:
    cure = "headrace doctor shows what is broken; restore a copy:  headrace restore"
    return DamagedError(f"the rows are not what was written: {why}", where=where, cure=cure)


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
