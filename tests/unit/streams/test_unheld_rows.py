"""A row that Python cannot hold is a dead letter as any other that raises: the stream goes on after it."""

from __future__ import annotations

import msgspec
import polars as pl
import pytest

from headrace.connectors.appends import appends, prepare_fitted
from headrace.data.topic import Topic
from headrace.graph.stream import stream
from headrace.streams.place import Place


def by_row(row: dict) -> dict:
    return {"id": row["id"]}


def by_frame(batch: pl.DataFrame) -> pl.DataFrame:
    if batch["until"].is_null().any() or (batch["until"].dt.year() > 9999).any():
        raise ValueError("a year that nobody has foreseen")
    return batch.select("id")


@pytest.mark.parametrize("fn", [by_row, by_frame])
def test_a_time_that_python_cannot_hold_stands_in_its_dead_letter_as_text(harness, fn) -> None:
    events = Topic("events", schema={"id": str, "until": "datetime", "n": int}, key="id", partitions=1)
    out = Topic("out", key="id", partitions=1)
    copied = stream(events, to=out, name="copied", start="earliest")(fn)
    h = harness(copied)
    # Beside the door: what is appended is refused with such a time.
    until = pl.Series("until", [0, 2**60, 0]).cast(pl.Datetime("us", "UTC"))
    frame = pl.DataFrame({"id": ["a", "b", "c"], "until": until, "n": [1, 2, None]})
    (prepared,) = prepare_fitted(events.definition, frame, [3], 1)
    h.store.commit([appends("clients", prepared)])
    h.start(Place("copied", 0))
    h.settle()
    assert h.read(out)["id"].to_list() == ["a", "c"]
    (dead,) = h.dead("copied")
    payload = msgspec.json.decode(dead.payload)
    assert (dead.offset, payload["id"], payload["n"]) == (1, "b", "2")
    assert payload["until"].startswith("+38504-")
