"""Models: versions, aliases with their history, and what the retrain controller was asked and decided."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.store.sql.connection import Database
from headrace.store.sql.reads.rows import build, page, plain


class ModelRow(msgspec.Struct, frozen=True):
    model: str
    last_version: int
    aliases: dict[str, int]


class VersionRow(msgspec.Struct, frozen=True):
    """An immutable version; `state` is candidate, champion, retired or rejected, and `why` says why."""

    model: str
    version: int
    state: str
    why: str | None
    codec: str
    path: str
    digest: str
    size_bytes: int
    run: str
    node: str
    code: str
    predict: str
    cutoff_us: int
    rows_fit: int
    rows_test: int
    evidence: Any
    golden: str | None
    at_us: int
    log: str
    seq: int


class AliasRow(msgspec.Struct, frozen=True):
    """One move of an alias. `previous` is 0 for its first."""

    model: str
    alias: str
    version: int
    previous: int
    by: str
    why: str
    event_us: int | None
    at_us: int
    log: str
    seq: int


class AskRow(msgspec.Struct, frozen=True):
    """One request to retrain, and what the controller answered."""

    model: str
    by: str
    evidence: str
    event_us: int
    is_accepted: bool
    why: str
    at_us: int
    log: str
    seq: int


class ControllerRow(msgspec.Struct, frozen=True):
    """`state` is the canonical JSON of the controller's state."""

    model: str
    state: bytes
    why: str
    at_us: int


_VERSIONS = (
    "SELECT model, version, state, why, codec, path, digest, size_bytes, run, node, code, predict, cutoff_us, rows_fit,"
    " rows_test, evidence, golden, at_us, log, seq FROM model_versions"
)


def models(db: Database) -> list[ModelRow]:
    aliases: dict[str, dict[str, int]] = {}
    for model, alias, number in db.read("SELECT model, alias, version FROM aliases"):
        aliases.setdefault(model, {})[alias] = number
    rows = db.read("SELECT name, last_version FROM models ORDER BY name")
    return [ModelRow(name, last, aliases.get(name, {})) for name, last in rows]


def versions(db: Database, model: str, *, before: int | None = None, limit: int = 50) -> list[VersionRow]:
    """Newest first; `before` is the last version of the page before."""
    past = "" if before is None else " AND version < ?"
    given = (model, *(() if before is None else (before,)), page(limit))
    return _versions(db, f"model = ?{past} ORDER BY version DESC LIMIT ?", given)


def version(db: Database, model: str, number: int) -> VersionRow | None:
    found = _versions(db, "model = ? AND version = ?", (model, number))
    return found[0] if found else None


def reference(db: Database, model: str, number: int) -> bytes | None:
    """The frozen histograms of a version, as the canonical JSON that was registered."""
    rows = db.read("SELECT reference FROM model_versions WHERE model = ? AND version = ?", (model, number))
    return rows[0][0].encode() if rows else None


def alias(db: Database, model: str, name: str) -> int | None:
    """The version that an alias points to."""
    rows = db.read("SELECT version FROM aliases WHERE model = ? AND alias = ?", (model, name))
    return rows[0][0] if rows else None


def alias_history(db: Database, model: str, *, limit: int = 100) -> list[AliasRow]:
    """All moves of the model's aliases, newest first."""
    sql = (
        "SELECT model, alias, version, previous, by, why, event_us, at_us, log, seq FROM alias_history"
        " WHERE model = ? ORDER BY at_us DESC, seq DESC LIMIT ?"
    )
    return [AliasRow(*row) for row in db.read(sql, (model, page(limit)))]


def champions_since_us(db: Database) -> dict[str, int]:
    """Model → the event time (UTC microseconds) from which its first champion serves."""
    rows = db.read(
        "SELECT model, coalesce(event_us, at_us) FROM alias_history WHERE alias = 'champion'"
        " ORDER BY at_us DESC, log DESC, seq DESC"
    )
    return dict(rows)


def champions(db: Database, model: str) -> list[int]:
    """All that were the model's champion, in order."""
    sql = "SELECT version FROM alias_history WHERE model = ? AND alias = 'champion' ORDER BY at_us, log, seq"
    return [number for (number,) in db.read(sql, (model,))]


def asks(db: Database, model: str, *, limit: int = 100) -> list[AskRow]:
    """Newest first."""
    sql = (
        "SELECT model, by, evidence, event_us, is_accepted, why, at_us, log, seq FROM asks"
        " WHERE model = ? ORDER BY at_us DESC, seq DESC LIMIT ?"
    )
    return [build(AskRow, *row[:4], bool(row[4]), *row[5:]) for row in db.read(sql, (model, page(limit)))]


def controller(db: Database, model: str) -> ControllerRow | None:
    rows = db.read("SELECT model, state, why, at_us FROM controllers WHERE model = ?", (model,))
    return ControllerRow(rows[0][0], rows[0][1].encode(), *rows[0][2:]) if rows else None


def _versions(db: Database, where: str, given: tuple[object, ...]) -> list[VersionRow]:
    rows = db.read(f"{_VERSIONS} WHERE {where}", given)
    return [build(VersionRow, *row[:15], plain(row[15]), *row[16:]) for row in rows]
