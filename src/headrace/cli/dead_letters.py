"""`headrace dead-letters`: rows that a stream could not process, with the reason of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.base.shown import shown
from headrace.cli.here import Here, open_here
from headrace.cli.names import known
from headrace.cli.output import notice, show_fields, show_json, show_table
from headrace.cli.parser import PLAIN, Common, Limit, make_app
from headrace.cli.words import count, headline, local
from headrace.errors import NotFoundError

if TYPE_CHECKING:
    from headrace.store.sql.reads.streams import DeadLetterRow

app = make_app("dead-letters", "Dead letters: rows that a stream could not process, with the reason of each.")


@app.command
def ls(stream: str | None = None, /, *, before: int | None = None, limit: Limit = 20, common: Common = PLAIN) -> None:
    """Dead letters of one stream, or of all, newest first.

    Parameters
    ----------
    stream
        The stream; all of them without it.
    before
        The id of the last letter of the page before.
    limit
        How many, at most 1000; 20 without it.
    """
    from headrace.store.sql.reads import streams

    with open_here(common) as here:
        shards = streams.shards(here.db)
        if stream is not None:
            known("stream", stream, {*here.project.streams, *(shard.stream for shard in shards)}, here=here)
        letters = streams.newest_dead_letters(here.db, stream, before=before, limit=limit)
        total = sum(shard.dead for shard in shards if stream in (None, shard.stream))
    if common.json:
        return show_json(letters)
    show_table(
        ("ID", "STREAM", "ROW", "REASON", "ERROR"),
        [(x.id, x.stream, f"{x.topic}/{x.partition}/{x.offset}", x.reason, headline(x.error)) for x in letters],
        empty="no dead letters",
    )
    if total > len(letters) and letters:
        notice(f"{len(letters)} of {count(total, 'dead letter')}; older ones: --before {letters[-1].id}, or --limit N")
    return None


@app.command
def show(row: str, /, *, common: Common = PLAIN) -> None:
    """One dead letter with its payload.

    Parameters
    ----------
    row
        Its ID or its ROW as `ls` shows them; of a row that died in several streams STREAM/TOPIC/PARTITION/OFFSET.
    """
    with open_here(common) as here:
        found = _found(here, row)
    if found is None:
        raise NotFoundError(f"there is no dead letter {shown(row)}", cure="headrace dead-letters ls", code="HR2012")
    if common.json:
        return show_json(found)
    show_fields(
        [
            ("stream", f"{found.stream}, shard {found.shard}, batch {found.n}"),
            ("row", f"{found.topic}/{found.partition}/{found.offset}"),
            ("reason", found.reason),
            ("error", found.error),
            ("code", found.code),
            ("at", local(found.at_us)),
        ]
    )
    return print(f"\n{found.payload}")


def _found(here: Here, row: str) -> DeadLetterRow | None:
    from headrace.store.sql.reads import streams

    parts = row.split("/")
    if row.isdecimal():
        nearest = streams.newest_dead_letters(here.db, before=int(row) + 1, limit=1)
        return next((letter for letter in nearest if letter.id == int(row)), None)
    if len(parts) not in (3, 4) or not (parts[-1].isdecimal() and parts[-2].isdecimal()):
        return None
    topic, partition, offset = parts[-3], int(parts[-2]), int(parts[-1])
    chosen = [parts[0]] if len(parts) == 4 else sorted({shard.stream for shard in streams.shards(here.db)})
    letters = (streams.dead_letter(here.db, name, topic, partition, offset) for name in chosen)
    return next((letter for letter in letters if letter is not None), None)
