"""The judgement of one window: all statistics of all columns, always, and what they say about the declared limits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from headrace.drift.histogram import Histogram
from headrace.drift.statistics import STATISTICS
from headrace.errors import SchemaError

Side = Literal["above", "below"]
Kind = Literal["drift", "performance"]


class DriftLimit(msgspec.Struct, frozen=True, tag="drift"):
    """A bound on one statistic of one column: `DriftLimit("temp", "unseen", 0.10)` is crossed above ten per cent."""

    column: str
    statistic: str
    value: float
    side: Side = "above"


class PerformanceLimit(msgspec.Struct, frozen=True, tag="performance"):
    """A bound on the metric of matured rows: `PerformanceLimit("auc", 0.66, "below")` is crossed below it."""

    metric: str
    value: float
    side: Side


Limit = DriftLimit | PerformanceLimit


class Performance(msgspec.Struct, frozen=True):
    """A metric over the rows of a window that have a label.

    `value` is None where the metric is not defined (one class only), `se` where fewer than two days of event time
    carry rows. `n` counts rows with a label, `blocks` the UTC days of event time they lie in.
    """

    metric: str
    value: float | None
    se: float | None
    n: int
    blocks: int


class Finding(msgspec.Struct, frozen=True):
    """One limit held against one window. `crossed` is False whenever `judged` is; `reason` says it in words."""

    limit: Limit
    value: float | None
    judged: bool
    crossed: bool
    reason: str


class Judgement(msgspec.Struct, frozen=True):
    """What one window showed.

    `statistics[column][name]` holds every statistic of every column with a reference, judged or not (None: not
    defined); `counts[column]` the counts in the reference's bins; `findings` one entry per limit, in their order.
    """

    n: int
    statistics: dict[str, dict[str, float | None]]
    counts: dict[str, tuple[int, ...]]
    performance: Performance | None
    findings: tuple[Finding, ...]

    def crossed(self, kind: Kind) -> bool | None:
        """True if any limit of this kind is crossed; else None if one could not be judged, or there is none."""
        drift = kind == "drift"
        findings = [finding for finding in self.findings if isinstance(finding.limit, DriftLimit) == drift]
        if any(finding.crossed for finding in findings):
            return True
        return False if findings and all(finding.judged for finding in findings) else None


def judge(
    references: Mapping[str, Histogram],
    current: Mapping[str, NDArray[Any]],
    *,
    limits: Sequence[Limit],
    min_rows: int,
    performance: Performance | None = None,
) -> Judgement:
    """Judge the rows of one window.

    `current` holds the columns of the window by name, of equal length; those without a reference are left out.
    `performance` is the measured metric of the matured rows (`headrace.models.evaluation.performance`), or None if no
    row has a label: a window without labels is not judged, it does not count as good.

    Raises SchemaError if a column with a reference is not among `current`, columns differ in length, or a limit names
    a column without a reference or a statistic that does not exist.
    """
    n = _length(current)
    histograms = {name: _count(name, reference, current) for name, reference in references.items()}
    statistics = {
        column: {name: _defined(function(references[column], histogram)) for name, function in STATISTICS.items()}
        for column, histogram in histograms.items()
    }
    findings = tuple(
        _drift_finding(limit, statistics, n, min_rows)
        if isinstance(limit, DriftLimit)
        else _performance_finding(limit, performance, min_rows)
        for limit in limits
    )
    counts = {column: histogram.counts for column, histogram in histograms.items()}
    return Judgement(n=n, statistics=statistics, counts=counts, performance=performance, findings=findings)


def _drift_finding(
    limit: DriftLimit, statistics: Mapping[str, Mapping[str, float | None]], n: int, min_rows: int
) -> Finding:
    name = f"{limit.statistic} of {limit.column}"
    if limit.column not in statistics or limit.statistic not in STATISTICS:
        raise SchemaError(
            f"no reference for {name}: there are the columns {', '.join(statistics) or 'none'} "
            f"and the statistics {', '.join(STATISTICS)}",
            cure="name a column that the champion was fitted on",
        )
    value = statistics[limit.column][limit.statistic]
    if n < min_rows:
        return _not_judged(limit, value, f"{name}: {n:,} rows, {min_rows:,} are needed")
    if value is None:
        return _not_judged(limit, None, f"{name} is not defined here: no values, or a reference it does not apply to")
    return _judged(limit, value, name)


def _performance_finding(limit: PerformanceLimit, performance: Performance | None, min_rows: int) -> Finding:
    if performance is None:
        return _not_judged(limit, None, f"{limit.metric}: no row has a label")
    if performance.metric != limit.metric:
        raise SchemaError(
            f"the limit is on {limit.metric}; {performance.metric} was measured", cure=f"measure {limit.metric}"
        )
    value = performance.value
    if performance.n < min_rows:
        reason = f"{limit.metric}: {performance.n:,} rows with a label, {min_rows:,} are needed"
        return _not_judged(limit, value, reason)
    if value is None:
        return _not_judged(limit, None, f"{limit.metric} is not defined: all labels are equal")
    return _judged(limit, value, limit.metric)


def _judged(limit: Limit, value: float, name: str) -> Finding:
    crossed = value > limit.value if limit.side == "above" else value < limit.value
    relation = limit.side if crossed else f"not {limit.side}"
    reason = f"{name} {value:.4g} is {relation} {limit.value:g}"
    return Finding(limit, value, judged=True, crossed=crossed, reason=reason)


def _not_judged(limit: Limit, value: float | None, reason: str) -> Finding:
    return Finding(limit, value, judged=False, crossed=False, reason=reason)


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value


def _length(current: Mapping[str, NDArray[Any]]) -> int:
    lengths = {name: len(column) for name, column in current.items()}
    if len(set(lengths.values())) > 1:
        raise SchemaError(f"expected columns of equal length; got {lengths}", cure="pass the columns of one frame")
    return next(iter(lengths.values()), 0)


def _count(name: str, reference: Histogram, current: Mapping[str, NDArray[Any]]) -> Histogram:
    if name not in current:
        raise SchemaError(
            f"column {name} has a reference but is not among {', '.join(current) or 'no columns'}",
            where=name,
            cure="keep the column in the rows that are watched",
        )
    try:
        return reference.like(np.asarray(current[name]))
    except SchemaError as error:
        raise SchemaError(error.message, where=name, cure=error.cure) from error
