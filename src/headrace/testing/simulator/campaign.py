"""Many schedules over all cores, to be stopped and gone on with: which broke a promise, which planted bugs were found."""

from __future__ import annotations

import gc
import hashlib
import importlib
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any

import msgspec

import headrace
from headrace.testing.simulator.simulation import simulate

BLOCK = 50
COLLECT_EVERY = 25
PLANTED_MOST = 5_000


class Block(msgspec.Struct):
    """What some schedules have shown. `broken`: seed and what it broke; `saw`: in how many schedules a state occurred."""

    schedules: int = 0
    faults: int = 0
    runs: int = 0
    messages: int = 0
    broken: list[tuple[int, str]] = []
    saw: dict[str, int] = {}

    def add(self, other: Block) -> None:
        self.schedules += other.schedules
        self.faults += other.faults
        self.runs += other.runs
        self.messages += other.messages
        self.broken = sorted({*self.broken, *other.broken})
        self.saw = dict(Counter(self.saw) + Counter(other.saw))


class Catch(msgspec.Struct):
    """A planted bug and what found it; `schedules` 0 where nothing did."""

    area: str
    name: str
    promise: str = ""
    schedules: int = 0


class Progress(msgspec.Struct):
    """As it lies in the file. `code` is a digest of the package: other code, other results."""

    code: str
    first: int
    count: int
    done: list[int] = []  # first seeds of the blocks that are done
    total: Block = msgspec.field(default_factory=Block)
    planted: dict[str, Catch] = {}
    seconds: float = 0.0


def run_block(first: int, end: int) -> Block:
    """The seeds from `first` to before `end`."""
    found = Block()
    is_collecting = gc.isenabled()
    gc.disable()
    try:
        for seed in range(first, end):
            result = simulate(seed)
            broken = [(seed, str(result.violations[0]))] if result.violations else []
            saw = dict.fromkeys(result.saw, 1)
            found.add(Block(1, result.faults, result.runs, result.world.events, broken, saw))
            if seed % COLLECT_EVERY == 0:
                gc.collect()
    finally:
        if is_collecting:
            gc.enable()
    return found


def catch(folder: str, index: int, most: int = PLANTED_MOST) -> Catch:
    """How soon the simulator finds a planted bug: a schedule that breaks with it, and not without."""
    import pytest

    plant = plants(folder)[index]
    for seed in range(most):
        with pytest.MonkeyPatch.context() as patch:
            plant.apply(patch)
            found = simulate(seed).violations
        if found and not simulate(seed).violations:
            return Catch(plant.area, plant.name, found[0].number, seed + 1)
    return Catch(plant.area, plant.name)


def plants(folder: str) -> list[Any]:
    """The planted bugs of the package `planted` in a folder: they are no part of Headrace."""
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module("planted").PLANTS


class Campaign:
    """`file` keeps the progress; `told` gets a line now and then."""

    def __init__(self, first: int, count: int, *, file: Path, planted: str | None, told: Callable[[str], None]) -> None:
        self.file, self.planted, self._told = file, planted, told
        self.progress = self._known(first, count)
        self._began = time.monotonic() - self.progress.seconds
        self._saved = 0.0

    def run(self, jobs: int | None = None) -> Progress:
        """One job runs here, more in processes. Raises KeyboardInterrupt after everything that is done was saved."""
        jobs = jobs or os.cpu_count() or 1
        try:
            if jobs == 1:
                for call, *about in self._todo():
                    self._take(*_named(call, *about))
            else:
                self._run_beside(jobs)
        finally:
            self._save()
        return self.progress

    def _run_beside(self, jobs: int) -> None:
        todo = list(self._todo())
        # Polars has threads, which do not outlive a fork.
        pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"))
        waiting: set[Future[Any]] = set()
        try:
            while todo or waiting:
                while todo and len(waiting) < 2 * jobs:
                    call, *about = todo.pop(0)
                    waiting.add(pool.submit(_named, call, *about))
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    self._take(*future.result())
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown()

    def _todo(self) -> Iterator[tuple[Any, ...]]:
        known = self.progress
        if self.planted is not None:
            for index, plant in enumerate(plants(self.planted)):
                if plant.name not in known.planted:
                    yield ("catch", self.planted, index)
        done = set(known.done)
        end = known.first + known.count
        for at in range(known.first, end, BLOCK):
            if at not in done:
                yield ("block", at, min(at + BLOCK, end))

    def _take(self, key: Any, found: Block | Catch) -> None:
        if isinstance(found, Catch):
            self.progress.planted[found.name] = found
        else:
            self.progress.done.append(key)
            self.progress.total.add(found)
        if time.monotonic() - self._saved > 2.0:
            self._save()
            total, seconds = self.progress.total, self.progress.seconds
            speed = total.schedules / max(seconds, 0.001)
            caught = sum(1 for x in self.progress.planted.values() if x.schedules)
            self._told(
                f"{total.schedules:,} of {self.progress.count:,} schedules, {speed:.0f} a second,"
                f" {len(total.broken)} broken, {caught} planted bugs found"
            )

    def _save(self) -> None:
        self._saved = time.monotonic()
        self.progress.seconds = round(self._saved - self._began, 1)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        scratch = self.file.with_suffix(".new")
        scratch.write_bytes(msgspec.json.encode(self.progress))
        scratch.replace(self.file)

    def _known(self, first: int, count: int) -> Progress:
        fresh = Progress(digest(), first, count)
        try:
            known = msgspec.json.decode(self.file.read_bytes(), type=Progress)
        except (FileNotFoundError, msgspec.DecodeError):
            return fresh
        if (known.code, known.first, known.count) != (fresh.code, first, count):
            return fresh
        self._told(f"goes on after {known.total.schedules:,} schedules")
        return known


def digest() -> str:
    """Of the code that is simulated, the simulator's own included."""
    found = hashlib.blake2b(digest_size=8)
    for file in sorted(Path(headrace.__file__).parent.rglob("*.py")):
        found.update(file.read_bytes())
    return found.hexdigest()


def _named(call: str, *about: Any) -> tuple[Any, Block | Catch]:
    return (about[0], run_block(*about)) if call == "block" else (None, catch(*about))
