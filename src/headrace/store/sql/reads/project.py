"""The deployed project and the small state of pipelines: code versions, pauses, schedules."""

from __future__ import annotations

import msgspec

from headrace.store.sql.connection import Database
from headrace.store.sql.reads.rows import page


class CodeRow(msgspec.Struct, frozen=True):
    """A code version; `project` is the canonical JSON of its definitions."""

    code: str
    project: bytes
    at_us: int


class PausedRow(msgspec.Struct, frozen=True):
    pipeline: str
    is_paused: bool
    by: str
    at_us: int


class RejectedRow(msgspec.Struct, frozen=True):
    """An event that the engine could not decide on; `about_log` and `about_seq` name the fact that it was about."""

    event: str
    error: str
    about_log: str | None
    about_seq: int | None
    at_us: int


def current_code(db: Database) -> CodeRow | None:
    """The code version that new runs get; None before the first deploy."""
    rows = db.read("SELECT code, project, at_us FROM current_code JOIN codes USING (code)")
    return CodeRow(rows[0][0], rows[0][1].encode(), rows[0][2]) if rows else None


def code(db: Database, name: str) -> CodeRow | None:
    rows = db.read("SELECT code, project, at_us FROM codes WHERE code = ?", (name,))
    return CodeRow(rows[0][0], rows[0][1].encode(), rows[0][2]) if rows else None


def heads_at_deploy(db: Database, code: str) -> dict[str, dict[int, int]] | None:
    """Topic → partition → its end when that code was deployed; None where it never was. Empty partitions are left out."""
    rows = db.read("SELECT heads FROM codes WHERE code = ?", (code,))
    return msgspec.json.decode(rows[0][0], type=dict[str, dict[int, int]]) if rows else None


def paused(db: Database) -> list[PausedRow]:
    """Every pipeline that was ever paused, with who did it last."""
    rows = db.read("SELECT pipeline, is_paused, by, at_us FROM paused ORDER BY pipeline")
    return [PausedRow(name, bool(is_paused), by, at_us) for name, is_paused, by, at_us in rows]


def schedules(db: Database) -> dict[tuple[str, str], int]:
    """(pipeline, slug) → the last slot that is used up, UTC microseconds."""
    rows = db.read("SELECT pipeline, slug, last_us FROM schedules")
    return {(pipeline, slug): last_us for pipeline, slug, last_us in rows}


def playback(db: Database) -> tuple[int, int] | None:
    """(step, through_us) of the player of a recorded history."""
    rows = db.read("SELECT step, through_us FROM playback")
    return rows[0] if rows else None


def rejected(db: Database, since_us: int, *, limit: int = 5) -> list[RejectedRow]:
    """Events that were rejected at or after that time, newest first."""
    rows = db.read(
        "SELECT event, error, about_log, about_seq, at_us FROM rejected WHERE at_us >= ? ORDER BY at_us DESC LIMIT ?",
        (since_us, page(limit)),
    )
    return [RejectedRow(*row) for row in rows]
