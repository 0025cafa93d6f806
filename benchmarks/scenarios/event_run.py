"""From appending an event to the first line of the batch run that it starts."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks import events
from benchmarks.bench import Bench
from benchmarks.project import Project
from benchmarks.result import SECONDS, Result, percentile
from headrace.connectors.appends import append
from headrace.definitions.project import TopicDef
from headrace.store.sql.reads import runs as run_rows

SOURCE = "alarm"

_TARGET_S = {50: 0.015, 95: None}
_PAUSE_S = 0.03  # everything has come to rest before the next event


def measure(bench: Bench) -> Iterator[Result]:
    count = bench.sized(40, 2)
    made = bench.project
    made.until_streaming(1)
    topic = events.topic_of(made.root, "alarms")
    for _ in range(3):
        _first_line_s(made, topic)
    runs = [[_first_line_s(made, topic) for _ in range(count)] for _ in range(bench.runs)]
    for percent, target_s in _TARGET_S.items():
        yield Result(
            scenario="event_run",
            figure=f"event to first line, p{percent}",
            size=count,
            unit=SECONDS,
            samples=tuple(percentile(run, percent) for run in runs),
            target=target_s,
            limit=3 * bench.limits.commit_s + 2 * bench.limits.round_trip_s,
            limit_of="three commits and two round trips",
        )


def _first_line_s(made: Project, topic: TopicDef) -> float:
    time.sleep(_PAUSE_S)
    database = made.store.database
    before = run_rows.counts(database, "respond").get("succeeded", 0)
    appended_ns = time.monotonic_ns()
    append(made.store, events.LOG, topic, [{"id": str(appended_ns)}], time.time_ns() // 1000)
    made.ring()
    made.until(lambda: run_rows.counts(database, "respond").get("succeeded", 0) > before)
    newest = max(run_rows.runs(database, pipeline="respond", limit=20), key=lambda row: row.created_us)
    return (made.result(newest.run, "moment") - appended_ns) / 1e9
