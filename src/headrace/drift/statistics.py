"""The statistics by name. A new one is a file beside this and a line here; the tests' laws run on it by themselves."""

from __future__ import annotations

from collections.abc import Callable

from headrace.drift.histogram import Histogram
from headrace.drift.missing import missing
from headrace.drift.psi import psi
from headrace.drift.unseen import unseen
from headrace.drift.wasserstein import wasserstein

Statistic = Callable[[Histogram, Histogram], float]
"""(reference, current) -> value; NaN where it is not defined."""

STATISTICS: dict[str, Statistic] = {
    "unseen": unseen,
    "psi": psi,
    "wasserstein": wasserstein,
    "missing": missing,
}
