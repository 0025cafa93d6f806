"""The inbox as a listing: what was asked, and what was answered."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.store.sql.connection import Database
from headrace.store.sql.reads.rows import build, page, plain


class RequestRow(msgspec.Struct, frozen=True):
    """A request; `status` is None until the engine has answered."""

    id: int
    key: str
    verb: str
    body: Any
    at_us: int
    status: str | None
    answer: Any
    answered_us: int | None


def requests(db: Database, *, before: int | None = None, limit: int = 50) -> list[RequestRow]:
    """Newest first; `before` is the id of the last one of the page before."""
    past, given = ("", ()) if before is None else (" WHERE id < ?", (before,))
    sql = f"SELECT id, key, verb, body, at_us, status, answer, answered_us FROM inbox{past} ORDER BY id DESC LIMIT ?"
    return [
        build(RequestRow, *row[:3], plain(row[3]), row[4], row[5], plain(row[6]), row[7])
        for row in db.read(sql, (*given, page(limit)))
    ]
