"""T2, T3, T6, T8, T10: offsets are processed once, without gap, with their output; every row is accounted for."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from headrace.data.facts import TopicAppended, TopicShaped
from headrace.streams.facts import BatchCommitted, DeadLettered, ProgressMade, ShardDied, ShardStarted
from headrace.testing.auditor.evidence import Evidence, Place, Violation

Shard = tuple[str, int]


@dataclass
class _Open:
    """A batch whose output and dead letters are being read: they follow it in its transaction."""

    batch: BatchCommitted
    rows_out: int = 0
    dead: int = 0


class StreamCheck:
    def __init__(self) -> None:
        self.offset: dict[Shard, int] = {}
        self.number: dict[Shard, int] = defaultdict(int)
        self.watermark: dict[Shard, int] = {}
        self.deaths: Counter[tuple[str, int, int]] = Counter()
        self.letters: set[tuple[str, str, int, int]] = set()
        self.open: dict[str, _Open] = {}

    def take(self, place: Place) -> Iterator[Violation]:
        match place.fact:
            case TopicAppended(rows=rows) if place.log in self.open:
                self.open[place.log].rows_out += rows
                return
            case DeadLettered() as letter:
                yield from self._letter(place, letter)
                return
            case TopicShaped():
                return
            case _:
                yield from self._whole(place.log)
        match place.fact:
            case ShardStarted() as started:
                if (started.stream, started.shard) in self.offset:
                    yield Violation("T3", "a shard starts once", str(place))
                self.offset[started.stream, started.shard] = started.offset
            case BatchCommitted() as batch:
                yield from self._batch(place, batch)
            case ProgressMade() as progress:
                yield from self._mark(place, (progress.stream, progress.shard), progress.watermark_us)
            case ShardDied() as died:
                where = (died.stream, died.shard, died.offset)
                if died.offset != self.offset.get(where[:2]) or died.deaths <= self.deaths[where]:
                    yield Violation("T5", "deaths are counted at the offset at which they happen", str(place))
                self.deaths[where] = died.deaths
                if died.deaths > 12:  # eight rows are cut to one in three deaths, from whatever size in a handful more
                    yield Violation("E14", "a batch that kills is cut down to the row that does", str(place))
            case _:
                pass

    def compare(self) -> Iterator[Violation]:
        for log in tuple(self.open):
            yield from self._whole(log)

    def close(self, end: Evidence) -> Iterator[Violation]:
        yield from ()

    def _batch(self, place: Place, batch: BatchCommitted) -> Iterator[Violation]:
        shard = (batch.stream, batch.shard)
        if batch.first != self.offset.get(shard) or batch.n != self.number[shard] or batch.end <= batch.first:
            found = f"{place}; next is batch {self.number[shard]} at {self.offset.get(shard)}"
            yield Violation("T3", "batches follow each other without gap", found)
        parts = batch.rows_out + batch.filtered + batch.dead
        if batch.rows_in != batch.end - batch.first or batch.rows_in != parts:
            yield Violation("T10", "rows in = rows out + filtered + dead letters", str(place))
        if batch.watermark_us is not None:
            yield from self._mark(place, shard, batch.watermark_us)
        self.offset[shard], self.number[shard] = batch.end, batch.n + 1
        self.open[place.log] = _Open(batch)

    def _letter(self, place: Place, letter: DeadLettered) -> Iterator[Violation]:
        row = (letter.stream, letter.topic, letter.partition, letter.offset)
        if row in self.letters:
            yield Violation("T8", "a poison row is one dead letter", str(place))
        self.letters.add(row)
        found = self.open.get(place.log)
        if found is None or not found.batch.first <= letter.offset < found.batch.end:
            yield Violation("T8", "a dead letter belongs to its batch's transaction", str(place))
        else:
            found.dead += 1

    def _mark(self, place: Place, shard: Shard, watermark_us: int) -> Iterator[Violation]:
        if watermark_us < self.watermark.get(shard, watermark_us):
            yield Violation("T6", "watermarks never fall", str(place))
        self.watermark[shard] = watermark_us

    def _whole(self, log: str) -> Iterator[Violation]:
        found = self.open.pop(log, None)
        if found is None:
            return
        if found.rows_out != found.batch.rows_out:
            yield Violation("T2", "output and offset commit together", f"{found.batch}: {found.rows_out} rows came")
        if found.dead != found.batch.dead:
            yield Violation("T10", "a batch has the dead letters it counts", f"{found.batch}: {found.dead} came")
