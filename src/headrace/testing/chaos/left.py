"""What the campaign left in the store, read with plain SQL: nothing here is shared with the code that wrote it."""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECKSUM_BYTES = 8  # before the frame in a blob of rows


@dataclass(frozen=True)
class Row:
    """A row of a topic and its place."""

    partition: int
    offset: int
    values: dict[str, Any]


class Left:
    """The store of the campaign, for reading only."""

    def __init__(self, home: Path, connection: sqlite3.Connection) -> None:
        self.home = home
        self._connection = connection

    def rows(self, sql: str, *given: Any) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, given).fetchall()

    def one(self, sql: str, *given: Any) -> Any:
        """The only value."""
        ((value,),) = self.rows(sql, *given)
        return value

    def topic(self, name: str) -> Iterator[Row]:
        """Its rows in the order of their places."""
        import polars as pl

        blobs = self.rows(
            "SELECT b.partition, b.first, x.body FROM topic_blobs b JOIN topic_bodies x ON x.id = b.body_id"
            " WHERE b.topic = ? ORDER BY b.partition, b.first",
            name,
        )
        for partition, first, body in blobs:
            frame = pl.read_ipc_stream(io.BytesIO(body[CHECKSUM_BYTES:]))
            for at, values in enumerate(frame.to_dicts()):
                yield Row(partition, first + at, values)

    def table(self, name: str) -> Iterator[dict[str, Any]]:
        """The rows of all parts of its newest version."""
        import polars as pl

        newest = "SELECT parts FROM table_versions WHERE name = ? ORDER BY version DESC LIMIT 1"
        for (parts,) in self.rows(newest, name):
            for path, *_ in json.loads(parts):
                yield from pl.read_parquet(self.home / "artifacts" / path).to_dicts()

    def unfinished(self) -> list[str]:
        """What still has to come to its end, in words."""
        found = [
            f"run {run} of {pipeline} is {state}"
            for run, pipeline, state in self.rows("SELECT run, pipeline, state FROM runs WHERE ended_us IS NULL")
        ]
        found += [f"request {n} is unanswered" for (n,) in self.rows("SELECT id FROM inbox WHERE status IS NULL")]
        heads = {(topic, part): n for topic, part, n in self.rows("SELECT topic, partition, next FROM topic_parts")}
        read = dict(self.rows("SELECT shard, next_offset FROM shards WHERE stream = 'score'"))
        found += [
            f"score/{part} has read to {read.get(part)} of {n}"
            for (topic, part), n in heads.items()
            if topic == "rows" and read.get(part) != n
        ]
        seen = self.rows("SELECT offsets FROM triggers WHERE pipeline = 'answer'")
        at = json.loads(seen[0][0]) if seen else [0, 0]
        found += [
            f"the trigger of answer has seen {at[part]} of {n} in partition {part}"
            for (topic, part), n in heads.items()
            if topic == "signals" and at[part] != n
        ]
        return found


@contextmanager
def reading(project: Path) -> Generator[Left]:
    """Open the store of the project for a look. Raises sqlite3.OperationalError while it cannot be read."""
    home = project / ".headrace"
    connection = sqlite3.connect(f"file:{home / 'headrace.db'}?mode=ro", uri=True, timeout=1)
    try:
        yield Left(home, connection)
    finally:
        connection.close()
