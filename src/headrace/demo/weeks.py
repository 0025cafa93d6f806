"""The weekly windows of the demo and the statistics that judge them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from headrace.demo.record import FIRST_DAY, LAST_DAY, midnight

MIN_ROWS = 5_000
_PSI_FLOOR = 1e-4  # stands for an empty bin, whose logarithm would be infinite


@dataclass(frozen=True)
class Window:
    """Seven New York days: the `[start, end)` of the flights' `announced`, in UTC."""

    day: date
    start: datetime
    end: datetime


def windows() -> list[Window]:
    """The 44 weeks from March 1; the last has 5 days and is too small to be judged."""
    firsts = range(0, (LAST_DAY - FIRST_DAY).days, 7)
    found = [FIRST_DAY + timedelta(days=n) for n in firsts]
    return [Window(day, midnight(day), midnight(day + timedelta(days=7))) for day in found]


def within(frame: pl.DataFrame, start: datetime, end: datetime) -> pl.DataFrame:
    """The rows with `announced` in `[start, end)`; `frame` must be sorted by it."""
    first, after = (frame["announced"].search_sorted(moment, side="left") for moment in (start, end))
    return frame.slice(first, after - first)


def auc(late: pl.Series, p_late: pl.Series) -> float:
    """Area under the ROC curve, 0..1: the chance that a late flight has the higher prediction (ties count a half).

    Mann and Whitney (1947), by the sum of ranks. NaN where one of the two classes is missing.

    >>> auc(pl.Series([False, True, True]), pl.Series([0.1, 0.4, 0.1]))
    0.75
    """
    positives = int(late.sum())
    negatives = len(late) - positives
    if not positives or not negatives:
        return float("nan")
    ranks = float(p_late.rank("average").filter(late).sum())
    return (ranks - positives * (positives + 1) / 2) / (positives * negatives)


def auc_by_week(scored: pl.DataFrame) -> list[float]:
    """AUC of each of `windows()` for rows of `announced` (sorted), `late` and `p_late`."""
    weeks = (within(scored, week.start, week.end) for week in windows())
    return [auc(rows["late"], rows["p_late"]) for rows in weeks]


@dataclass(frozen=True)
class Reference:
    """What a model knows of one column: the range that holds 99 % of the rows it was trained on, and their deciles."""

    low: float
    high: float
    deciles: npt.NDArray[np.float64]

    @classmethod
    def of(cls, values: pl.Series) -> Reference:
        """From the values that are not null."""
        known = values.drop_nulls().to_numpy()
        low, high = np.quantile(known, (0.005, 0.995))
        return cls(float(low), float(high), np.quantile(known, np.linspace(0.1, 0.9, 9)))

    def unseen(self, values: pl.Series) -> float:
        """The share of the values that lies outside the range, 0..1; nulls are left out."""
        known = values.drop_nulls().to_numpy()
        return float(np.mean((known < self.low) | (known > self.high)))

    def psi(self, values: pl.Series) -> float:
        """Population stability index over the deciles of the reference: 0 is equal, above 0.25 is called drift."""
        counts = np.bincount(np.searchsorted(self.deciles, values.drop_nulls().to_numpy(), side="right"), minlength=10)
        share = np.maximum(counts / counts.sum(), _PSI_FLOOR)
        return float(np.sum((share - 0.1) * np.log(share / 0.1)))
