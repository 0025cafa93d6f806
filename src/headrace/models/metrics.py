"""Metrics of predictions: functions of (label, prediction), two arrays of equal length without missing values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headrace.errors import SchemaError

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric by name, and how to compare two of its values.

    `per_row` is set where the metric is `finish(mean of per_row)`, which makes resampling a matter of sums; without it
    (AUC) `headrace.models.resampling` has a way of its own. `binary` metrics take labels 0 and 1 only.
    """

    name: str
    of: Callable[[ArrayLike, ArrayLike], float]
    higher_is_better: bool
    binary: bool
    per_row: Callable[[Floats, Floats], Floats] | None = None
    finish: Callable[[Floats], Floats] = np.positive

    def gain(self, champion: Any, challenger: Any) -> Any:
        """By how much the challenger is better; negative if it is worse. Numbers or arrays."""
        return challenger - champion if self.higher_is_better else champion - challenger


def auc(label: ArrayLike, prediction: ArrayLike) -> float:
    """Area under the ROC curve: the chance that a positive row is ranked above a negative one, ties counting half.

    Range 0 to 1, 0.5 for a useless ranking; NaN if all labels are equal. Labels are 0 or 1.
    Source: the rank form of Mann and Whitney (1947); Hanley and McNeil, Radiology 143 (1982). O(n log n).

    >>> auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    y, p = aligned(label, prediction, binary=True)
    positives = float(np.sum(y))
    negatives = y.size - positives
    if positives == 0 or negatives == 0:
        return float("nan")
    _, group, sizes = np.unique(p, return_inverse=True, return_counts=True)
    ranks = np.cumsum(sizes) - (sizes - 1) / 2.0  # equal predictions share their mean rank
    return float((np.sum(ranks[group] * y) - positives * (positives + 1) / 2.0) / (positives * negatives))


def log_loss(label: ArrayLike, prediction: ArrayLike) -> float:
    """Mean of -ln(probability given to what happened). Labels are 0 or 1, predictions probabilities of 1.

    Range 0 to 36; probabilities are kept 2.2e-16 away from 0 and 1. Source: Good, "Rational decisions" (1952).

    >>> round(log_loss([1, 0, 0, 1], [0.9, 0.1, 0.2, 0.65]), 6)
    0.216162
    """
    return _mean(_log_losses, label, prediction, binary=True)


def accuracy(label: ArrayLike, prediction: ArrayLike) -> float:
    """Share of rows whose prediction falls on the label's side of one half. Labels are 0 or 1; range 0 to 1.

    >>> accuracy([1, 0, 1, 0], [0.9, 0.2, 0.4, 0.5])
    0.5
    """
    return _mean(_hits, label, prediction, binary=True)


def rmse(label: ArrayLike, prediction: ArrayLike) -> float:
    """Square root of the mean squared error, in units of the label.

    >>> rmse([3.0, 4.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0])
    2.5
    """
    return float(np.sqrt(_mean(_squares, label, prediction)))


def mae(label: ArrayLike, prediction: ArrayLike) -> float:
    """Mean absolute error, in units of the label.

    >>> mae([3.0, 5.0], [2.0, 8.0])
    2.0
    """
    return _mean(_distances, label, prediction)


def aligned(label: ArrayLike, prediction: ArrayLike, *, binary: bool = False) -> tuple[Floats, Floats]:
    """Both as float64 arrays of equal length. Raises SchemaError for no rows, NaN, or labels that are not 0 and 1."""
    y = np.asarray(label, dtype=np.float64)
    p = np.asarray(prediction, dtype=np.float64)
    if y.ndim != 1 or y.shape != p.shape or not y.size:
        raise SchemaError(
            f"expected labels and predictions as two columns of equal length; got shapes {y.shape} and {p.shape}",
            cure="give one prediction for each row that has a label",
        )
    for name, column in (("label", y), ("prediction", p)):
        if np.isnan(column).any():
            raise SchemaError(
                f"{int(np.isnan(column).sum()):,} of {column.size:,} values of the {name} are missing",
                cure="a metric needs both in every row; leave out rows without a label before",
            )
    if binary and not np.isin(y, (0.0, 1.0)).all():
        raise SchemaError(f"expected labels 0 and 1; got {float(y[(y != 0) & (y != 1)][0]):g}", cure="use rmse or mae")
    return y, p


def _mean(
    per_row: Callable[[Floats, Floats], Floats], label: ArrayLike, prediction: ArrayLike, *, binary: bool = False
) -> float:
    return float(np.mean(per_row(*aligned(label, prediction, binary=binary))))


def _log_losses(y: Floats, p: Floats) -> Floats:
    edge = np.finfo(np.float64).eps
    kept = np.clip(p, edge, 1.0 - edge)
    return -np.log(np.where(y == 1.0, kept, 1.0 - kept))


def _hits(y: Floats, p: Floats) -> Floats:
    return ((p >= 0.5) == (y == 1.0)).astype(np.float64)


def _squares(y: Floats, p: Floats) -> Floats:
    return np.square(p - y)


def _distances(y: Floats, p: Floats) -> Floats:
    return np.abs(p - y)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("auc", auc, higher_is_better=True, binary=True),
        Metric("log_loss", log_loss, higher_is_better=False, binary=True, per_row=_log_losses),
        Metric("accuracy", accuracy, higher_is_better=True, binary=True, per_row=_hits),
        Metric("rmse", rmse, higher_is_better=False, binary=False, per_row=_squares, finish=np.sqrt),
        Metric("mae", mae, higher_is_better=False, binary=False, per_row=_distances),
    )
}


def metric_named(name: str) -> Metric:
    """The metric of that name. Raises SchemaError that lists those there are."""
    try:
        return METRICS[name]
    except KeyError:
        raise SchemaError(f"there is no metric {name!r}", cure=f"use one of {', '.join(METRICS)}") from None
