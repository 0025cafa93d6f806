"""D1, D4, D5: what was acknowledged is there, each request has one answer, and the same key gets the same run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec

from headrace.runs.facts import RequestAnswered
from headrace.store.sql.connection import Database
from headrace.testing.auditor.evidence import Evidence, Place, Violation
from headrace.testing.auditor.witness import Witness


class RequestCheck:
    def __init__(self, database: Database, witness: Witness) -> None:
        self.database, self.witness = database, witness
        self.answered: Counter[int] = Counter()
        self.runs: dict[int, str | None] = {}

    def take(self, place: Place) -> Iterator[Violation]:
        fact = place.fact
        if isinstance(fact, RequestAnswered):
            self.answered[fact.request] += 1
            if self.answered[fact.request] > 1:
                yield Violation("D4", "a request is answered once", str(place))
            if fact.status == "done":
                self.runs[fact.request] = fact.answer.get("run")

    def compare(self) -> Iterator[Violation]:
        rows = {
            number: (key, verb, body, status)
            for number, key, verb, body, status in self.database.read("SELECT id, key, verb, body, status FROM inbox")
        }
        for number, (_key, verb, body, status) in rows.items():
            if (status is not None) != (number in self.answered):
                yield Violation("D2", "rows are the fold of the facts", f"request {number} ({verb} {body}) is {status}")
        for number, told in self.witness.acknowledged.items():
            if number not in rows or rows[number][:2] != told[:2] or msgspec.json.decode(rows[number][2]) != told[2]:
                yield Violation("D1", "what was acknowledged is durable", f"request {number}: {told}")

    def close(self, end: Evidence) -> Iterator[Violation]:
        rows = self.database.read("SELECT id, verb, body, status FROM inbox")
        by_key: dict[tuple[str, str], set[str | None]] = {}
        for number, verb, body, status in rows:
            asked = msgspec.json.decode(body) if verb == "trigger" else {}
            if (key := asked.get("key")) is not None and status == "done":
                by_key.setdefault((asked["pipeline"], key), set()).add(self.runs.get(number))
            if status is None and end.is_quiet and not end.has_ended:
                yield Violation("D5", "once faults stop, all comes to an end", f"request {number}: {verb} {body}")
        for key, runs in by_key.items():
            if len(runs) > 1:
                yield Violation("D4", "the same key is the same run", f"{key}: {runs}")
