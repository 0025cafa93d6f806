"""A metric on resampled blocks of rows, exactly and without touching the rows again for each resample."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headrace.models.metrics import Floats, Metric

Ints = NDArray[np.int64]


def resampled(metric: Metric, label: Floats, prediction: Floats, block: Ints, weights: Floats) -> Floats:
    """The metric's value for each row of `weights`.

    `block` gives each row's block, 0 to k-1; `weights[r, b]` says how often block b was drawn in resample r, so the
    shape is (resamples, k). NaN where a resample holds one class only and the metric is AUC. Labels and predictions
    are as `aligned` returns them.
    """
    if metric.per_row is None:
        return _auc(label, prediction, block, weights)
    blocks = weights.shape[1]
    sums = np.bincount(block, weights=metric.per_row(label, prediction), minlength=blocks)
    sizes = np.bincount(block, minlength=blocks)
    return metric.finish((weights @ sums) / (weights @ sizes))


def _auc(label: Floats, prediction: Floats, block: Ints, weights: Floats) -> Floats:
    # The numerator of an AUC is a sum over pairs (positive, negative), so over pairs of blocks: with wins[d, e] for the
    # positives of block d against the negatives of block e, a resample's AUC is w'Ww / (w'P · w'N).
    blocks = weights.shape[1]
    positive = label == 1.0
    wins = _wins(positive, prediction, block, blocks)
    positives = weights @ np.bincount(block[positive], minlength=blocks)
    negatives = weights @ np.bincount(block[~positive], minlength=blocks)
    won = np.sum((weights @ wins) * weights, axis=1)
    pairs = positives * negatives
    return np.divide(won, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)


def _wins(positive: NDArray[np.bool_], prediction: Floats, block: Ints, blocks: int) -> Floats:
    _, group = np.unique(prediction, return_inverse=True)
    groups = int(group.max()) + 1
    group_of_positive, block_of_positive = group[positive], block[positive]
    wins = np.empty((blocks, blocks))
    for against in range(blocks):
        here = np.bincount(group[~positive & (block == against)], minlength=groups)
        beaten = np.cumsum(here) - here / 2.0  # those with a lower prediction, and half of the ties
        wins[:, against] = np.bincount(block_of_positive, weights=beaten[group_of_positive], minlength=blocks)
    return wins
