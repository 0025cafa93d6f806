"""Was everything that was acknowledged done, and once; and nothing that nobody asked for?"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from headrace.testing.chaos.breach import DOUBLED, LOST, WRONG, Breach
from headrace.testing.chaos.ledger import Asked, Ledger
from headrace.testing.chaos.left import Left

NO_ENGINE = 5  # the exit code of a client that nobody answered: its request is stored all the same
CAUSES = {"trigger": "person", "run": "here"}


def compare_requests(ledger: Ledger, left: Left) -> Iterator[Breach]:
    """Every request of a client against its run or rows."""
    outcomes = _outcomes(ledger)
    runs = _runs(left)
    for asked in ledger.clients:
        if asked.what == "asked":
            outcome = outcomes.get(asked.client)
            if asked.verb == "append":
                continue
            yield from _run(asked, outcome, runs.pop((CAUSES[asked.verb], asked.name, asked.numbers[0]), []))
    for (cause, pipeline, n), found in runs.items():
        yield Breach(DOUBLED, f"{pipeline} n={n}", f"nobody asked for {len(found)} runs ({cause}): {found}")
    for topic in ("rows", "signals"):
        yield from _appends(topic, ledger, outcomes, left)
    yield from _refusals(outcomes)


def _outcomes(ledger: Ledger) -> dict[int, Asked]:
    return {entry.client: entry for entry in ledger.clients if entry.what != "asked"}


def _runs(left: Left) -> dict[tuple[str, str, int], list[tuple[str, str]]]:
    """(cause, pipeline, n) → (run, state) of each."""
    found: dict[tuple[str, str, int], list[tuple[str, str]]] = defaultdict(list)
    sql = "SELECT cause, pipeline, json_extract(params, '$.n'), run, state FROM runs WHERE cause IN ('person', 'here')"
    for cause, pipeline, n, run, state in left.rows(sql):
        found[cause, pipeline, n].append((run, state))
    return dict(found)


def _run(asked: Asked, outcome: Asked | None, runs: list[tuple[str, str]]) -> Iterator[Breach]:
    key = f"{asked.verb} {asked.name} n={asked.numbers[0]}"
    where = f"client {asked.client} in clients.jsonl"
    is_sure = outcome is not None and (outcome.what == "acknowledged" or "is stored" in outcome.said)
    if is_sure and not runs:
        yield Breach(LOST, key, "it was acknowledged, and has no run", where)
    if len(runs) > 1:
        yield Breach(DOUBLED, key, f"it has {len(runs)} runs: {runs}", where)
    was_killed = outcome is None or outcome.what == "killed"
    for run, state in runs:
        if state != "succeeded" and not (asked.verb == "run" and was_killed and state == "lost"):
            yield Breach(WRONG, key, f"run {run} ended {state}", f"headrace why {run}")


def _appends(topic: str, ledger: Ledger, outcomes: dict[int, Asked], left: Left) -> Iterator[Breach]:
    stored = Counter(row.values["n"] for row in left.topic(topic))
    for asked in ledger.clients:
        if asked.what != "asked" or asked.name != topic:
            continue
        outcome = outcomes.get(asked.client)
        key, where = f"rows {asked.numbers[0]}… of {topic}", f"client {asked.client} in clients.jsonl"
        times = {n: stored.pop(n, 0) for n in asked.numbers}
        there = [n for n, count in times.items() if count]
        if many := [n for n, count in times.items() if count > 1]:
            yield Breach(DOUBLED, key, f"{many} are there more than once", where)
        if outcome is not None and outcome.what == "acknowledged" and len(there) < len(times):
            yield Breach(LOST, key, f"acknowledged, and {sorted(set(times) - set(there))} are not there", where)
        elif there and len(there) < len(times):
            yield Breach(WRONG, key, f"half an append: {len(there)} of {len(times)} rows", where)
    if stored:
        yield Breach(DOUBLED, topic, f"nobody appended {sorted(stored)[:10]}")


def _refusals(outcomes: dict[int, Asked]) -> Iterator[Breach]:
    """A client that nobody struck succeeds, or says that no engine answered."""
    for outcome in outcomes.values():
        if outcome.what == "refused" and not (outcome.verb == "trigger" and outcome.code == NO_ENGINE):
            key = f"{outcome.verb} {outcome.name} n={outcome.numbers[0]}"
            yield Breach(WRONG, key, f"exit code {outcome.code}: {outcome.said[-500:]}", f"client {outcome.client}")
