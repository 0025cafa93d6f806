"""A year of runs with details that are dropped after 90 days: what the store keeps, what that costs, and what it spares."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, cast

from benchmarks.bench import Bench
from benchmarks.past import repeat_run
from benchmarks.project import Project, project
from benchmarks.result import MIB, SECONDS, Result, percentile
from headrace.engine.loop import Engine
from headrace.engine.options import EngineOptions
from headrace.engine.retention import Retention
from headrace.ports import Workers
from headrace.runs.events import Event
from headrace.storage.local import LocalStorage
from headrace.storage.run_files import LocalRunFiles

DAY_US = 86_400_000_000
HOPS = 100
PIPELINE = "three"


def measure(bench: Bench) -> Iterator[Result]:
    """`size` is the runs in a day. The year ends now, so that the engine that serves afterwards finds it as it left it."""
    size, days, kept = bench.sized(200, 12), bench.sized(365, 16), bench.sized(90, 4)

    def result(figure: str, unit: str, *samples: float, **more: Any) -> Result:
        return Result(scenario="churn", figure=figure, size=size, unit=unit, samples=samples, **more)

    with project("batch", is_served=False) as made:
        year = _Year(made, size, days)
        yield from _work(bench, made, result, "in a new store")
        made.stop()
        begun_mib = year.used_mib()
        for day in range(kept):
            year.pass_day(day, kept)
        early_mib, early_used = year.file_mib(), year.used_mib()
        year.dropping_s = 0.0
        for day in range(kept, days):
            year.pass_day(day, kept)
        yield result(f"database after {kept} days", MIB, early_mib)
        yield result(
            f"database after {days} days", MIB, year.file_mib(),
            limit=_all_kept_mib(size, days), limit_of='the same year with `retention = "forever"`',
        )  # fmt: skip
        dropped = size * (days - kept)
        yield result("1,000 runs with details", MIB, 1000 * (early_used - begun_mib) / (size * kept))
        yield result("1,000 runs without details", MIB, 1000 * (year.used_mib() - early_used) / dropped)
        yield result("dropping the details of 1,000 runs", SECONDS, 1000 * year.dropping_s / dropped)
        made.start()
        yield from _work(bench, made, result, f"after {days} days")


class _Year:
    """Days of a project that end now, each with runs spread over it and an engine that begins the next one."""

    def __init__(self, made: Project, size: int, days: int) -> None:
        self.made, self.size = made, size
        made.start()
        self.model = made.run(PIPELINE).run
        self.first_us = time.time_ns() // 1000 - days * DAY_US
        self.dropping_s = 0.0

    def pass_day(self, day: int, kept: int | None) -> None:
        """With `kept` None nothing is forgotten."""
        at_us = self.first_us + day * DAY_US
        numbers = range(day * self.size, (day + 1) * self.size)
        repeat_run(self.made.settings.database, self.model, numbers, during=(at_us, at_us + DAY_US))
        if kept is not None:
            self._forget(at_us + DAY_US, kept * DAY_US)

    def file_mib(self) -> float:
        self.made.store.checkpoint_truncate()
        return self.made.settings.database.stat().st_size / 2**20

    def used_mib(self) -> float:
        """Without the pages that are free for what comes next."""
        ask = self.made.store.database.read
        pages = ask("PRAGMA page_count")[0][0] - ask("PRAGMA freelist_count")[0][0]
        return pages * ask("PRAGMA page_size")[0][0] / 2**20

    def _forget(self, now_us: int, kept_us: int) -> None:
        """As an engine that is started at that moment and has nothing else to do."""
        made, clock = self.made, _At(now_us)
        files = LocalRunFiles(LocalStorage(made.settings.artifacts), made.settings.logs, lambda: False)
        retention = Retention(made.store, files, clock, kept_us)
        engine = Engine(
            made.store, cast("Workers", _Nobody()), clock, options=EngineOptions(name="benchmark"), read_file=str.encode,
            retention=retention,
        )  # fmt: skip
        engine.start()
        begun = time.monotonic()
        while engine.turn(wait=False):
            pass
        self.dropping_s += time.monotonic() - begun


class _At:
    """Implements `ports.Clock`: one moment."""

    def __init__(self, now_us: int) -> None:
        self._now_us = now_us

    def now_us(self) -> int:
        return self._now_us

    def monotonic_us(self) -> int:
        return 0


class _Nobody:
    """What an engine that has no work asks of `ports.Workers`."""

    def events(self) -> list[Event]:
        return []

    def begun(self, workers: Sequence[str]) -> dict[str, tuple[int, int]]:
        return {}

    def end_strangers(self) -> dict[str, int]:
        return {}


def _all_kept_mib(size: int, days: int) -> float:
    with project("batch", is_served=False) as made:
        year = _Year(made, size, days)
        made.stop()
        for day in range(days):
            year.pass_day(day, None)
        return year.file_mib()


def _work(bench: Bench, made: Project, result: Any, when: str) -> Iterator[Result]:
    hops = bench.sized(HOPS, 5)
    chains = [made.run(f"chain_{hops}").seconds for _ in range(bench.runs + 1)][1:]
    starts = [_first_line_s(made) for _ in range(bench.sized(60, 2))]
    yield result(f"chain of {hops} {when}", SECONDS, *chains, target=0.002 * hops)
    yield result(f"asked to first line {when}, p50", SECONDS, percentile(starts, 50), target=0.003)


def _first_line_s(made: Project) -> float:
    asked_ns = time.monotonic_ns()
    run = made.answered(made.ask("first_line"))
    made.until(lambda: made.ended(run))
    return (made.result(run, "moment") - asked_ns) / 1e9
