"""Shards of streams, their batches and dead letters, and event triggers."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.store.sql import kinds
from headrace.store.sql.connection import Database
from headrace.store.sql.reads.rows import build, page, plain
from headrace.streams.facts import BatchCommitted, Bound
from headrace.streams.owner import shard_log


class ShardRow(msgspec.Struct, frozen=True):
    """One shard. `next_offset` is None until it starts at `start_offset`, because of `start_why`.

    `why` says what it waits for, totals are of all batches.
    """

    stream: str
    shard: int
    next_batch: int
    next_offset: int | None
    start_offset: int | None
    start_why: str | None
    watermark_us: int | None
    model: str | None
    model_version: int | None
    model_problem: str | None
    why: str | None
    is_stopped: bool
    until_us: int | None
    deaths: int
    rows_in: int
    rows_out: int
    filtered: int
    dead: int
    code: str | None
    at_us: int

    def has_read(self, offset: int) -> bool:
        """Whether a batch holds this source offset: they follow each other from the first without gap."""
        return self.next_offset is not None and (self.start_offset or 0) <= offset < self.next_offset


class BatchRow(msgspec.Struct, frozen=True, kw_only=True):
    """One committed batch: source offsets [first, end) and what became of them."""

    stream: str
    shard: int
    n: int
    first: int
    end: int
    rows_in: int
    rows_out: int
    filtered: int
    dead: int
    code: str
    watermark_us: int | None
    bound: tuple[Bound, ...]
    sides: dict[str, int]
    at_us: int
    log: str
    seq: int


class DeadLetterRow(msgspec.Struct, frozen=True):
    id: int
    stream: str
    shard: int
    n: int
    topic: str
    partition: int
    offset: int
    reason: str
    error: str
    payload: str
    code: str
    at_us: int


class TriggerRow(msgspec.Struct, frozen=True):
    """How far an event trigger has read; `held` is the canonical JSON of its group state."""

    pipeline: str
    slug: str
    offsets: tuple[int, ...]
    held: bytes
    expired: int
    at_us: int
    why: str | None  # where it does not read on


_SHARDS = (
    "SELECT stream, shard, next_batch, next_offset, start_offset, start_why, watermark_us, model, model_version,"
    " model_problem, why, is_stopped, until_us, deaths, rows_in, rows_out, filtered, dead, code, at_us FROM shards"
)
_LETTERS = (
    "SELECT id, stream, shard, n, topic, partition, offset, reason, error, payload, code, at_us FROM dead_letters"
)


def shards(db: Database, stream: str | None = None) -> list[ShardRow]:
    """All shards of a stream, or of all streams."""
    chosen, given = ("", ()) if stream is None else (" WHERE stream = ?", (stream,))
    return [_shard(row) for row in db.read(f"{_SHARDS}{chosen} ORDER BY stream, shard", given)]


def shard(db: Database, stream: str, number: int) -> ShardRow | None:
    rows = db.read(f"{_SHARDS} WHERE stream = ? AND shard = ?", (stream, number))
    return _shard(rows[0]) if rows else None


def batches(db: Database, stream: str, shard: int, *, before: int | None = None, limit: int = 50) -> list[BatchRow]:
    """Newest first; `before` is the seq of the last batch of the page before."""
    log, past = shard_log(stream, shard), "" if before is None else " AND seq < ?"
    rows = db.read(
        f"SELECT seq, kind, version, body FROM facts WHERE log = ?{past} AND kind = 'BatchCommitted'"
        " ORDER BY seq DESC LIMIT ?",
        (log, *(() if before is None else (before,)), page(limit)),
    )
    found = [(seq, kinds.read(kind, version, body)) for seq, kind, version, body in rows]
    return [batch(log, seq, fact) for seq, fact in found if isinstance(fact, BatchCommitted)]


def dead_letters(db: Database, stream: str, *, after: int = 0, limit: int = 50) -> list[DeadLetterRow]:
    """Oldest first; `after` is the id of the last one of the page before."""
    rows = db.read(f"{_LETTERS} WHERE stream = ? AND id > ? ORDER BY id LIMIT ?", (stream, after, page(limit)))
    return [DeadLetterRow(*row) for row in rows]


def newest_dead_letters(
    db: Database, stream: str | None = None, *, before: int | None = None, limit: int = 50
) -> list[DeadLetterRow]:
    """Of one stream or of all, newest first; `before` is the id of the last one of the page before."""
    chosen: dict[str, str | int | None] = {"stream = ?": stream, "id < ?": before}
    given = {condition: value for condition, value in chosen.items() if value is not None}
    where = f" WHERE {' AND '.join(given)}" if given else ""
    rows = db.read(f"{_LETTERS}{where} ORDER BY id DESC LIMIT ?", (*given.values(), page(limit)))
    return [DeadLetterRow(*row) for row in rows]


def dead_since(db: Database, stream: str, since_us: int) -> dict[int, tuple[int, int]]:
    """Shard → (dead letters, time of the first), of those from that time on; shards without any are left out."""
    sql = "SELECT shard, count(*), min(at_us) FROM dead_letters WHERE stream = ? AND at_us >= ? GROUP BY shard"
    return {shard: (n, first_us) for shard, n, first_us in db.read(sql, (stream, since_us))}


def dead_letter(db: Database, stream: str, topic: str, partition: int, offset: int) -> DeadLetterRow | None:
    where = " WHERE stream = ? AND topic = ? AND partition = ? AND offset = ?"
    rows = db.read(_LETTERS + where, (stream, topic, partition, offset))
    return DeadLetterRow(*rows[0]) if rows else None


def triggers(db: Database) -> list[TriggerRow]:
    rows = db.read("SELECT pipeline, slug, offsets, held, expired, at_us, why FROM triggers ORDER BY pipeline, slug")
    return [_trigger(row) for row in rows]


def trigger(db: Database, pipeline: str, slug: str) -> TriggerRow | None:
    rows = db.read(
        "SELECT pipeline, slug, offsets, held, expired, at_us, why FROM triggers WHERE pipeline = ? AND slug = ?",
        (pipeline, slug),
    )
    return _trigger(rows[0]) if rows else None


def _shard(row: tuple[Any, ...]) -> ShardRow:
    return build(ShardRow, *row[:11], bool(row[11]), *row[12:])


def _trigger(row: tuple[Any, ...]) -> TriggerRow:
    return build(TriggerRow, *row[:2], tuple(plain(row[2])), row[3].encode(), *row[4:])


def batch(log: str, seq: int, fact: BatchCommitted) -> BatchRow:
    """A batch with its place."""
    return BatchRow(**msgspec.structs.asdict(fact), log=log, seq=seq)
