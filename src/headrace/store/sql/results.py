"""Accepted results as a joining task reads them: in the order of the maps, a page at a time."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from headrace.runs.facts import Value
from headrace.store.sql.connection import Database
from headrace.store.sql.reads.rows import PAGE

_VALUE = msgspec.json.Decoder(Value)
Indices = tuple[int, ...]


class StoredResults:
    """Implements `executors.parts.Results` on the rows of items."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def one(self, run: str, node: str, indices: Indices) -> Value | None:
        """The result of one instance; None where it did not succeed."""
        path, item = (indices[:-1], indices[-1]) if indices else ((), 0)
        rows = self._database.read(
            "SELECT result FROM items WHERE run = ? AND node = ? AND path = ? AND item = ? AND state = 'succeeded'",
            (run, node, _text(path), item),
        )
        return _VALUE.decode(rows[0][0]) if rows else None

    def below(self, run: str, node: str, prefix: Indices) -> Iterator[tuple[Indices, Value]]:
        """(all indices, result) of what succeeded below the prefix. Outside maps the indices are ()."""
        for path in self._paths(run, node, prefix):
            wanted = prefix[len(path)] if len(prefix) > len(path) else None
            last = -1
            while True:
                rows = self._database.read(
                    "SELECT item, result FROM items WHERE run = ? AND node = ? AND path = ? AND item > ?"
                    " AND state = 'succeeded' ORDER BY item LIMIT ?",
                    (run, node, _text(path), last, PAGE),
                )
                for item, text in rows:
                    if wanted is None or item == wanted:
                        yield (*path, item), _VALUE.decode(text)
                if len(rows) < PAGE:
                    break
                last = rows[-1][0]

    def expanded(self, run: str, scope: str, prefix: Indices) -> list[Indices]:
        rows = self._database.read("SELECT path FROM scopes WHERE run = ? AND scope = ?", (run, scope))
        return sorted(path for (text,) in rows if (path := _indices(text))[: len(prefix)] == prefix)

    def _paths(self, run: str, node: str, prefix: Indices) -> list[Indices]:
        rows = self._database.read("SELECT path FROM cells WHERE run = ? AND node = ?", (run, node))
        paths = (_indices(text) for (text,) in rows)
        # A prefix may be longer than the path by the item itself.
        return sorted(path for path in paths if path == prefix[: len(path)] or path[: len(prefix)] == prefix)


def _text(path: Indices) -> str:
    return ".".join(map(str, path))


def _indices(text: str) -> Indices:
    return tuple(map(int, text.split("."))) if text else ()
