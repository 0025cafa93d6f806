"""The embedded log at full speed: rows appended, decoded, scored, scores and offsets committed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import polars as pl

from benchmarks import events
from benchmarks.bench import Bench
from benchmarks.by_hand import by_hand
from benchmarks.machine import below, command_of, cpu_s, pss_mib
from benchmarks.project import Project
from benchmarks.result import MIB, ROWS_PER_CORE_S, ROWS_PER_S, Result
from headrace.store.sql.reads import topics

SOURCE = "scoring"

_TOGETHER = 10_000  # rows of an append
_TARGET = {"JSON": 400_000.0, "typed": 1_000_000.0}
Rows = list[bytes] | pl.DataFrame


@dataclass(frozen=True, slots=True)
class _Pass:
    """Rows once through the log: wall time, and processor time here, in the engine and in the stream."""

    rows: int
    wall_s: float
    appending_s: float
    engine_s: float
    stream_s: float
    stream_mib: float


def measure(bench: Bench) -> Iterator[Result]:
    appends = bench.sized(100, 2)
    together = bench.sized(_TOGETHER, 100)
    ids = [f"UA-{number:07d}" for number in range(together)]
    shapes: dict[str, Rows] = {"JSON": events.lines(ids), "typed": events.frame(ids)}
    bench.project.until_streaming(4)
    for shape, rows in shapes.items():
        ceiling = by_hand(bench.limits.folder, rows, appends)
        _pass(bench.project, rows, appends)
        passes = [_pass(bench.project, rows, appends) for _ in range(bench.runs)]
        yield from _results(shape, passes, ceiling)


def _results(shape: str, passes: list[_Pass], ceiling: float) -> Iterator[Result]:
    def result(figure: str, unit: str, of: Callable[[_Pass], float], target: float | None = None) -> Result:
        return Result(
            scenario="stream_log",
            figure=f"{shape}: {figure}",
            size=passes[0].rows,
            unit=unit,
            samples=tuple(of(one) for one in passes),
            target=target,
            limit=None if unit == MIB else ceiling,
            limit_of="" if unit == MIB else "one core on the same parts by hand",
        )

    yield result("append to commit", ROWS_PER_S, lambda one: one.rows / one.wall_s)
    yield result(
        "append to commit",
        ROWS_PER_CORE_S,
        lambda one: one.rows / (one.appending_s + one.engine_s + one.stream_s),
        _TARGET[shape],
    )
    yield result("append alone", ROWS_PER_CORE_S, lambda one: one.rows / one.appending_s)
    yield result("stream process alone", ROWS_PER_CORE_S, lambda one: one.rows / max(one.stream_s, 0.001))
    yield result("memory of the stream process", MIB, lambda one: one.stream_mib, 200.0)


def _pass(made: Project, rows: Rows, appends: int) -> _Pass:
    topic = events.topic_of(made.root, "events")
    wanted = _scored(made) + appends * len(rows)
    processes = _processes()
    before = {pid: cpu_s(pid) for pid in processes}
    begun_s, own_s = time.monotonic(), time.process_time()
    for _ in range(appends):
        events.append(made.store, topic, rows, time.time_ns() // 1000)
        made.ring()
    appending_s = time.process_time() - own_s
    made.until(lambda: _scored(made) == wanted)
    wall_s = time.monotonic() - begun_s
    spent = {pid: cpu_s(pid) - before[pid] for pid in processes}
    streams = {pid for pid in processes if " --shards " in command_of(pid)}
    return _Pass(
        rows=appends * len(rows),
        wall_s=wall_s,
        appending_s=appending_s,
        engine_s=sum(spent[pid] for pid in processes if pid not in streams),
        stream_s=sum(spent[pid] for pid in streams),
        stream_mib=max(map(pss_mib, streams)),
    )


def _scored(made: Project) -> int:
    return sum(topics.heads(made.store.database, "scores").values())


def _processes() -> list[int]:
    """Everything that this process has started."""
    return [pid for pid in below(os.getpid()) if pid != os.getpid()]
