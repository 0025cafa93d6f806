"""What a stream and a monitor declare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest

import headrace as hr
from headrace.errors import GraphError

if TYPE_CHECKING:
    import polars as pl

topic, out = hr.Topic("t", event_time="at"), hr.Topic("out")
delay = hr.Model("delay", int)


def frame(batch: pl.DataFrame) -> pl.DataFrame:
    return batch


def series(batch: pl.Series) -> pl.Series:
    return batch


def row(batch: Mapping[str, Any]) -> dict[str, Any]:
    return dict(batch)


async def called(batch: dict[str, Any]) -> dict[str, Any]:
    return batch


@pytest.mark.parametrize(("fn", "mode"), [(frame, "frame"), (series, "series"), (row, "row"), (called, "row")])
def test_the_annotation_says_how_a_function_wants_its_batch(fn: Any, mode: str):
    assert hr.stream(topic, to=out)(fn).definition.mode == mode


def test_a_stream_is_its_function_outside():
    stream = hr.stream(topic, to=out, retry_on=(TimeoutError, GraphError), start="2013-01-01")(row)
    assert stream({"a": 1}) == {"a": 1}
    assert stream.definition.retry_on == ("TimeoutError", "headrace.errors.GraphError")
    assert stream.definition.start == "2013-01-01T00:00Z"
    assert (stream.definition.to, stream.definition.to_kind, stream.definition.rows) == ("out", "topic", "each")


@pytest.mark.parametrize("wrong", [{"rows": "most"}, {"to": 3}, {"bind": {"model": delay}}])
def test_wrong_values_are_refused_with_a_cure(wrong: dict[str, Any]):
    with pytest.raises(GraphError) as caught:
        hr.stream(topic, **{"to": out, **wrong})
    assert caught.value.cure


def test_a_monitor_gives_the_triggers_it_has_limits_for():
    watch = hr.monitor(out, model=delay, window="7d", min_rows=5, drift={"temp": hr.unseen(above=0.1)})
    assert (watch.name, watch.definition.window_us) == ("out", 7 * 86_400_000_000)
    trigger = watch.drift(consecutive=2).definition
    assert (trigger.monitor, trigger.which, trigger.consecutive) == ("out", "drift", 2)  # type: ignore[union-attr]
    with pytest.raises(GraphError, match="no performance limit"):
        watch.performance()
