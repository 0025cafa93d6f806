"""A4, E2: no gap in any log but of details that were dropped, its head is its last fact, and owners' epochs grow."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.runs.facts import DetailsDropped, LogTaken
from headrace.store.sql.connection import Database
from headrace.testing.auditor.evidence import Evidence, Place, Violation


class LogCheck:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.last: dict[str, int] = {}
        self.epochs: dict[str, int] = {}
        self.dropped: dict[str, int] = {}
        self.missing: dict[tuple[str, int], Place] = {}  # until it is told that it was dropped

    def take(self, place: Place) -> Iterator[Violation]:
        for seq in range(self.last.get(place.log, 0) + 1, place.seq):
            self.missing[place.log, seq] = place
        if place.seq <= self.last.get(place.log, 0):
            yield Violation("A4", "the sequence of facts has no gap", f"{place} comes again")
        self.last[place.log] = place.seq
        if isinstance(place.fact, DetailsDropped):
            for gone in place.fact.gone:
                self.dropped[gone.log] = self.dropped.get(gone.log, 0) + gone.count
                for first, last in gone.spans():
                    for seq in range(first, last + 1):
                        self.missing.pop((gone.log, seq), None)
        if isinstance(place.fact, LogTaken):
            if place.fact.epoch <= self.epochs.get(place.log, 0):
                yield Violation("E2", "each owner of a log has a higher epoch", str(place))
            self.epochs[place.log] = place.fact.epoch

    def compare(self) -> Iterator[Violation]:
        for (log, seq), place in self.missing.items():
            yield Violation("A4", "the sequence of facts has no gap", f"{log}: {seq} is missing before {place}")
        self.missing.clear()
        rows = self.database.read("SELECT name, head, epoch FROM logs")
        heads = {log: head for log, head, _ in rows}
        if heads != self.last:
            for log in sorted(heads.keys() | self.last.keys()):
                if heads.get(log) != self.last.get(log):
                    found = f"{log}: head {heads.get(log)}, last fact {self.last.get(log)}"
                    yield Violation("A4", "the head is the last fact", found)
        for log, _, epoch in rows:
            if epoch != self.epochs.get(log, 0):
                yield Violation("D2", "rows are the fold of the facts", f"{log}: epoch {epoch}, {self.epochs.get(log)}")

    def close(self, end: Evidence) -> Iterator[Violation]:
        rows = self.database.read("SELECT log, count(*), max(seq) FROM facts GROUP BY log")
        for log, count, last in rows:
            dropped = self.dropped.get(log, 0)
            if count + dropped != last or last != self.last.get(log):
                found = f"{log}: {count} facts, {dropped} dropped, the last is {last}"
                yield Violation("A4", "the sequence of facts has no gap", found)
