"""Runs, their task runs and attempts: what the run pages show and what a joining task reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from headrace.base.facts import Fact
from headrace.runs.facts import (
    AttemptCancelled,
    AttemptFailed,
    AttemptLost,
    AttemptReturned,
    AttemptStarted,
    AttemptSucceeded,
    LogSpan,
    Value,
)
from headrace.runs.rows import CellRow, ItemRow, RunRow, ScopeRow
from headrace.runs.slot_key import slot_of, slot_prefix
from headrace.store.sql import kinds
from headrace.store.sql.connection import Database
from headrace.store.sql.reads.rows import PAGE, build, page, plain, selected

RUN_COLUMNS = (
    "run, log, pipeline, code, key, cause, state, params, window_start_us, window_end_us, events, why, waits, missing,"
    " max_lost, generation, created_us, ready_us, started_us, ended_us, cancelled_by, cancelled_why, end_why, result,"
    " dropped_us"
)
CELL_COLUMNS = "run, node, path, running, succeeded, failed, skipped, cancelled, is_skipped, why, after_failure"
ITEM_COLUMNS = (
    "run, node, path, item, state, attempt, epoch, failures, losses, worker, started_us, ended_us, took_us,"
    " retry_at_us, result, error, detail, why, after_failure, log_file, log_start, log_end"
)
_EVENTS = msgspec.json.Decoder(tuple[tuple[str, int, int, int], ...])
_NAMES = msgspec.json.Decoder(tuple[str, ...])
_VALUE = msgspec.json.Decoder(Value)


def run_row(row: tuple[Any, ...]) -> RunRow:
    """From a row of `RUN_COLUMNS`."""
    start_us, end_us = row[8], row[9]
    return build(
        RunRow,
        *row[:7], plain(row[7]), None if start_us is None else (start_us, end_us), _EVENTS.decode(row[10]), row[11],
        _NAMES.decode(row[12]), _NAMES.decode(row[13]), *row[14:23], value(row[23]), row[24],
    )  # fmt: skip


def cell_row(row: tuple[Any, ...]) -> CellRow:
    """From a row of `CELL_COLUMNS`."""
    return build(CellRow, *row[:8], bool(row[8]), row[9], bool(row[10]))


def item_row(row: tuple[Any, ...]) -> ItemRow:
    """From a row of `ITEM_COLUMNS`."""
    span = None if row[19] is None else LogSpan(row[19], row[20], row[21])
    return build(ItemRow, *row[:14], value(row[14]), *row[15:18], bool(row[18]), span)


def value(text: str | None) -> Value | None:
    return None if text is None else _VALUE.decode(text)


def runs(
    db: Database,
    *,
    pipeline: str | None = None,
    states: Sequence[str] | None = None,
    cause: str | None = None,
    before: str | None = None,
    limit: int = 50,
) -> list[RunRow]:
    """Newest first; `before` is the id of the last run of the page before."""
    where: list[str] = []
    given: list[Any] = []
    for condition, wanted in (("pipeline = ?", pipeline), ("cause = ?", cause), ("run < ?", before)):
        if wanted is not None:
            where.append(condition)
            given.append(wanted)
    if states is not None:
        where.append(f"state IN ({', '.join('?' * len(states))})")
        given.extend(states)
    chosen = f" WHERE {' AND '.join(where)}" if where else ""
    sql = f"SELECT {RUN_COLUMNS} FROM runs{chosen} ORDER BY run DESC LIMIT ?"
    return [run_row(row) for row in db.read(sql, (*given, page(limit)))]


def run(db: Database, run: str) -> RunRow | None:
    rows = db.read(f"SELECT {RUN_COLUMNS} FROM runs WHERE run = ?", (run,))
    return run_row(rows[0]) if rows else None


def run_by_key(db: Database, key: str) -> RunRow | None:
    rows = db.read(f"SELECT {RUN_COLUMNS} FROM runs WHERE key = ?", (key,))
    return run_row(rows[0]) if rows else None


def slots_run(db: Database, pipeline: str, slug: str, after_us: int) -> list[int]:
    """The slots of a schedule after that instant that have a run or asked for a training, in order."""
    prefix = slot_prefix(pipeline, slug)
    # Instants from 2001 to 2286 have 16 digits in microseconds, so keys are in their order.
    bounds = (f"{prefix}{max(after_us, 10**15)}", f"{prefix}:")
    sql = "SELECT key FROM runs WHERE key > ?1 AND key < ?2 UNION"
    sql += " SELECT key FROM asks WHERE key <> '' AND key > ?1 AND key < ?2"
    keys = db.read(f"{sql} ORDER BY key", bounds)
    return [slot_of(pipeline, key)[1] for (key,) in keys]


def contenders(db: Database, pipeline: str) -> list[tuple[str, str, bool]]:
    """(run, code, whether it has started) of the runs that an engine lets begin or holds, oldest first.

    One that has not started counts where it waits for nothing and is not cancelled.
    """
    rows = db.read(
        "SELECT run, code, started_us IS NOT NULL FROM runs WHERE log = 'engine' AND ended_us IS NULL AND pipeline = ?"
        " AND (started_us IS NOT NULL OR state = 'running') ORDER BY first_seq",
        (pipeline,),
    )
    return [(run, code, bool(has_started)) for run, code, has_started in rows]


def attempts_at_work(db: Database) -> list[tuple[str, str, int]]:
    """(run, pipeline, attempts with workers) of the runs of engines that have any, most first."""
    return db.read(
        "SELECT r.run, r.pipeline, sum(c.running) FROM runs r JOIN cells c USING (run)"
        " WHERE r.log = 'engine' AND r.ended_us IS NULL GROUP BY r.run HAVING sum(c.running) > 0 ORDER BY 3 DESC, 1"
    )


def latest(db: Database) -> dict[str, RunRow]:
    """The newest run of each pipeline."""
    columns = selected(RUN_COLUMNS, "r.")
    sql = f"SELECT {columns} FROM (SELECT max(run) AS run FROM runs GROUP BY pipeline) JOIN runs r USING (run)"
    return {row[2]: run_row(row) for row in db.read(sql)}


def counts(db: Database, pipeline: str | None = None) -> dict[str, int]:
    """How many runs are in each state."""
    chosen, given = ("", ()) if pipeline is None else (" WHERE pipeline = ?", (pipeline,))
    return dict(db.read(f"SELECT state, count(*) FROM runs{chosen} GROUP BY state", given))


def cells(db: Database, run: str) -> list[CellRow]:
    return [cell_row(row) for row in db.read(f"SELECT {CELL_COLUMNS} FROM cells WHERE run = ?", (run,))]


def scopes(db: Database, run: str) -> list[ScopeRow]:
    return [ScopeRow(*row) for row in db.read("SELECT run, scope, path, n FROM scopes WHERE run = ?", (run,))]


def pins(db: Database, run: str) -> dict[str, Any]:
    """Dataset → what of it this run reads."""
    return {name: plain(pin) for name, pin in db.read("SELECT dataset, pin FROM pins WHERE run = ?", (run,))}


def items(
    db: Database,
    run: str,
    node: str,
    *,
    states: Sequence[str] | None = None,
    after: tuple[str, int] | None = None,
    limit: int = 100,
) -> list[ItemRow]:
    """A page of a task run's items by path and item; `after` is (path, item) of the last one before."""
    path, item = after or ("", -1)
    chosen = "" if states is None else f" AND state IN ({', '.join('?' * len(states))})"
    sql = f"SELECT {ITEM_COLUMNS} FROM items WHERE run = ? AND node = ? AND (path, item) > (?, ?){chosen}"
    given = (run, node, path, item, *(states or ()), page(limit))
    return [item_row(row) for row in db.read(sql + " ORDER BY path, item LIMIT ?", given)]


def item(db: Database, run: str, node: str, path: str, index: int) -> ItemRow | None:
    sql = f"SELECT {ITEM_COLUMNS} FROM items WHERE run = ? AND node = ? AND path = ? AND item = ?"
    rows = db.read(sql, (run, node, path, index))
    return item_row(rows[0]) if rows else None


def results(db: Database, run: str, node: str, path: str = "") -> list[Value]:
    """Results of all items at or below `path` that succeeded, in the order of the maps: what a joining task reads."""
    found: list[tuple[tuple[int, ...], Value]] = []
    last = ("", -1)
    while True:
        rows = db.read(
            "SELECT path, item, result FROM items WHERE run = ? AND node = ? AND (path, item) > (?, ?)"
            " AND state = 'succeeded' ORDER BY path, item LIMIT ?",
            (run, node, *last, PAGE),
        )
        found.extend(((*_indices(at), index), _VALUE.decode(text)) for at, index, text in rows if _is_below(at, path))
        if len(rows) < PAGE:
            break
        last = rows[-1][:2]
    # As text "10" comes before "9"; as numbers it does not.
    found.sort(key=lambda pair: pair[0])
    return [result for _, result in found]


Attempt = AttemptStarted | AttemptSucceeded | AttemptFailed | AttemptLost | AttemptReturned | AttemptCancelled
_ATTEMPTS = (AttemptStarted, AttemptSucceeded, AttemptFailed, AttemptLost, AttemptReturned, AttemptCancelled)


def attempts(db: Database, run: str, *, node: str, path: str = "", item: int = 0) -> list[Attempt]:
    """Everything that happened to the attempts of one item, oldest first, from the facts."""
    return [
        fact
        for fact in history(db, run, kinds=[shape.__name__ for shape in _ATTEMPTS])
        if isinstance(fact, _ATTEMPTS) and (fact.node, fact.path, fact.item) == (node, path, item)
    ]


def codecs(db: Database, run: str) -> dict[str, str]:
    """Task → the codec of its result; of a map that of one of its items."""
    rows = db.read(
        "SELECT node, min(result) FROM items WHERE run = ? AND state = 'succeeded' AND result NOT NULL GROUP BY node",
        (run,),
    )
    return {node: msgspec.json.decode(text, type=Value).codec for node, text in rows}


def history(db: Database, run: str, *, kinds: Sequence[str] | None = None) -> list[Fact]:
    """The facts of one run, oldest first: those whose body begins with its id, between its creation and its end."""
    place = db.read("SELECT log, first_seq, last_seq FROM runs WHERE run = ?", (run,))
    if not place:
        return []
    log, first, last = place[0]
    mark = msgspec.json.encode([run])[:-1]
    chosen = "" if kinds is None else f" AND kind IN ({', '.join('?' * len(kinds))})"
    rows = db.read(
        "SELECT kind, version, body FROM facts WHERE log = ? AND seq BETWEEN ? AND ?"
        f"{chosen} AND substr(body, 1, ?) = ? ORDER BY seq",
        (log, first, 1 << 62 if last is None else last, *(kinds or ()), len(mark), mark),
    )
    return [read_fact(*row) for row in rows]


read_fact = kinds.read


def _indices(path: str) -> tuple[int, ...]:
    return tuple(int(part) for part in path.split(".")) if path else ()


def _is_below(path: str, prefix: str) -> bool:
    return not prefix or path == prefix or path.startswith(prefix + ".")
