"""D2, E10: the rows of runs, items and cells are the fold of their facts, and slots in use are active attempts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from headrace.store.sql.connection import Database
from headrace.testing.auditor.evidence import Violation
from headrace.testing.auditor.fold import Book, path_text

_RUNS = "SELECT run, state, generation FROM runs"
_ITEMS = "SELECT run, node, path, item, state, attempt, epoch, failures, losses FROM items"
_CELLS = "SELECT run, node, path, running, succeeded, failed, skipped, cancelled, is_skipped FROM cells"


def compare(database: Database, book: Book, touched: set[str] | None) -> Iterator[Violation]:
    """All rows, or those of the runs in `touched`."""
    if touched is not None and not touched:
        return
    names = tuple(sorted(touched or ()))
    where = "" if touched is None else f" WHERE run IN ({', '.join('?' * len(names))})"
    folds = {name: fold for name, fold in book.runs.items() if touched is None or name in touched}
    rows = {row[:1]: row[1:] for row in database.read(_RUNS + where, names)}
    yield from _differences("run", rows, {(name,): (fold.state, fold.generation) for name, fold in folds.items()})
    items = {row[:4]: row[4:] for row in database.read(_ITEMS + where, names)}
    folded = {
        (name, node, path_text(path), item): (i.state, i.attempt, i.epoch, i.failures, i.losses)
        for name, fold in folds.items()
        for (node, path, item), i in fold.items.items()
    }
    yield from _differences("item", items, folded)
    cells = {row[:3]: row[3:] for row in database.read(_CELLS + where, names)}
    folded_cells = {
        (name, node, path_text(path)): (*counts, int((node, path) in fold.skipped))
        for name, fold in folds.items()
        for (node, path), counts in fold.cells.items()
    }
    yield from _differences("cell", cells, folded_cells)
    yield from _slots(items, cells)


def _slots(items: dict[Any, Any], cells: dict[Any, Any]) -> Iterator[Violation]:
    running: dict[Any, int] = dict.fromkeys(cells, 0)
    for (run, node, path, _), (state, *_rest) in items.items():
        if state == "running":
            running[run, node, path] = running.get((run, node, path), 0) + 1
    for cell, counts in cells.items():
        if counts[0] != running[cell]:
            yield Violation("E10", "slots in use are active attempts", f"{cell}: {counts[0]}, {running[cell]} run")


def _differences(what: str, rows: dict[Any, Any], folded: dict[Any, Any]) -> Iterator[Violation]:
    if rows == folded:
        return
    for key in sorted(rows.keys() | folded.keys(), key=str):
        if rows.get(key) != folded.get(key):
            found = f"{what} {key}: row {rows.get(key)}, facts {folded.get(key)}"
            yield Violation("D2", "rows are the fold of the facts", found)
