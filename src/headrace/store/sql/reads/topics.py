"""Topics: heads and watermarks, and blobs of rows by offsets, by event time and at the end."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from headrace.errors import DamagedError
from headrace.store.sql.connection import Database
from headrace.store.sql.reads.rows import PAGE, page

BLOB_COLUMNS = (
    "topic, partition, first, rows, encoding, size_bytes, min_time_us, max_time_us, min_known_us, max_known_us, at_us,"
    " log, seq, body_id"
)


class BlobRow(msgspec.Struct, frozen=True):
    """Rows at offsets [first, first + rows) of one partition, and the fact that appended them."""

    topic: str
    partition: int
    first: int
    rows: int
    encoding: str
    size_bytes: int
    min_time_us: int | None
    max_time_us: int | None
    min_known_us: int | None
    max_known_us: int | None
    at_us: int
    log: str
    seq: int
    body_id: int | None

    @property
    def end(self) -> int:
        return self.first + self.rows


class PartRow(msgspec.Struct, frozen=True):
    """One partition: `next` is the offset that the next row gets, so also how many rows were ever appended.

    `reaches_us` is the newest event time of rows that did not lie ahead of the clock.
    """

    topic: str
    partition: int
    next: int
    size_bytes: int
    reaches_us: int | None
    max_known_us: int | None
    last_us: int


class TopicRow(msgspec.Struct, frozen=True):
    topic: str
    complete_through_us: int | None
    parts: tuple[PartRow, ...]

    @property
    def rows(self) -> int:
        return sum(part.next for part in self.parts)


def topics(db: Database) -> list[TopicRow]:
    """All topics that hold anything, by name."""
    parts: dict[str, list[PartRow]] = {}
    for row in db.read(f"SELECT {_PART_COLUMNS} FROM topic_parts ORDER BY topic, partition"):
        parts.setdefault(row[0], []).append(PartRow(*row))
    rows = db.read("SELECT name, complete_through_us FROM topics ORDER BY name")
    return [TopicRow(name, through_us, tuple(parts.get(name, ()))) for name, through_us in rows]


def parts(db: Database, topic: str) -> list[PartRow]:
    """The partitions of a topic that hold rows."""
    sql = f"SELECT {_PART_COLUMNS} FROM topic_parts WHERE topic = ? ORDER BY partition"
    return [PartRow(*row) for row in db.read(sql, (topic,))]


def heads(db: Database, topic: str) -> dict[int, int]:
    """Partition → the offset that the next row gets. Partitions without rows are not in it."""
    return dict(db.read("SELECT partition, next FROM topic_parts WHERE topic = ? ORDER BY partition", (topic,)))


def partitions(db: Database) -> dict[str, int]:
    """Topic → how many partitions it was declared with when its first rows came. Topics without rows are not in it."""
    return dict(db.read("SELECT name, partitions FROM topics WHERE partitions IS NOT NULL"))


def all_heads(db: Database, topics: Collection[str]) -> dict[str, dict[int, int]]:
    """The same of several topics in one query, so of one moment."""
    found: dict[str, dict[int, int]] = {topic: {} for topic in topics}
    marks = ", ".join("?" * len(found))
    sql = f"SELECT topic, partition, next FROM topic_parts WHERE topic IN ({marks}) ORDER BY topic, partition"
    for topic, partition, end in db.read(sql, tuple(found)):
        found[topic][partition] = end
    return found


def columns(db: Database, topic: str) -> dict[str, str] | None:
    """Column → type word of a topic that took its columns from what was appended; None where it took none."""
    rows = db.read("SELECT schema FROM topics WHERE name = ? AND schema IS NOT NULL", (topic,))
    return msgspec.json.decode(rows[0][0], type=dict[str, str]) if rows else None


def watermark(db: Database, topic: str) -> int | None:
    """Event time (UTC microseconds) through which the topic was declared complete; None where nobody has."""
    rows = db.read("SELECT complete_through_us FROM topics WHERE name = ?", (topic,))
    return rows[0][0] if rows else None


def blobs(
    db: Database, topic: str, partition: int, first: int, end: int | None = None, *, limit: int = 1000
) -> list[BlobRow]:
    """Blobs that hold any of the offsets [first, end), in order, at most `limit`."""
    given = (topic, partition, first, _END if end is None else end, page(limit))
    return [BlobRow(*row) for row in db.read(_BLOBS, given)]


def filled(
    db: Database, topic: str, partition: int, first: int, end: int, *, limit: int
) -> list[tuple[BlobRow, bytes]]:
    """The same blobs with their bytes. Raises DamagedError where bytes are gone that should be there."""
    rows = db.read(_FILLED, (topic, partition, first, end, page(limit)))
    found = [(BlobRow(*row[:-1]), row[-1]) for row in rows]
    gone = next((blob for blob, body in found if body is None), None)
    if gone is not None:
        raise _gone(db, gone)
    return found


def blobs_between(
    db: Database,
    topic: str,
    start_us: int | None,
    end_us: int | None,
    *,
    by: str = "time",
    ends: Mapping[int, int] | None = None,
) -> list[BlobRow]:
    """Blobs that may hold rows with event time in [start, end), by partition and offset; None is open.

    `by="known"` compares known time instead. `ends` are pinned end offsets by partition: blobs at or past them, and
    partitions without a pin, are left out; the last blob may reach over its pin.
    """
    low, high = _BOUNDS[by]
    where = "topic = ?"
    given: list[Any] = [topic]
    if start_us is not None:
        where += f" AND coalesce({high} >= ?, 1)"
        given.append(start_us)
    if end_us is not None:
        where += f" AND coalesce({low} < ?, 1)"
        given.append(end_us)
    rows = db.read(f"SELECT {BLOB_COLUMNS} FROM topic_blobs WHERE {where} ORDER BY partition, first", given)
    found = [BlobRow(*row) for row in rows]
    return found if ends is None else [blob for blob in found if blob.first < ends.get(blob.partition, 0)]


def newest(db: Database, topic: str) -> Iterator[BlobRow]:
    """The blobs of all partitions, newest first, read page by page as they are asked for."""
    return heapq.merge(*(_newest(db, topic, part) for part in heads(db, topic)), key=_when, reverse=True)


def _newest(db: Database, topic: str, partition: int) -> Iterator[BlobRow]:
    sql = (
        f"SELECT {BLOB_COLUMNS} FROM topic_blobs WHERE topic = ? AND partition = ? AND first < ?"
        " ORDER BY first DESC LIMIT ?"
    )
    before = _END
    while rows := db.read(sql, (topic, partition, before, PAGE)):
        yield from (BlobRow(*row) for row in rows)
        before = rows[-1][2]


def _when(blob: BlobRow) -> tuple[int, str, int]:
    return blob.at_us, blob.log, blob.seq


def blob_at(db: Database, topic: str, partition: int, offset: int) -> BlobRow | None:
    """The blob that holds this offset."""
    found = blobs(db, topic, partition, offset, offset + 1, limit=1)
    return found[0] if found else None


def bodies(db: Database, blobs: Sequence[BlobRow]) -> list[bytes]:
    """The bytes of these blobs, in their order. Blobs are immutable, so many statements see the same.

    Raises DamagedError where bytes are gone that should be there.
    """
    found: dict[int, bytes] = {}
    ids = [blob.body_id for blob in blobs if blob.body_id is not None]
    for start in range(0, len(ids), _BODIES_AT_ONCE):
        some = ids[start : start + _BODIES_AT_ONCE]
        marks = ", ".join("?" * len(some))
        found.update(db.read(f"SELECT id, body FROM topic_bodies WHERE id IN ({marks})", some))
    bodies: list[bytes] = []
    for blob in blobs:
        if blob.body_id not in found:
            raise _gone(db, blob)
        bodies.append(found[blob.body_id])
    return bodies


def _gone(db: Database, blob: BlobRow) -> DamagedError:
    return DamagedError(
        f"the bytes of the rows of {blob.topic}/{blob.partition} from offset {blob.first:,} on are gone",
        where=db.path,
        cure="the database is damaged: headrace doctor shows what else is; restore a copy",
    )


_PART_COLUMNS = "topic, partition, next, size_bytes, reaches_us, max_known_us, last_us"
_BOUNDS = {"time": ("min_time_us", "max_time_us"), "known": ("min_known_us", "max_known_us")}
_END = 1 << 62
_WITHIN = """
    WHERE topic = ?1 AND partition = ?2 AND first < ?4 AND first + rows > ?3 AND first >= coalesce(
        (SELECT max(first) FROM topic_blobs WHERE topic = ?1 AND partition = ?2 AND first <= ?3), 0)
    ORDER BY first LIMIT ?5
"""
_BLOBS = f"SELECT {BLOB_COLUMNS} FROM topic_blobs {_WITHIN}"
_FILLED = f"SELECT {BLOB_COLUMNS}, body FROM topic_blobs LEFT JOIN topic_bodies ON topic_bodies.id = body_id {_WITHIN}"
_BODIES_AT_ONCE = 64
