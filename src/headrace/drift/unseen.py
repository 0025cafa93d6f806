"""Share of rows with values the reference does not know: the default drift trigger."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headrace.drift.histogram import Histogram


def unseen(reference: Histogram, current: Histogram) -> float:
    """Share of the current rows (missing ones included) in under- and overflow bins, or in new categories.

    Range 0 to 1; NaN without rows. It asks whether the model must extrapolate, so it is silent where values move
    inside what was known. About 0.01 in the reference itself for continuous numbers, by the choice of its bins.
    Source: own; the out-of-range share of Breck et al., "Data Validation for Machine Learning" (MLSys 2019), as a rate.

    >>> from headrace.drift.histogram import Histogram
    >>> winter = Histogram.freeze([-5.0, 0.0, 4.0, 9.0])
    >>> unseen(winter, winter.like([3.0, 8.0, 15.0, 21.0]))
    0.5
    """
    reference.check_same_bins(current)
    return current.outside / current.rows if current.rows else math.nan
