"""A small project on a store in memory, and runs in it: each with its pins, its attempts and what they publish."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from headrace.base.facts import Fact
from headrace.base.instants import to_us
from headrace.connectors import appends
from headrace.connectors.access import TaskAccess
from headrace.connectors.here import HereAccess
from headrace.connectors.holdings import Holdings
from headrace.data.facts import Part, TablePublished, TopicCompleted
from headrace.definitions.project import GateDef, JoinDef, ModelDef, Project, SourceDef, TableDef, TopicDef
from headrace.models.facts import AliasMoved, VersionRegistered
from headrace.ports import Append
from headrace.runs.attempts import appended
from headrace.runs.effects import Effects, RegisteredModel
from headrace.runs.publishing import next_parts
from headrace.storage.local import LocalStorage
from headrace.store.sql.store import SqlStore

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
START = "2013-01-01"

FLIGHTS = TopicDef(
    "flights",
    schema={"announced": "datetime", "flight_id": "str", "origin": "str", "x": "float"},
    key="flight_id",
    event_time="announced",
    known="announced",
    partitions=2,
)
OUTCOMES = TopicDef(
    "outcomes",
    schema={"flight_id": "str", "late": "bool", "known": "datetime"},
    key="flight_id",
    event_time="known",
    known="known",
    partitions=2,
)
SCORES = TopicDef(
    "scores",
    schema={"flight_id": "str", "announced": "datetime", "x": "float", "p_late": "float"},
    key="flight_id",
    event_time="announced",
    known="announced",
    partitions=2,
)
WEATHER = TableDef("weather", schema={"origin": "str", "temp": "float", "known": "datetime"}, known="known")
DELAY = ModelDef(
    "delay", labels="outcomes", on="flight_id", label="late", mature_us=2 * DAY_US, promote=GateDef("auc", by=0.003)
)
SOURCE = SourceDef("flights", (JoinDef("weather", "origin", "announced", "known", 3 * HOUR_US),))


def at(days: float) -> int:
    """UTC microseconds, so many days after the start."""
    return to_us(START) + round(days * DAY_US)


@dataclass(frozen=True)
class Here:
    run: str = "r1"
    task: str = "t"
    item: tuple[int, ...] = (0,)
    attempt: int = 1
    key: str = "r1/t/0"
    token: int = 1


@dataclass
class Rig:
    """A project's store and artifacts. `clock` is its wall time."""

    folder: Path
    project: Project = field(
        default_factory=lambda: Project(
            "demo",
            topics={"flights": FLIGHTS, "outcomes": OUTCOMES, "scores": SCORES},
            tables={"weather": WEATHER},
            models={"delay": DELAY},
        )
    )
    code: str = "c1"
    clock: int = 0

    def __post_init__(self) -> None:
        self.store = SqlStore(":memory:")
        self.holdings = Holdings(
            database=self.store.database,
            files=LocalStorage(self.folder / "artifacts"),
            project=self.project,
            code=self.code,
            code_folder=self.folder / "code",
            now_us=lambda: self.clock,
        )
        self.pins: dict[str, dict[str, Any]] = {}
        self._attempts = 0

    # -- what happens ------------------------------------------------------------------------------------------------

    def append(self, topic: TopicDef, rows: pl.DataFrame | list[dict[str, Any]]) -> None:
        appends.append(self.store, "clients", topic, rows, self.clock)

    def complete(self, topic: str, through_us: int) -> None:
        self.commit(TopicCompleted(topic, through_us, self.clock))

    def commit(self, *facts: Fact, bodies: dict[int, bytes] | None = None) -> None:
        self.store.commit([Append("clients", None, facts, bodies or {})])

    def access(self, run: str = "r1", *, window: tuple[int, int] | None = None) -> TaskAccess:
        """A new attempt of the run: pins are shared by all attempts of one run, as the engine shares them."""
        pins = self.pins.setdefault(run, {})

        def ask(dataset: str, pin: Any) -> Any:
            # As through the engine and its store: JSON both ways.
            return msgspec.json.decode(msgspec.json.encode(pins.setdefault(dataset, pin)))

        self._attempts += 1
        return TaskAccess(self.holdings, ask, prefix=f"{run}/t/0/{self._attempts}-1", attempt=Here(run), window=window)

    def here(self) -> HereAccess:
        return HereAccess(self.holdings, self.store)

    def accept(self, access: TaskAccess) -> Effects:
        """Publish what an attempt made, as the engine does."""
        effects = access.effects
        for write in effects.tables:
            newest = self.holdings.table_version(write.table)
            run = write.path.partition("/")[0]
            part = Part(write.path, write.rows, write.size_bytes, write.digest, write.window, run)
            parts = next_parts(newest.parts if newest else (), part, write.mode)
            number = newest.version + 1 if newest else 1
            rows = sum(part.rows for part in parts)
            self.commit(TablePublished(write.table, number, parts, rows, "r1", "t", 0, 1, self.clock, write.columns))
        for write in effects.topics:
            body = self.holdings.files.locate(write.path).read_bytes()
            self.commit(appended(write, self.clock), bodies={0: body})
        for new in effects.models:
            self.crown(new)
        return effects

    def crown(self, new: RegisteredModel, *, code: str | None = None) -> int:
        """Number a version and make it champion."""
        number = self.holdings.last_version(new.model) + 1
        previous = self.holdings.alias(new.model, "champion")
        evidence = {"metrics": new.metrics, "gain": new.gain, "against": new.against}
        place = (new.codec, new.path, new.digest, new.size_bytes, "r1", "register", code or self.code, new.predict)
        counts = (new.cutoff_us, self.clock, new.rows_fit, new.rows_test)
        self.commit(
            VersionRegistered(new.model, number, *place, *counts, evidence, new.reference, new.golden),
            AliasMoved(new.model, "champion", number, previous, "gate", "", self.clock),
        )
        return number

    # -- a world -----------------------------------------------------------------------------------------------------

    def fly(self, days: int, *, per_day: int = 20, label: bool = True) -> None:
        """Flights that are late where `x` is large, each with its outcome three hours later."""
        n = days * per_day
        moments = [at(0) + i * DAY_US // per_day for i in range(n)]
        xs = [float((i * 7919) % 100) for i in range(n)]
        ids = [f"f{i:05d}" for i in range(n)]
        times = pl.Series(moments, dtype=pl.Datetime("us", "UTC"))
        flights = pl.DataFrame(
            {"announced": times, "flight_id": ids, "origin": [("JFK", "EWR")[i % 2] for i in range(n)], "x": xs}
        )
        self.append(FLIGHTS, flights)
        if label:
            late = [x + (i * 31) % 40 > 70 for i, x in enumerate(xs)]
            frame = pl.DataFrame({"flight_id": ids, "late": late, "announced": times})
            self.append(OUTCOMES, frame.select("flight_id", "late", known=pl.col("announced") + pl.duration(hours=3)))
