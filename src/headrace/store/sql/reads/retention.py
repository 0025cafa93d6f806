"""Runs that ended long ago: which of their facts may go, and which of their files are still needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import msgspec
import xxhash

from headrace.data.facts import Part
from headrace.runs.facts import Gone, Value
from headrace.runs.rows import LeftFiles, OldDetails
from headrace.store.sql import kinds
from headrace.store.sql.connection import Database
from headrace.store.sql.reads.trace import OUTPUT

FACTS_MOST = 25_000  # of a log are looked through for one batch; a single run may take more
_DETAILS = frozenset(kinds.DETAILS)
_PARTS = msgspec.json.Decoder(tuple[Part, ...])
_VALUE = msgspec.json.Decoder(Value)

Place = tuple[str, str, int, int]  # (log, run, first seq, last seq)


def old_details(db: Database, before_us: int, limit: int) -> OldDetails | None:
    """The runs that ended first, before that time, and still have their details; None where there is none."""
    with db.reading(is_snapshot=True) as connection:
        ask = connection.execute
        found: list[Place] = ask(
            "SELECT log, run, first_seq, last_seq FROM runs INDEXED BY runs_with_details"
            " WHERE dropped_us IS NULL AND ended_us < ? ORDER BY ended_us, created_us LIMIT ?",
            (before_us, limit),
        ).fetchall()
        if not found:
            return None
        chosen = sorted(_bounded(found), key=lambda place: (place[0], place[2]))
        gone: list[Gone] = []
        for log, places in groupby(chosen, lambda place: place[0]):
            own = list(places)
            marks = {msgspec.json.encode(run) for _, run, _, _ in own}
            rows = [
                row
                for first, last in _merged(own)
                for row in details(
                    ask(
                        "SELECT seq, kind, body FROM facts WHERE log = ? AND seq BETWEEN ? AND ? ORDER BY seq",
                        (log, first, last),
                    ),
                    marks,
                )
            ]
            if rows:
                gone.append(_gone(log, rows))
    return OldDetails(tuple(run for _, run, _, _ in chosen), tuple(gone))


def left_files(db: Database, limit: int) -> list[LeftFiles]:
    """Runs without details whose files were not deleted yet, and what of these is still named by rows."""
    with db.reading(is_snapshot=True) as connection:
        ask = connection.execute
        found = ask(
            "SELECT run, result FROM runs INDEXED BY runs_with_files WHERE dropped_us IS NOT NULL AND has_files = 1"
            " ORDER BY dropped_us LIMIT ?",
            (limit,),
        ).fetchall()
        left: list[LeftFiles] = []
        for run, result in found:
            values = [] if result is None else [_VALUE.decode(result)]
            paths = [
                part.path
                for (text,) in ask("SELECT parts FROM table_versions WHERE run = ?", (run,))
                for part in _PARTS.decode(text)
            ]
            models = "SELECT codec, path, size_bytes, digest, golden FROM model_versions WHERE run = ?"
            for codec, path, size_bytes, digest, golden in ask(models, (run,)):
                values.append(Value(codec, None, path, size_bytes, digest))
                paths += [] if golden is None else [golden]
            left.append(LeftFiles(run, tuple(values), frozenset(paths)))
    return left


def oldest_details_us(db: Database) -> int | None:
    """When the oldest run was made that has its details; None where no run has any."""
    sql = "SELECT min(created_us) FROM runs INDEXED BY runs_with_details WHERE dropped_us IS NULL"
    return db.read(sql)[0][0]


def _bounded(found: Sequence[Place]) -> Iterator[Place]:
    """So many of them, the first always, that not too much of the logs lies between their beginnings and ends."""
    facts = 0
    for i, place in enumerate(found):
        facts += place[3] - place[2] + 1
        if i and facts > FACTS_MOST:
            return
        yield place


def _merged(places: Sequence[Place]) -> Iterator[tuple[int, int]]:
    """Where facts of any of them can lie, in order and each place once."""
    _, _, first, last = places[0]
    for _, _, begin, end in places[1:]:
        if begin > last + 1:
            yield first, last
            first = begin
        last = max(last, end)
    yield first, last


def details(rows: Iterable[tuple[int, str, bytes]], marks: set[bytes]) -> Iterator[tuple[int, bytes]]:
    """(seq, body) of those that are details of the runs.

    An accepted attempt that appended rows to a topic stays: by that fact they are traced to their run.
    """
    accepted: tuple[int, bytes] | None = None
    for seq, kind, body in rows:
        if kind in OUTPUT:
            accepted = None if kind == "TopicAppended" else accepted
            continue
        if accepted is not None:
            yield accepted
        accepted = None
        if kind in _DETAILS and body[1 : body.find(b'",') + 1] in marks:
            if kind == "AttemptSucceeded":
                accepted = seq, body
            else:
                yield seq, body


def _gone(log: str, rows: Sequence[tuple[int, bytes]]) -> Gone:
    digest = xxhash.xxh3_128()
    lengths: list[Any] = []
    last = rows[0][0] - 1
    for seq, body in rows:
        digest.update(body)
        if seq == last + 1 and lengths:
            lengths[-1] += 1
        else:
            lengths += [seq - last - 1, 1] if lengths else [1]
        last = seq
    return Gone(log, rows[0][0], tuple(lengths), digest.hexdigest())
