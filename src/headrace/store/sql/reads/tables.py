"""Tables and their versions."""

from __future__ import annotations

import msgspec

from headrace.data.facts import Part
from headrace.store.sql.connection import Database
from headrace.store.sql.reads.rows import build, page, plain

_COLUMNS = "name, version, parts, rows, columns, replaced, run, node, item, attempt, at_us, log, seq"
_PARTS = msgspec.json.Decoder(tuple[Part, ...])
_NAMES = msgspec.json.Decoder(tuple[str, ...])


class TableVersionRow(msgspec.Struct, frozen=True):
    """A version of a table: its parts, who made it, whose rows it replaced, and the fact that published it."""

    table: str
    version: int
    parts: tuple[Part, ...]
    rows: int
    columns: dict[str, str] | None
    replaced: tuple[str, ...]
    run: str
    node: str
    item: int
    attempt: int
    at_us: int
    log: str
    seq: int


def tables(db: Database) -> list[TableVersionRow]:
    """The last version of every table, by name."""
    return _rows(db, "(name, version) IN (SELECT name, version FROM tables) ORDER BY name", ())


def versions(db: Database, table: str, *, before: int | None = None, limit: int = 50) -> list[TableVersionRow]:
    """Newest first; `before` is the last version of the page before."""
    past = "" if before is None else " AND version < ?"
    given = (table, *(() if before is None else (before,)), page(limit))
    return _rows(db, f"name = ?{past} ORDER BY version DESC LIMIT ?", given)


def version(db: Database, table: str, number: int | None = None, *, at_us: int | None = None) -> TableVersionRow | None:
    """One version: the given number, the newest published at or before `at_us`, or the last."""
    if number is not None:
        found = _rows(db, "name = ? AND version = ?", (table, number))
    elif at_us is not None:
        found = _rows(db, "name = ? AND at_us <= ? ORDER BY version DESC LIMIT 1", (table, at_us))
    else:
        found = _rows(db, "name = ? ORDER BY version DESC LIMIT 1", (table,))
    return found[0] if found else None


def _rows(db: Database, where: str, given: tuple[object, ...]) -> list[TableVersionRow]:
    found = db.read(f"SELECT {_COLUMNS} FROM table_versions WHERE {where}", given)
    return [
        build(TableVersionRow, *row[:2], _PARTS.decode(row[2]), row[3], plain(row[4]), _NAMES.decode(row[5]), *row[6:])
        for row in found
    ]
