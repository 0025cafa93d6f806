"""Queries that only a trace asks: blobs from the newest back, and what a run read, each thing once."""

from __future__ import annotations

from typing import Any

from headrace.store.sql.connection import Database
from headrace.store.sql.reads.models import AliasRow
from headrace.store.sql.reads.rows import page, plain
from headrace.store.sql.reads.topics import BLOB_COLUMNS, BlobRow


def blobs_before(db: Database, topic: str, partition: int, before: int | None, *, limit: int = 64) -> list[BlobRow]:
    """The blobs of a partition that begin before offset `before` (None: all), newest first."""
    past, given = ("", ()) if before is None else (" AND first < ?", (before,))
    sql = f"SELECT {BLOB_COLUMNS} FROM topic_blobs WHERE topic = ? AND partition = ?{past} ORDER BY first DESC LIMIT ?"
    return [BlobRow(*row) for row in db.read(sql, (topic, partition, *given, page(limit)))]


def read_by(db: Database, run: str) -> list[tuple[str, str, Any]]:
    """(kind, name, pin) of everything that the accepted attempts of a run have read, each once."""
    sql = "SELECT DISTINCT kind, name, pin FROM reads WHERE run = ? ORDER BY kind, name, pin"
    return [(kind, name, plain(pin)) for kind, name, pin in db.read(sql, (run,))]


def moves_of(db: Database, model: str, version: int) -> list[AliasRow]:
    """Every alias that was ever moved to this version, oldest first."""
    sql = (
        "SELECT model, alias, version, previous, by, why, event_us, at_us, log, seq FROM alias_history"
        " WHERE model = ? AND version = ? ORDER BY at_us, seq"
    )
    return [AliasRow(*row) for row in db.read(sql, (model, version))]
