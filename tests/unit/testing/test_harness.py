"""The public test kit: lists in, lists out, on a store of the test's own."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

import headrace as hr
from headrace.app.opening import current_settings, open_store
from headrace.errors import EngineUnavailableError, RefusedError
from headrace.settings import read_settings
from headrace.testing import FakeClock, StreamHarness, audit_store, run_stream

orders = hr.Topic("orders", schema={"id": str, "at": "datetime", "x": int}, key="id", event_time="at", partitions=2)
doubled = hr.Topic("doubled", key="id", partitions=2)
rates = hr.Table("rates", schema={"rate": int})
scorer: hr.Model[Any] = hr.Model("scorer", dict)


def row(n: int) -> dict[str, Any]:
    return {"id": f"o{n}", "at": "2026-01-01T00:00Z", "x": n}


@hr.stream(orders, to=doubled, start="earliest")
def double(batch: pl.DataFrame) -> pl.DataFrame:
    if (batch["x"] < 0).any():
        raise ValueError("negative")
    return batch.select("id", y=pl.col("x") * 2)


@hr.stream(orders, to=doubled, start="earliest", bind={"rate": rates.latest()})
def priced(batch: pl.DataFrame, rate: pl.DataFrame) -> pl.DataFrame:
    return batch.select("id", y=pl.col("x") * rate["rate"][0])


@hr.stream(orders, to=doubled, start="earliest", bind={"model": scorer.champion()})
def scored(batch: pl.DataFrame, model: dict[str, int]) -> pl.DataFrame:
    return batch.select("id", y=pl.col("x") + model["bias"])


def test_rows_go_in_and_come_out() -> None:
    result = run_stream(double, [row(1), row(2)])
    assert sorted((r["id"], r["y"]) for r in result.rows) == [("o1", 2), ("o2", 4)]
    assert result.dead == ()


def test_a_row_that_raises_is_a_dead_letter_with_its_error() -> None:
    result = run_stream(double, [row(1), row(-5), row(2)])
    assert sorted(r["y"] for r in result.rows) == [2, 4]
    assert [(letter.reason, letter.row["x"]) for letter in result.dead] == [("error", -5)]
    assert result.dead[0].error.startswith("ValueError: negative")


def test_a_stream_gets_the_table_that_it_binds() -> None:
    result = run_stream(priced, [row(3)], tables={rates: pl.DataFrame({"rate": [7]})})
    assert [r["y"] for r in result.rows] == [21]


def test_a_stream_gets_the_model_that_it_binds() -> None:
    assert [r["y"] for r in run_stream(scored, [row(3)], models={scorer: {"bias": 4}}).rows] == [7]


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.testing.harness.PATIENCE_S", 0.5)
    with pytest.raises(EngineUnavailableError, match="rates"):
        run_stream(priced, [row(1)])


def test_a_restart_goes_on_where_the_last_process_stopped() -> None:
    with StreamHarness(double) as harness:
        harness.append(orders, [row(n) for n in range(10)])
        harness.settle()
        harness.restart()
        harness.append(orders, [row(n) for n in range(10, 15)])
        harness.settle()
        assert sorted(harness.read(doubled)["y"]) == [2 * n for n in range(15)]
    assert audit_store() == []


def test_batches_have_the_time_of_the_clock() -> None:
    clock = FakeClock("2026-03-01T12:00Z")
    with StreamHarness(double, clock=clock) as harness:
        harness.append(orders, [row(1)])
        clock.advance("1h")
        harness.settle()
        at = harness.store.database.read("SELECT max(at_us) FROM facts WHERE kind = 'BatchCommitted'")
    assert at == [(clock.now_us(),)]


def test_the_projects_own_store_is_refused_in_a_test() -> None:
    settings = current_settings()
    with pytest.raises(RefusedError, match="own store"):
        open_store(replace(settings, home=read_settings(settings.root).home))


def test_importing_the_kit_loads_nothing_heavy() -> None:
    code = "import sys, headrace.testing; print(sorted({'polars', 'numpy', 'sqlalchemy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_a_fake_clock_moves_only_when_told() -> None:
    clock = FakeClock("2026-01-01")
    before = clock.now_us(), clock.monotonic_us()
    clock.advance("2m")
    assert (clock.now_us() - before[0], clock.monotonic_us() - before[1]) == (120_000_000, 120_000_000)
    clock.set_wall("2025-01-01")
    assert clock.monotonic_us() == 120_000_000
