"""Change of the rate of missing values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headrace.drift.histogram import Histogram


def missing(reference: Histogram, current: Histogram) -> float:
    """Share of missing rows now, minus their share in the reference.

    Range -1 to 1, 0 for no change; NaN if either has no rows. Missing is null or NaN.
    Source: own.

    >>> from headrace.drift.histogram import Histogram
    >>> reference = Histogram.freeze([1.0, 2.0, 3.0, None])
    >>> missing(reference, reference.like([1.0, None]))
    0.25
    """
    reference.check_same_bins(current)
    if not reference.rows or not current.rows:
        return math.nan
    return current.missing / current.rows - reference.missing / reference.rows
