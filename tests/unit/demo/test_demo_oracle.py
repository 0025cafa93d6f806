"""The oracle's rules, and the first model's floor on real flights."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl
import pytest

from headrace.demo import oracle, record, weeks


def judged(*, unseen: float = 0.0, auc: float = 0.7, flights: int = 6_500) -> oracle.Judged:
    return oracle.Judged(weeks.windows()[0], flights, auc, unseen, 0.0)


def asks(*evidence: oracle.Judged) -> list[str | None]:
    streaks = oracle.Streaks()
    return [streaks.after(week, oracle.BEGIN + timedelta(days=7 * n)) for n, week in enumerate(evidence)]


def test_two_weeks_of_evidence_in_a_row_ask() -> None:
    drift, good, bad = judged(unseen=0.2), judged(), judged(auc=0.65)
    assert asks(drift, good, drift, drift) == [None, None, None, "drift"]
    assert asks(bad, bad) == [None, "performance"]
    assert asks(drift, bad, drift, bad) == [None] * 4


def test_an_ask_clears_the_streaks_and_rests_for_two_weeks() -> None:
    drift = judged(unseen=0.2)
    assert asks(drift, drift, drift, drift) == [None, "drift", None, "drift"]
    streaks = oracle.Streaks(unseen=1, asked=oracle.BEGIN)
    assert streaks.after(drift, oracle.BEGIN + timedelta(days=13)) is None
    assert streaks.after(drift, oracle.BEGIN + timedelta(days=14)) == "drift"


def test_a_small_week_is_no_evidence_either_way() -> None:
    drift = judged(unseen=0.2)
    assert asks(drift, judged(flights=4_409), drift) == [None, None, "drift"]


def test_the_first_model_is_above_its_floor(live: pl.DataFrame) -> None:
    version = oracle.train_version(live, oracle.BEGIN - record.MATURE)
    assert version.cutoff == record.midnight(date(2013, 2, 13))
    ahead = live.filter(pl.col("announced") >= oracle.BEGIN)
    assert ahead.height == 284_821
    sample = oracle.score(version, ahead.gather_every(8))
    assert weeks.auc(sample["late"], sample["p_late"]) == pytest.approx(0.6935, abs=0.008)


def test_a_version_is_trained_on_nothing_from_its_cutoff_on(live: pl.DataFrame) -> None:
    end = record.midnight(date(2013, 1, 31))
    changed = live.head(40_000).with_columns(late=pl.col("late") ^ (pl.col("announced") >= end - oracle.TEST))
    version, other = (oracle.train_version(rows, end) for rows in (live.head(40_000), changed))
    assert version.model.model_to_string() == other.model.model_to_string()
