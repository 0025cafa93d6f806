"""Tables and topics that tasks wrote, what events and slots started, and what the stream made of its rows."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator

from headrace.testing.chaos.breach import DOUBLED, LOST, WRONG, Breach
from headrace.testing.chaos.ledger import Ledger
from headrace.testing.chaos.left import Left


def compare_tables(left: Left) -> Iterator[Breach]:
    """One version for each accepted write, and all rows in the newest; one row for each accepted append."""
    wrote = dict(left.rows(_DONE, "write"))
    versions = Counter(run for (run,) in left.rows("SELECT run FROM table_versions WHERE name = 'doubles'"))
    yield from _once("table doubles, run", set(wrote), versions)
    numbers = [n for (n,) in left.rows("SELECT version FROM table_versions WHERE name = 'doubles' ORDER BY version")]
    if numbers != list(range(1, len(numbers) + 1)):
        yield Breach(LOST, "table doubles", f"its versions are {numbers}")
    rows = list(left.table("doubles"))
    yield from _once("table doubles, n", set(wrote.values()), Counter(row["n"] for row in rows))
    if wrong := [row for row in rows if row["twice"] != 2 * row["n"]]:
        yield Breach(WRONG, "table doubles", f"{wrong[:5]}")
    told = {n for _, n in left.rows(_DONE, "tell")}
    yield from _once("topic told, n", told, Counter(row.values["n"] for row in left.topic("told")))


_DONE = """SELECT i.run, json_extract(r.params, '$.n') FROM items i JOIN runs r ON r.run = i.run
    WHERE i.node = ? AND i.state = 'succeeded'"""


def compare_events(left: Left) -> Iterator[Breach]:
    """Each loud signal started one run, which read exactly it."""
    place = {(row.partition, row.offset): row.values for row in left.topic("signals")}
    loud = {at for at, values in place.items() if values["loud"]}
    started: Counter[tuple[int, int]] = Counter()
    sql = """SELECT r.run, r.events, json_extract(i.result, '$[1]') FROM runs r
        LEFT JOIN items i ON i.run = r.run AND i.node = 'hear' WHERE r.pipeline = 'answer'"""
    for run, events, result in left.rows(sql):
        at = [(part, offset) for _, part, first, end in json.loads(events) for offset in range(first, end)]
        started.update(at)
        expected = [place[one]["n"] for one in at if one in place]
        if result is not None and json.loads(result) != expected:
            yield Breach(WRONG, f"run {run}", f"its events are {expected}, and it read {result}")
    yield from _once("event of signals at", loud, started)


def compare_slots(left: Left, first_slot_s: int, slot_s: int) -> Iterator[Breach]:
    """Each slot since the beginning has one run, or was skipped because the campaign, at its end, paused the pipeline."""
    last = left.rows("SELECT last_us FROM schedules WHERE pipeline = 'tick'")
    last_s = last[0][0] // 1_000_000 if last else first_slot_s
    keys = left.rows("SELECT key FROM runs WHERE pipeline = 'tick'")
    found = Counter(int(key.rpartition(":")[2]) // 1_000_000 for (key,) in keys)
    sql = """SELECT json_extract(body, '$[2]') / 1000000, json_extract(body, '$[3]') / 1000000 FROM facts
        WHERE kind = 'SlotsSkipped' AND json_extract(body, '$[7]') = 'paused'"""
    slots = range(first_slot_s, last_s + 1, slot_s)
    for after_s, until_s in left.rows(sql):
        found.update(slot for slot in slots if after_s < slot <= until_s)
    yield from _once("slot of tick", set(slots), found)


def compare_stream(ledger: Ledger, left: Left) -> Iterator[Breach]:
    """Each row is one row of the output, or one dead letter: poison, or a row in whose batch the process died."""
    rows = list(left.topic("rows"))
    dead: dict[tuple[int, int], list[str]] = defaultdict(list)
    for part, offset, reason in left.rows("SELECT partition, offset, reason FROM dead_letters WHERE stream = 'score'"):
        dead[part, offset].append(reason)
    out: Counter[int] = Counter()
    for row in left.topic("scores"):
        out[row.values["n"]] += 1
        if row.values["twice"] != 2 * row.values["n"]:
            yield Breach(WRONG, f"score of {row.values['n']}", f"{row.values}")
    scored = {value for entry in ledger.tasks if entry.what == "scored" for value in entry.values}
    for row in rows:
        n, reasons = row.values["n"], dead.pop((row.partition, row.offset), [])
        key, count = f"row {n} of rows at {row.partition}/{row.offset}", out.pop(n, 0) + len(reasons)
        if count == 0:
            yield Breach(LOST, key, "no score and no dead letter", "headrace streams show score")
        elif count > 1:
            yield Breach(DOUBLED, key, f"{count - len(reasons)} scores, dead letters {reasons}")
        elif reasons and (n > 0 or reasons[0] != "error") and reasons[0] != "crashed":
            yield Breach(WRONG, key, f"a dead letter: {reasons[0]}")
        elif not reasons and (n < 0 or n not in scored):
            yield Breach(WRONG, key, "a score that the function never made")
    if out or dead:
        yield Breach(DOUBLED, "scores", f"of no row: {sorted(out)[:10]}, dead letters at {sorted(dead)[:10]}")


def blamed(left: Left) -> int:
    """Innocent rows that became dead letters because their process was killed over them again and again."""
    return left.one("SELECT count(*) FROM dead_letters WHERE stream = 'score' AND reason = 'crashed'")


def _once(
    what: str,
    expected: set[int] | set[str] | set[tuple[int, int]],
    found: Counter[int] | Counter[str] | Counter[tuple[int, int]],
) -> Iterator[Breach]:
    for key in sorted(expected - set(found)):  # type: ignore[operator]
        yield Breach(LOST, f"{what} {key}", "it is not there")
    for key, n in found.items():
        if key not in expected:
            yield Breach(DOUBLED, f"{what} {key}", f"{n} times, and nothing asked for it")
        elif n > 1:
            yield Breach(DOUBLED, f"{what} {key}", f"{n} times")
