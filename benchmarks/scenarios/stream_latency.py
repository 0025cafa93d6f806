"""From an event's due time to its score before a reader's eyes, at a steady rate below what the stream can do."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

from benchmarks import events
from benchmarks.bench import Bench
from benchmarks.project import Project
from benchmarks.result import SECONDS, Result, percentile
from headrace.connectors.log import Log
from headrace.definitions.project import TopicDef
from headrace.store.sql.reads import topics

SOURCE = "scoring"

_RATE = 5_000
_TARGET_S = {50: 0.008, 99: 0.030}


def measure(bench: Bench) -> Iterator[Result]:
    rate, seconds = bench.sized(_RATE, 200), bench.sized(10, 1)
    made = bench.project
    made.until_streaming(4)
    reader = _Reader(made)
    reader.latencies_s(rate, min(3, seconds))
    runs = [reader.latencies_s(rate, seconds) for _ in range(bench.runs)]
    for percent, target_s in _TARGET_S.items():
        yield Result(
            scenario="stream_latency",
            figure=f"event in to score out, p{percent}",
            size=rate,
            unit=SECONDS,
            samples=tuple(percentile(run, percent) for run in runs),
            target=target_s,
            limit=2 * bench.limits.commit_s + bench.limits.round_trip_s,
            limit_of="two commits and two wakes",
        )


class _Reader:
    """Reads the scores as soon as they are committed, as any client could."""

    def __init__(self, made: Project) -> None:
        self._made = made
        self._topic: TopicDef = events.topic_of(made.root, "scores")
        self._log = Log(made.store.database, topics)
        self._next = self._log.heads("scores")

    def latencies_s(self, rate: int, seconds: int) -> list[float]:
        """Of every event of a producer that appends so many a second for so long."""
        command = [sys.executable, "-m", "benchmarks.producer", str(self._made.root), str(seconds), str(rate)]
        found: list[float] = []

        def is_complete() -> bool:
            found.extend(self._new())
            return len(found) >= rate * seconds

        with subprocess.Popen(command) as producer:
            self._made.until(is_complete)
            producer.wait()
        return found

    def _new(self) -> list[float]:
        """Latencies of the scores that have come since."""
        heads = self._log.heads("scores")
        fresh = {number: end for number, end in heads.items() if end > self._next.get(number, 0)}
        if not fresh:
            return []
        places = [(number, self._next.get(number, 0), end) for number, end in fresh.items()]
        rows = self._log.rows_at(self._topic, places, hidden=False).frame
        now_us = time.monotonic_ns() / 1000
        self._next |= fresh
        ids: list[str] = rows["id"].to_list()
        return [(now_us - int(name.partition("-")[0])) / 1e6 for name in ids]
