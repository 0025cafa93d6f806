"""Was each result accepted once, by an attempt that ran; and did only what a kill interrupted run again?"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator

from headrace.testing.chaos.breach import DOUBLED, LOST, WRONG, Breach
from headrace.testing.chaos.ledger import Ledger, Signed
from headrace.testing.chaos.left import Left

FAN, STEPS = 30, 5_000  # of the project
TASKS = {
    "chain": Counter({"draw": 1, "grow": 1, "shrink": 1}),
    "fan": Counter({"numbers": 1, "work": FAN, "total": 1}),
    "publish": Counter({"write": 1, "tell": 1}),
    "answer": Counter({"hear": 1}),
    "tick": Counter({"look": 1}),
}
Item = tuple[str, str, int]


def compare_attempts(ledger: Ledger, left: Left) -> Iterator[Breach]:
    """Every run and item against what its tasks signed."""
    yield from _items(left)
    yield from _accepted(left)
    yield from _results(left)
    yield from _executions(ledger, left)


def _items(left: Left) -> Iterator[Breach]:
    """A run that succeeded has a result of each of its tasks."""
    done: dict[str, Counter[str]] = defaultdict(Counter)
    for run, node, n in left.rows("SELECT run, node, count(*) FROM items WHERE state = 'succeeded' GROUP BY run, node"):
        done[run][node] = n
    for run, pipeline, state, log in left.rows("SELECT run, pipeline, state, log FROM runs"):
        if state == "succeeded" and done[run] != TASKS[pipeline]:
            yield Breach(LOST, f"run {run}", f"it succeeded with {dict(done[run])}", f"headrace runs show {run}")
        if state not in ("succeeded", "lost") or (state == "lost" and log == "engine"):
            yield Breach(WRONG, f"run {run}", f"a {pipeline} ended {state}", f"headrace why {run}")


def _accepted(left: Left) -> Iterator[Breach]:
    where = (
        "json_extract(body, '$[0]'), json_extract(body, '$[1]'), json_extract(body, '$[2]'), json_extract(body, '$[3]')"
    )
    sql = f"SELECT {where}, count(*) FROM facts WHERE kind = 'AttemptSucceeded' GROUP BY 1, 2, 3, 4 HAVING count(*) > 1"
    for run, node, path, item, n in left.rows(sql):
        yield Breach(DOUBLED, f"{run} {node} {path} {item}", f"{n} results were accepted", f"headrace runs show {run}")
    for log, head, first, last, n in left.rows(
        "SELECT l.name, l.head, min(f.seq), max(f.seq), count(*) FROM logs l JOIN facts f ON f.log = l.name GROUP BY l.name"
    ):
        if (first, last, n) != (1, head, head):
            yield Breach(LOST, f"log {log}", f"its head is {head}, and it has {n} facts from {first} to {last}")


def _results(left: Left) -> Iterator[Breach]:
    sql = """SELECT r.run, r.pipeline, json_extract(r.params, '$.n'), json_extract(i.result, '$[1]') FROM runs r
        JOIN items i ON i.run = r.run AND i.node IN ('shrink', 'total') WHERE i.state = 'succeeded'"""
    for run, pipeline, n, result in left.rows(sql):
        expected = n * STEPS if pipeline == "chain" else sum(range(n, n + FAN))
        if json.loads(result) != expected:
            yield Breach(WRONG, f"run {run}", f"{pipeline}(n={n}) is {expected}, and its result is {result}")


def _executions(ledger: Ledger, left: Left) -> Iterator[Breach]:
    began: dict[Item, list[Signed]] = defaultdict(list)
    raised: set[tuple[Item, int]] = set()
    for entry in ledger.tasks:
        item = (entry.run, entry.task, entry.item)
        if entry.what == "began":
            began[item].append(entry)
        elif entry.what == "raised":
            raised.add((item, entry.epoch))
    accepted = {
        (run, node, item): epoch
        for run, node, item, epoch in left.rows("SELECT run, node, item, epoch FROM items WHERE state = 'succeeded'")
    }
    fate = _Fate(ledger)
    for item, epoch in accepted.items():
        if epoch not in [entry.epoch for entry in began.get(item, [])]:
            yield Breach(WRONG, _name(item), f"start {epoch} was accepted, and never ran", "tasks.jsonl")
    for item, entries in began.items():
        entries.sort(key=lambda entry: entry.epoch)
        twice = [epoch for epoch, n in Counter(entry.epoch for entry in entries).items() if n > 1]
        if twice:
            yield Breach(DOUBLED, _name(item), f"start {twice} ran more than once", "tasks.jsonl")
        if item in accepted and entries[-1].epoch > accepted[item]:
            yield Breach(DOUBLED, _name(item), "it ran again after its result was accepted", "tasks.jsonl")
        for entry in entries[:-1]:
            if (item, entry.epoch) not in raised and not fate.explains(entry):
                text = f"it ran again after start {entry.epoch} in process {entry.pid}, which nobody struck"
                yield Breach(WRONG, _name(item), text, f"tasks.jsonl, headrace runs show {item[0]}, engine.log")


class _Fate:
    """Who was killed or stopped, and with whom."""

    def __init__(self, ledger: Ledger) -> None:
        self._struck = {strike.pid for strike in ledger.strikes if strike.what in ("kill", "stop")}
        self._killed = {strike.pid for strike in ledger.strikes if strike.what == "kill"}
        self._parents = {entry.pid for entry in ledger.engines}

    def explains(self, entry: Signed) -> bool:
        """Whether this attempt may have ended without a report: its process or its engine was struck."""
        is_orphan = entry.parent not in self._parents  # its engine had died already
        return entry.pid in self._struck or entry.parent in self._killed or is_orphan


def _name(item: Item) -> str:
    return f"run {item[0]} {item[1]}[{item[2]}]"
