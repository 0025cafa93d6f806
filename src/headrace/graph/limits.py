"""Limits of a monitor: a statistic of a column, or a metric on matured labels, and the value that alarms."""

from __future__ import annotations

from headrace.definitions.project import PerformanceLimit, StatLimit


def unseen(*, above: float) -> StatLimit:
    """Limit on the share of rows outside what the champion was fitted on: beyond its range, or of new categories."""
    return StatLimit("unseen", above)


def psi(*, above: float) -> StatLimit:
    """Limit on the population stability index against the champion's `fit` rows."""
    return StatLimit("psi", above)


def wasserstein(*, above: float) -> StatLimit:
    """Limit on the Wasserstein-1 distance, in standard deviations of the champion's `fit` rows."""
    return StatLimit("wasserstein", above)


def missing(*, above: float) -> StatLimit:
    """Limit on the share of nulls."""
    return StatLimit("missing", above)


def auc(*, prediction: str, below: float) -> PerformanceLimit:
    """Limit on the area under the ROC curve of a column of scores, over matured labels."""
    return PerformanceLimit(metric="auc", prediction=prediction, below=below)


def log_loss(*, prediction: str, above: float) -> PerformanceLimit:
    """Limit on the mean logarithmic loss (nats) of a column of probabilities, over matured labels."""
    return PerformanceLimit(metric="log_loss", prediction=prediction, above=above)


def accuracy(*, prediction: str, below: float) -> PerformanceLimit:
    """Limit on the share of predictions that equal their matured label."""
    return PerformanceLimit(metric="accuracy", prediction=prediction, below=below)
