"""`headrace topics`: what lies in them, adding rows, and looking at the newest."""

from __future__ import annotations

import sys
import time
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from cyclopts import Parameter

from headrace.cli.here import Here, now_us, open_here
from headrace.cli.names import known
from headrace.cli.output import notice, show_json, show_line, show_table
from headrace.cli.parser import PLAIN, Common, make_app, within
from headrace.cli.words import count, local, size
from headrace.definitions.project import TopicDef
from headrace.errors import SchemaError, SettingsError

if TYPE_CHECKING:
    import polars as pl

    from headrace.store.sql.reads.topics import BlobRow

app = make_app("topics", "Topics: what lies in them, adding rows, and looking at the newest.")

CLIENTS = "clients"  # the log of everyone who appends without a log of their own
_POLL_S = 0.2
_ROWS_AT_ONCE = 10_000


@app.command
def ls(*, common: Common = PLAIN) -> None:
    """All topics with their rows."""
    from headrace.store.sql.reads import topics

    with open_here(common) as here:
        rows = {row.topic: row for row in topics.topics(here.db)}
        names = sorted({*here.project.topics, *rows})
    if common.json:
        return show_json([{"topic": name, "stored": rows.get(name)} for name in names])
    lines: list[tuple[object, ...]] = []
    for name in names:
        parts = rows[name].parts if name in rows else ()
        last_us = max((part.last_us for part in parts), default=None)
        n_bytes = sum(part.size_bytes for part in parts)
        declared = here.project.topics.get(name)
        partitions = len(parts) if declared is None else declared.partitions
        lines.append((name, partitions, f"{sum(part.next for part in parts):,}", size(n_bytes), local(last_us)))
    return show_table(
        ("TOPIC", "#PARTITIONS", "#ROWS", "#SIZE", "LAST APPEND"), lines, empty='no topics: hr.Topic("departures")'
    )


@app.command
def append(
    name: str,
    /,
    *,
    file: Annotated[str | None, Parameter(name=["--file", "-f"], allow_leading_hyphen=True)] = None,
    json_row: str | None = None,
    common: Common = PLAIN,
) -> None:
    """Add rows. When this returns they are durable, and streams and triggers will see them.

    Parameters
    ----------
    name
        The topic.
    file
        A file of JSON lines, one row each; `-` reads standard input.
    json_row
        One row, for example '{"flight_id": "UA-1"}'.
    """
    from headrace.connectors import appends, fitting
    from headrace.host.doorbell import doorbell_path, ring

    if (file is None) == (json_row is None):
        raise SettingsError("give the rows once: --file or --json-row", cure="--file rows.jsonl, or --file -")
    total = 0
    with open_here(common, writes=True) as here:
        topic = here.project.topics[known("topic", name, here.project.topics, here=here)]
        lines = [json_row.encode()] if json_row is not None else _lines(file or "-")
        # All is read and fitted before the first row is appended: a mistake in the last line appends nothing.
        batches = list(_batches(lines, file or "--json-row"))
        for numbers, rows in batches:
            try:
                fitting.fit(topic, rows)
            except SchemaError as error:
                raise _at_its_line(topic, rows, numbers, file, error) from None
        for _, rows in batches:
            appends.append(here.store, CLIENTS, topic, rows, now_us())
            total += len(rows)
        ring(doorbell_path(here.settings.home))
    if common.json:
        return show_json({"topic": name, "rows": total})
    return show_line(f"{count(total, 'row')} appended to {name}")


@app.command
def tail(
    name: str,
    /,
    *,
    n: Annotated[int, Parameter(name=["-n", "--rows"], validator=within("-n", 0))] = 10,
    follow: Annotated[bool, Parameter(name=["--follow", "-f"])] = False,
    common: Common = PLAIN,
) -> None:
    """Show the newest rows, one JSON object per line, with the place of each: PARTITION/OFFSET.

    Parameters
    ----------
    name
        The topic.
    n
        How many rows.
    follow
        Go on with the rows that come.
    """
    from headrace.store.sql.reads import topics

    with open_here(common) as here:
        known("topic", name, {*here.project.topics, *(row.topic for row in topics.topics(here.db))}, here=here)
        topic = here.project.topics.get(name) or TopicDef(name)
        ends = topics.heads(here.db, name)
        shown = _newest(here, topic, n)
        _show_rows(shown, common)
        if not shown and n and not follow:
            notice(f"{name} has no rows: headrace topics append {name} --json-row '{{…}}'")
        while follow:
            time.sleep(_POLL_S)
            for partition, end in topics.heads(here.db, name).items():
                first = ends.get(partition, 0)
                if end > first:
                    _show_rows(_between(here, topic, partition, first, end), common)
                    ends[partition] = end


def _newest(here: Here, topic: TopicDef, n: int) -> list[dict[str, Any]]:
    """The newest `n` rows, the newest last. Records that do not fit the schema are no rows: for those more is read."""
    from headrace.connectors.blob import decode, piece
    from headrace.store.sql.reads import topics

    blobs = topics.newest(here.db, topic.name)
    found: list[dict[str, Any]] = []
    while len(found) < n and (some := _holding(blobs, n - len(found))):
        pieces = [piece(topic, blob, body) for blob, body in zip(some, topics.bodies(here.db, some), strict=True)]
        rows = decode(topic, pieces).frame
        found = [*_documents(rows.tail(min(n - len(found), len(rows)))), *found]
    return found


def _holding(blobs: Iterator[BlobRow], rows: int) -> list[BlobRow]:
    """The next blobs, so many that they hold these rows, the newest last."""
    some: list[BlobRow] = []
    while rows > 0 and (blob := next(blobs, None)) is not None:
        some.append(blob)
        rows -= blob.rows
    return some[::-1]


def _between(here: Here, topic: TopicDef, partition: int, first: int, end: int) -> list[dict[str, Any]]:
    from headrace.connectors.log import Log
    from headrace.store.sql.reads import topics

    return _documents(Log(here.db, topics).rows(topic, partition, first, end).frame)


def _documents(rows: pl.DataFrame) -> list[dict[str, Any]]:
    from headrace.connectors.blob import HIDDEN, OFFSET, PARTITION

    columns = [column for column in rows.columns if column not in HIDDEN]
    return [
        {"partition": row[PARTITION], "offset": row[OFFSET], "row": {column: row[column] for column in columns}}
        for row in rows.to_dicts()
    ]


def _show_rows(rows: list[dict[str, Any]], common: Common) -> None:
    for row in rows:
        if common.json:
            show_json(row)
        else:
            show_line(f"{row['partition']}/{row['offset']}  {msgspec.json.encode(row['row']).decode()}")


def _lines(file: str) -> Iterator[bytes]:
    if file == "-":
        yield from sys.stdin.buffer
        return
    path = Path(file)
    if not path.is_file():
        raise SettingsError(
            f"there is no file {file}", where="--file", cure="a file of JSON lines, or - for standard input"
        )
    with path.open("rb") as opened:
        yield from opened


def _at_its_line(
    topic: TopicDef, rows: list[dict[str, Any]], numbers: list[int], file: str | None, error: SchemaError
) -> SchemaError:
    """The error of a batch with the line of the first row that is at fault: the last of the shortest unfit beginning."""
    from headrace.connectors import fitting

    def misfit(some: list[dict[str, Any]]) -> SchemaError | None:
        try:
            fitting.fit(topic, some)
        except SchemaError as found:
            return found
        return None

    at = bisect_left(range(len(rows)), True, key=lambda last: misfit(rows[: last + 1]) is not None)
    own = misfit([rows[at]]) or error  # none by itself where only its type differs from that of the rows before
    where = error.where if file is None else f"{file}:{numbers[at]}"
    return SchemaError(own.message.removeprefix("row 0, "), where=where, cure=own.cure, code=own.code)


def _batches(lines: Iterator[bytes] | list[bytes], where: str) -> Iterator[tuple[list[int], list[dict[str, Any]]]]:
    """Rows and their line numbers, some thousand at a time. Raises SchemaError for a line that is no JSON object."""
    batch: list[dict[str, Any]] = []
    numbers: list[int] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            batch.append(msgspec.json.decode(line, type=dict[str, Any]))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise SchemaError(
                f"a row is a JSON object, got {line[:60].decode('utf-8', 'replace').strip()!r} ({error})",
                where=f"{where}:{number}",
                cure='one object per line: {"flight_id": "UA-1"}',
            ) from None
        numbers.append(number)
        if len(batch) == _ROWS_AT_ONCE:
            yield numbers, batch
            batch, numbers = [], []
    if batch:
        yield numbers, batch
