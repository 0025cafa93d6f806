"""A4: no gap in any log, and its head is its last fact. D4, D5: every request answered once, all work at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from headrace.runs.facts import LogTaken, RequestAnswered
from headrace.testing.auditor.audit import Evidence, Place, Violation


def check_logs(evidence: Evidence, places: list[Place]) -> Iterator[Violation]:
    heads: dict[str, int] = dict(evidence.database.read("SELECT name, head FROM logs"))
    last: dict[str, int] = {}
    epochs: dict[str, int] = {}
    for place in places:
        expected = last.get(place.log, 0) + 1
        if place.seq != expected:
            yield Violation(
                "A4", "the sequence of facts has no gap", f"{place.log}: {expected} is missing before {place}"
            )
        last[place.log] = place.seq
        if isinstance(place.fact, LogTaken):
            if place.fact.epoch <= epochs.get(place.log, 0):
                yield Violation("E2", "each owner of a log has a higher epoch", str(place))
            epochs[place.log] = place.fact.epoch
    for log, head in heads.items():
        if last.get(log, 0) != head:
            yield Violation("A4", "the head is the last fact", f"{log}: head {head}, last fact {last.get(log, 0)}")
    for log in last.keys() - heads.keys():
        yield Violation("A4", "each log has a head", log)


def check_ends(evidence: Evidence, places: list[Place]) -> Iterator[Violation]:
    answered = Counter(p.fact.request for p in places if isinstance(p.fact, RequestAnswered))
    for request, times in answered.items():
        if times != 1:
            yield Violation("D4", "a request is answered once", f"request {request} was answered {times} times")
    rows = evidence.database.read("SELECT id, verb, body, status FROM inbox")
    for number, verb, body, status in rows:
        if (status is not None) != (number in answered):
            yield Violation("D2", "rows are the fold of the facts", f"request {number} ({verb} {body}) is {status}")
    if evidence.has_ended or not evidence.is_quiet:
        return
    for number, verb, body, status in rows:
        if status is None:
            yield Violation("D5", "once faults stop, all comes to an end", f"request {number}: {verb} {body}")
    for run, pipeline, state, waits in evidence.database.read(
        "SELECT run, pipeline, state, waits FROM runs WHERE ended_us IS NULL"
    ):
        items = evidence.database.read(
            "SELECT node, path, item, state, attempt FROM items WHERE run = ? AND state <> 'succeeded'", (run,)
        )
        found = f"run {run} of {pipeline} is {state}, waits for {waits}, items {items}"
        yield Violation("D5", "once faults stop, all comes to an end", found)
