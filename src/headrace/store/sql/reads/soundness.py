"""What a check of the whole store looks at: its pages, its facts, the bytes of rows, and the files that rows name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from headrace.data.facts import Part
from headrace.errors import StoreError
from headrace.runs.facts import Value
from headrace.store.sql import kinds
from headrace.store.sql.reads.rows import PAGE

_BODIES_AT_ONCE = 64
_PARTS = msgspec.json.Decoder(tuple[Part, ...])
_VALUE = msgspec.json.Decoder(Value)
# What DetailsDropped says of each log, in one statement with the counting: facts go and come meanwhile.
_COUNTED = """
WITH dropped AS (
    SELECT json_extract(gone.value, '$[0]') AS log, sum(length.value) AS n
    FROM facts, json_each(CAST(body AS TEXT), '$[2]') gone, json_each(gone.value, '$[2]') length
    WHERE kind = 'DetailsDropped' AND json_valid(CAST(body AS TEXT)) AND length.key % 2 = 0
    GROUP BY 1
)
SELECT name, head - coalesce(dropped.n, 0), (SELECT count(*) FROM facts WHERE log = name)
FROM logs LEFT JOIN dropped ON dropped.log = name ORDER BY name
"""


class Rows(Protocol):
    """A database that is read: one that is in use, or a copy of it."""

    def read(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[tuple[Any, ...]]: ...


class Body(NamedTuple):
    """The bytes of a blob as they lie there; None where they are gone."""

    topic: str
    partition: int
    first: int
    body: bytes | None


class Result(NamedTuple):
    """What an item has returned."""

    run: str
    node: str
    value: Value


class Kept(NamedTuple):
    """A version of a model and the files that belong to it."""

    model: str
    version: int
    value: Value
    golden: str | None


def broken_pages(db: Rows, *, limit: int = 5) -> list[str]:
    """What SQLite itself finds wrong with the file, in its words; at most `limit` findings."""
    return [str(row[0]) for row in db.read(f"PRAGMA integrity_check({limit})") if row[0] != "ok"]


def broken_logs(db: Rows) -> Iterator[str]:
    """Logs that lack facts which were not dropped as old, and facts that cannot be read."""
    for name, should, found in db.read(_COUNTED):
        if should != found:
            yield f"the log {name} has {found:,} facts, and should have {should:,}"
    for log, seq, kind, version, body in _paged(db, "SELECT log, seq, kind, version, body FROM facts", "log, seq"):
        try:
            kinds.read(kind, version, body)
        except (msgspec.MsgspecError, UnicodeDecodeError, StoreError) as error:
            why = error.message if isinstance(error, StoreError) else error
            yield f"fact {seq} of {log} cannot be read: {why}"


def bodies(db: Rows) -> Iterator[Body]:
    """Every blob that should have its bytes."""
    sql = (
        "SELECT topic, partition, first, body FROM topic_blobs LEFT JOIN topic_bodies ON id = body_id"
        " WHERE body_id IS NOT NULL"
    )
    return (Body(*row) for row in _paged(db, sql, "topic, partition, first", size=_BODIES_AT_ONCE))


def results(db: Rows) -> Iterator[Result]:
    """Every accepted result; of a run without details that of the run itself."""
    sql = "SELECT run, node, path, item, result FROM items WHERE result IS NOT NULL"
    for run, node, _, _, text in _paged(db, sql, "run, node, path, item"):
        yield Result(run, node, _VALUE.decode(text))
    sql = "SELECT run, result FROM runs WHERE dropped_us IS NOT NULL AND result IS NOT NULL"
    for run, text in _paged(db, sql, "run"):
        yield Result(run, "(its result)", _VALUE.decode(text))


def versions(db: Rows) -> Iterator[Kept]:
    """Every version of every model."""
    rows = db.read("SELECT model, version, codec, path, size_bytes, digest, golden FROM model_versions ORDER BY 1, 2")
    for model, number, codec, path, size_bytes, digest, golden in rows:
        yield Kept(model, number, Value(codec, None, path, size_bytes, digest), golden)


def parts(db: Rows) -> dict[str, tuple[str, Part]]:
    """Path → table and part, of all versions of all tables."""
    rows = db.read("SELECT name, parts FROM table_versions ORDER BY name, version")
    return {part.path: (name, part) for name, text in rows for part in _PARTS.decode(text)}


def codes(db: Rows) -> list[str]:
    """Every code version that was deployed."""
    return [code for (code,) in db.read("SELECT code FROM codes ORDER BY code")]


def _paged(db: Rows, sql: str, key: str, *, size: int = PAGE) -> Iterator[tuple[Any, ...]]:
    """All rows by a key that comes first among the columns, page by page, so that no reader keeps the WAL back."""
    n = key.count(",") + 1
    where = " AND" if " WHERE " in sql else " WHERE"
    rows = db.read(f"{sql} ORDER BY {key} LIMIT ?", (size,))
    while rows:
        yield from rows
        after = f"{sql}{where} ({key}) > ({', '.join('?' * n)}) ORDER BY {key} LIMIT ?"
        rows = db.read(after, (*rows[-1][:n], size)) if len(rows) == size else []
