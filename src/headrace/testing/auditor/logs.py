"""A4, E2: no gap in any log, its head is its last fact, nothing is gone again, and each owner has a higher epoch."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.runs.facts import LogTaken
from headrace.store.sql.connection import Database
from headrace.testing.auditor.audit import Evidence, Place, Violation


class LogCheck:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.last: dict[str, int] = {}
        self.epochs: dict[str, int] = {}

    def take(self, place: Place) -> Iterator[Violation]:
        expected = self.last.get(place.log, 0) + 1
        if place.seq != expected:
            found = f"{place.log}: {expected} is missing before {place}"
            yield Violation("A4", "the sequence of facts has no gap", found)
        self.last[place.log] = place.seq
        if isinstance(place.fact, LogTaken):
            if place.fact.epoch <= self.epochs.get(place.log, 0):
                yield Violation("E2", "each owner of a log has a higher epoch", str(place))
            self.epochs[place.log] = place.fact.epoch

    def compare(self) -> Iterator[Violation]:
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
            if count != last or last != self.last.get(log):
                yield Violation("A4", "the sequence of facts has no gap", f"{log}: {count} facts, the last is {last}")
