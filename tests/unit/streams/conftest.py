"""A stream on a real store in memory: append, run until quiet, look at what came out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from headrace.connectors.appends import append
from headrace.connectors.holdings import Holdings
from headrace.data.topic import Topic
from headrace.graph.loaded import freeze
from headrace.ports import Append
from headrace.runs.facts import CodeDeployed
from headrace.shards.project import Opened, ProjectParts
from headrace.shards.runner import POLL_S, QUIET_US, StreamRunner
from headrace.storage.local import LocalStorage
from headrace.store.sql.engine_store import EngineSqlStore
from headrace.store.sql.reads import streams as stream_rows
from headrace.store.sql.reads.project import heads_at_deploy
from headrace.streams.place import Place


class HandClock:
    """Time that moves when a test says so."""

    def __init__(self) -> None:
        self.us = 1_000_000
        self.monotonic = 0

    def now_us(self) -> int:
        return self.us

    def monotonic_us(self) -> int:
        return self.monotonic

    def pass_us(self, us: int) -> None:
        self.us += us
        self.monotonic += us


class Harness:
    """One store, and the stream process that owns its shards; `restart` is a new process on the same store."""

    def __init__(self, folder: Path, *objects: Any) -> None:
        self.folder = folder
        self.store = EngineSqlStore(":memory:")
        self.clock = HandClock()
        self.models: dict[tuple[str, int], Any] = {}
        self.runner: StreamRunner | None = None
        self.places: list[Place] = []
        self.use(*objects)

    def use(self, *objects: Any) -> None:
        """The project consists of these objects from now on."""
        self.loaded = freeze("test", objects)
        assert self.loaded.problems == ()
        self.holdings = Holdings(
            self.store.database, LocalStorage(self.folder), self.loaded.project, "c1", self.folder, self.clock.now_us
        )
        self.log = self.holdings.log

    def deploy(self) -> None:
        """Rows that lie here are there before the code; without a deploy all rows come after it."""
        deployed = CodeDeployed("c1", msgspec.Raw(b"{}"), self.clock.now_us())
        self.store.commit([Append("engine", self.store.head("engine"), (deployed,))])

    def start(self, *places: Place) -> StreamRunner:
        self.places = list(places) or self.places
        heads = heads_at_deploy(self.store.database, "c1") or {}
        opened = Opened(self.store, self.holdings, self.loaded, self.folder / "locks", heads)
        self.runner = StreamRunner(
            self.store, ProjectParts(opened, self.clock, load=self._load), self.clock, name="test"
        )
        self.runner.want(self.places)
        return self.runner

    def restart(self) -> None:
        assert self.runner is not None
        self.runner.close()
        self.start()

    def settle(self) -> None:
        """Rounds until nothing is left to do."""
        assert self.runner is not None
        for _ in range(10_000):
            if self.runner.tick():
                continue
            if self.runner.patience_s == POLL_S:
                return
            self.clock.monotonic += QUIET_US
        raise AssertionError("it never comes to rest")

    def append(self, topic: Topic, rows: list[dict[str, Any]]) -> None:
        append(self.store, "clients", topic.definition, rows, self.clock.now_us())

    def read(self, topic: Topic) -> pl.DataFrame:
        return self.log.read(topic.definition)

    def shard(self, stream: str, number: int = 0) -> stream_rows.ShardRow:
        row = stream_rows.shard(self.store.database, stream, number)
        assert row is not None
        return row

    def dead(self, stream: str) -> list[stream_rows.DeadLetterRow]:
        return stream_rows.dead_letters(self.store.database, stream)

    def batches(self, stream: str, number: int = 0) -> list[stream_rows.BatchRow]:
        return stream_rows.batches(self.store.database, stream, number)[::-1]

    def facts(self, log: str, *kinds: str) -> list[Any]:
        return [stored.fact for stored in self.store.facts(log, after=0, kinds=kinds or None)]

    def _load(self, model: str, version: int) -> Any:
        return self.models[model, version]

    def close(self) -> None:
        if self.runner is not None:
            self.runner.close()
        self.store.close()


@pytest.fixture
def harness(tmp_path: Path):
    made: list[Harness] = []

    def make(*objects: Any) -> Harness:
        made.append(Harness(tmp_path / str(len(made)), *objects))
        return made[-1]

    yield make
    for one in made:
        one.close()


Make = Callable[..., Harness]
