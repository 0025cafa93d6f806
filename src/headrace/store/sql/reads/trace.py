"""Back from a row to where it came from, and from a run to what it read and made."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.runs.facts import AttemptSucceeded
from headrace.store.sql import kinds
from headrace.store.sql.connection import Database
from headrace.store.sql.reads import streams, topics
from headrace.store.sql.reads.rows import build, plain
from headrace.streams.facts import BatchCommitted

OUTPUT = ("TopicAppended", "TopicShaped", "TopicCompleted", "TablePublished", "DeadLettered", "ProgressMade")
"""Kinds of facts that follow the BatchCommitted or AttemptSucceeded that they come from, in the same transaction."""


class ReadRow(msgspec.Struct, frozen=True):
    """What an attempt read of a dataset: `pin` is a version, or offset ranges."""

    run: str
    node: str
    path: str
    item: int
    kind: str
    name: str
    pin: Any


class Origin(msgspec.Struct, frozen=True):
    """Who appended a row: the batch of a stream, the attempt of a task, or a client (then both are None)."""

    blob: topics.BlobRow
    batch: streams.BatchRow | None = None
    attempt: AttemptSucceeded | None = None


def origin(db: Database, topic: str, partition: int, offset: int) -> Origin | None:
    """The batch or attempt whose output the row at this offset is; None where there is no such row.

    Output follows its BatchCommitted or AttemptSucceeded in the log, in the same transaction, and nothing but other
    output lies between them.
    """
    blob = topics.blob_at(db, topic, partition, offset)
    if blob is None:
        return None
    for seq, kind, version, body in db.read(
        "SELECT seq, kind, version, body FROM facts WHERE log = ? AND seq < ?"
        f" AND kind NOT IN ({', '.join('?' * len(OUTPUT))}) ORDER BY seq DESC LIMIT 1",
        (blob.log, blob.seq, *OUTPUT),
    ):
        if kind not in ("BatchCommitted", "AttemptSucceeded"):
            continue
        fact = kinds.read(kind, version, body)
        if isinstance(fact, BatchCommitted):
            return Origin(blob, batch=streams.batch(blob.log, seq, fact))
        if isinstance(fact, AttemptSucceeded):
            return Origin(blob, attempt=fact)
    return Origin(blob)


def reads(
    db: Database, *, run: str | None = None, kind: str | None = None, name: str | None = None, limit: int = 1000
) -> list[ReadRow]:
    """What a run read, or who read a dataset."""
    chosen = [(column, given) for column, given in (("run", run), ("kind", kind), ("name", name)) if given is not None]
    where = " AND ".join(f"{column} = ?" for column, _ in chosen) or "1"
    sql = f"SELECT run, node, path, item, kind, name, pin FROM reads WHERE {where} LIMIT ?"
    rows = db.read(sql, (*(given for _, given in chosen), limit))
    return [build(ReadRow, *row[:6], plain(row[6])) for row in rows]
