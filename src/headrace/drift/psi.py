"""Population stability index."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from headrace.drift.histogram import Histogram

EMPTY_SHARE = 1e-4


def psi(reference: Histogram, current: Histogram) -> float:
    """Sum over the bins of (a - e) ln(a / e), with e and a the shares of the reference and of the current rows.

    Range 0 to 18.4 (all rows in one bin, then all in another); NaN when no row has a value. Shares below 0.0001 count
    as 0.0001, as an empty bin would make it infinite. Without any drift its mean is (bins - 1)(1/n + 1/m), so small
    windows look drifted, and correlated rows more so. Missing rows are left out (see `missing`).
    Source: Yurdakul, "Statistical properties of the population stability index" (2018).

    >>> from headrace.drift.histogram import Histogram
    >>> half = Histogram.freeze([0, 1])
    >>> round(psi(half, half.like([0, 0, 0, 1, 1])), 7)
    0.0405465
    """
    reference.check_same_bins(current)
    expected = np.maximum(reference.shares(), EMPTY_SHARE)
    actual = np.maximum(current.shares(), EMPTY_SHARE)
    return float(np.sum((actual - expected) * np.log(actual / expected)))
