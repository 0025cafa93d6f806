"""Events of twelve fields as a producer has them: raw JSON of about 196 bytes, or columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import polars as pl

from headrace.connectors.appends import appends, prepare, prepare_json
from headrace.definitions.project import TopicDef
from headrace.graph.project import load_project
from headrace.store.sql.engine_store import EngineSqlStore

LOG = "clients"
_FEATURES = ("dep_delay", "distance", "hour", "temp", "wind", "precip")


def topic_of(root: Path, name: str) -> TopicDef:
    """A topic as the project in this folder declares it."""
    return load_project(root, "flow", None).project.topics[name]


def lines(ids: Sequence[str]) -> list[bytes]:
    """An event as JSON for each id, the same whenever it is asked for."""
    return [msgspec.json.encode(_event(name, at)) for at, name in enumerate(ids)]


def frame(ids: Sequence[str]) -> pl.DataFrame:
    """The same events as the columns that the stream reads."""
    rows = [_event(name, at) for at, name in enumerate(ids)]
    return pl.DataFrame(rows).select("id", *_FEATURES)


def append(store: EngineSqlStore, topic: TopicDef, rows: list[bytes] | pl.DataFrame, at_us: int) -> None:
    """One durable append, of raw JSON or of columns."""
    made = prepare_json(topic, rows, at_us) if isinstance(rows, list) else prepare(topic, rows, at_us)
    store.commit([appends(LOG, made)])


def _event(name: str, at: int) -> dict[str, object]:
    return {
        "id": name,
        "carrier": ("UA", "AA", "B6", "DL")[at % 4],
        "flight": 1000 + at % 8999,
        "tail": f"N{10000 + at % 80000}",
        "origin": ("EWR", "JFK", "LGA")[at % 3],
        "dest": ("IAH", "MIA", "BQN", "ATL", "ORD")[at % 5],
        "dep_delay": float(at % 120 - 15),
        "distance": float(200 + at * 7 % 2400),
        "hour": float(at % 24),
        "temp": 30.0 + at % 600 / 10,
        "wind": at % 300 / 10,
        "precip": at % 10 / 100,
    }
