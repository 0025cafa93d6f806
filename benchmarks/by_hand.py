"""The ceiling of the embedded log: the same parts in one loop by hand, without ownership, contract or recovery."""

from __future__ import annotations

import io
import sqlite3
import time
from pathlib import Path

import msgspec
import polars as pl

from benchmarks.projects.scoring import WEIGHTS


class _Event(msgspec.Struct, gc=False):
    id: str
    dep_delay: float
    distance: float
    hour: float
    temp: float
    wind: float
    precip: float


_DECODER = msgspec.json.Decoder(_Event)


def by_hand(folder: Path, rows: list[bytes] | pl.DataFrame, appends: int) -> float:
    """Rows per second of processor time: append, read, decode, score, commit, one blob at a time."""
    database = sqlite3.connect(folder / "by-hand.db", isolation_level=None)
    for setting in ("page_size = 16384", "journal_mode = WAL", "synchronous = FULL"):
        database.execute(f"PRAGMA {setting}")
    database.execute("CREATE TABLE IF NOT EXISTS blobs (id INTEGER PRIMARY KEY, body BLOB)")
    begun_s = time.process_time()
    for _ in range(appends):
        frame = pl.DataFrame({"payload": rows}) if isinstance(rows, list) else rows
        number = _commit(database, frame)
        (body,) = database.execute("SELECT body FROM blobs WHERE id = ?", (number,)).fetchone()
        read = pl.read_ipc_stream(io.BytesIO(body))
        _commit(database, _scored(_decoded(read) if isinstance(rows, list) else read))
    spent_s = time.process_time() - begun_s
    database.close()
    return appends * len(rows) / spent_s


def _commit(database: sqlite3.Connection, frame: pl.DataFrame) -> int:
    buffer = io.BytesIO()
    frame.write_ipc_stream(buffer, compression="lz4")
    database.execute("BEGIN IMMEDIATE")
    number = database.execute("INSERT INTO blobs (body) VALUES (?)", (buffer.getbuffer(),)).lastrowid
    database.execute("COMMIT")
    return number or 0


def _decoded(frame: pl.DataFrame) -> pl.DataFrame:
    events = [_DECODER.decode(line) for line in frame["payload"].to_list()]
    return pl.DataFrame({name: [getattr(event, name) for event in events] for name in _Event.__struct_fields__})


def _scored(frame: pl.DataFrame) -> pl.DataFrame:
    z = pl.sum_horizontal(pl.col(name) * weight for name, weight in WEIGHTS.items()) - 2.0
    return frame.select("id", p=1.0 / (1.0 + (-z).exp()))
