"""Wasserstein-1 distance in units of the reference's standard deviation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from headrace.drift.histogram import Histogram


def wasserstein(reference: Histogram, current: Histogram) -> float:
    """Integral of |F - G| between the outer edges, divided by the standard deviation of the reference.

    F and G are the distribution functions of the present rows, exact at the edges and linear between them. Range 0 to
    (last edge - first edge) / sd. NaN for categories, for a reference with a single value, and without values.
    It cannot see how far rows lie beyond the outer edges: these count as if they lay on the edge, so a value that runs
    away stops growing there. `unseen` counts them.
    Source: Ramdas, Garcia Trillos and Cuturi, "On Wasserstein two-sample testing" (Entropy 2017), one dimension.

    >>> from headrace.drift.histogram import Histogram
    >>> reference = Histogram.freeze(list(range(1000)))
    >>> upper_half = reference.like(list(range(500, 1000)))
    >>> round(wasserstein(reference, upper_half) * reference.sd)
    250
    """
    reference.check_same_bins(current)
    if reference.sd == 0.0:
        return math.nan
    widths = np.diff(np.asarray(reference.edges))
    gap = np.cumsum(reference.shares() - current.shares())[:-1]
    left, right = gap[:-1], gap[1:]
    height = np.abs(left) + np.abs(right)
    # Where F and G cross inside a bin, |F - G| is two triangles instead of a trapezium.
    crossing = (left * right < 0.0) & (height > 0.0)
    area = np.where(crossing, (left**2 + right**2) / np.where(crossing, height, 1.0), height) / 2.0
    return float(np.sum(widths * area)) / reference.sd
