"""T2, T3, T8, T10: offsets are processed once and without gap, and every row is out, filtered or a dead letter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from headrace.streams.facts import BatchCommitted, DeadLettered, ProgressMade, ShardStarted
from headrace.testing.auditor.audit import Evidence, Place, Violation

Shard = tuple[str, int]


def check_streams(evidence: Evidence, places: list[Place]) -> Iterator[Violation]:
    offset: dict[Shard, int] = {}
    number: dict[Shard, int] = defaultdict(int)
    watermark: dict[Shard, int] = {}
    letters: dict[tuple[str, int, int], int] = defaultdict(int)
    dead: dict[tuple[str, int, int], int] = {}
    offsets: set[tuple[str, str, int, int]] = set()
    for place in places:
        match place.fact:
            case ShardStarted() as started:
                if (started.stream, started.shard) in offset:
                    yield Violation("T3", "a shard starts once", str(place))
                offset[started.stream, started.shard] = started.offset
            case BatchCommitted() as batch:
                shard = (batch.stream, batch.shard)
                if batch.first != offset.get(shard) or batch.n != number[shard] or batch.end <= batch.first:
                    found = f"{place}; next is batch {number[shard]} at {offset.get(shard)}"
                    yield Violation("T3", "batches follow each other without gap", found)
                if batch.rows_in != batch.end - batch.first or batch.rows_in != (
                    batch.rows_out + batch.filtered + batch.dead
                ):
                    yield Violation("T10", "rows in = rows out + filtered + dead letters", str(place))
                if batch.watermark_us is not None:
                    if batch.watermark_us < watermark.get(shard, batch.watermark_us):
                        yield Violation("T6", "watermarks never fall", str(place))
                    watermark[shard] = batch.watermark_us
                offset[shard], number[shard] = batch.end, batch.n + 1
                dead[(*shard, batch.n)] = batch.dead
            case ProgressMade() as progress:
                shard = (progress.stream, progress.shard)
                if progress.watermark_us < watermark.get(shard, progress.watermark_us):
                    yield Violation("T6", "watermarks never fall", str(place))
                watermark[shard] = progress.watermark_us
            case DeadLettered() as letter:
                letters[letter.stream, letter.shard, letter.n] += 1
                row = (letter.stream, letter.topic, letter.partition, letter.offset)
                if row in offsets:
                    yield Violation("T8", "a poison row is one dead letter", str(place))
                offsets.add(row)
                if letter.offset >= offset.get((letter.stream, letter.shard), 0):
                    yield Violation("T8", "a dead letter belongs to its batch's transaction", str(place))
            case _:
                pass
    for batch, n in dead.items():
        if letters[batch] != n:
            yield Violation("T10", "a batch has the dead letters it counts", f"{batch}: {letters[batch]} of {n}")
    rows = {
        (stream, shard): next_offset
        for stream, shard, next_offset in evidence.database.read(
            "SELECT stream, shard, next_offset FROM shards WHERE next_offset IS NOT NULL"
        )
    }
    if rows != offset:
        yield Violation("T2", "offsets move with the output", f"rows {rows}, facts {offset}")
