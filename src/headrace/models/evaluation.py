"""How good a version is, how much better than another, and how sure that is: resampling whole UTC days of event time.

Rows of one day share their weather, so days are drawn, not rows: by rows the error of an AUC gain is several times
too small. Source: the block bootstrap (Künsch 1989; Davison and Hinkley, "Bootstrap Methods", 1997, section 8.2).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headrace.drift.judge import Performance, Side
from headrace.errors import RefusedError, SchemaError
from headrace.models.metrics import Floats, Metric, aligned, metric_named
from headrace.models.promotion import Gain
from headrace.models.resampling import Ints, resampled

DAY_US = 86_400_000_000
RESAMPLES = 200


def gain(
    label: ArrayLike,
    champion_prediction: ArrayLike,
    challenger_prediction: ArrayLike,
    event_time_us: ArrayLike,
    metric: str,
    *,
    seed: int,
    resamples: int = RESAMPLES,
    cutoff_us: int | None = None,
) -> Gain:
    """How much better the challenger scores the same rows than the champion; both are resampled on the same days.

    `cutoff_us` is the champion's own cut-off: rows with an earlier event time are left out, as it may have learnt
    them. The same arguments give the same result.

    Raises RefusedError if no row is left or all labels are equal; SchemaError for columns that do not fit.
    """
    chosen = metric_named(metric)
    days = _days(event_time_us)
    y, old = aligned(label, champion_prediction, binary=chosen.binary)
    _, new = aligned(label, challenger_prediction)
    _check_length(days, y)
    if cutoff_us is not None:
        kept = np.asarray(event_time_us) >= cutoff_us
        y, old, new, days = y[kept], old[kept], new[kept], days[kept]
    if not y.size:
        raise RefusedError(
            "no row of `test` lies at or after the champion's cut-off, so the two cannot be compared",
            cure="use a later window, or rows that the champion has not seen",
        )
    champion, challenger = chosen.of(y, old), chosen.of(y, new)
    difference = chosen.gain(champion, challenger)
    if math.isnan(difference):
        raise RefusedError(
            f"{metric} is not defined on the {y.size:,} rows of `test`: all labels are equal",
            cure="use a longer test span: split(rows, last=…)",
        )
    block, blocks = _blocks(days)
    weights = _draw(blocks, blocks, seed, resamples)
    gains = chosen.gain(resampled(chosen, y, old, block, weights), resampled(chosen, y, new, block, weights))
    return Gain(metric, champion, challenger, difference, _spread(gains, blocks), int(y.size), blocks)


def performance(
    label: ArrayLike,
    prediction: ArrayLike,
    event_time_us: ArrayLike,
    metric: str,
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> Performance | None:
    """The metric of a window's matured rows with its standard error by days; None if there are no rows."""
    if not np.size(label):
        return None
    chosen = metric_named(metric)
    y, p, block, blocks = _prepared(chosen, label, prediction, event_time_us)
    value = chosen.of(y, p)
    se = _se(chosen, y, p, block, blocks, seed, resamples)
    return Performance(metric, None if math.isnan(value) else value, se, int(y.size), blocks)


def se_by_days(
    label: ArrayLike,
    prediction: ArrayLike,
    event_time_us: ArrayLike,
    metric: str,
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> float | None:
    """Standard error of the metric by the bootstrap over days; None with fewer than two days."""
    chosen = metric_named(metric)
    return _se(chosen, *_prepared(chosen, label, prediction, event_time_us), seed, resamples)


def crossing_probability(
    label: ArrayLike,
    prediction: ArrayLike,
    event_time_us: ArrayLike,
    metric: str,
    limit: float,
    *,
    side: Side,
    seed: int,
    days: int | None = None,
    resamples: int = 1_000,
) -> float:
    """Share of resamples whose metric lies beyond `limit`: how often a monitor would alarm though nothing changed.

    Pass the rows of `test` of the champion. `days` is how many days a resample holds (the monitor's window; default:
    as many as there are), so that a week is not judged by the noise of a fortnight. Resamples for which the metric is
    not defined do not count; NaN if all are so.
    """
    chosen = metric_named(metric)
    y, p, block, blocks = _prepared(chosen, label, prediction, event_time_us)
    values = resampled(chosen, y, p, block, _draw(blocks, days or blocks, seed, resamples))
    values = values[~np.isnan(values)]
    if not values.size:
        return math.nan
    return float(np.mean(values > limit if side == "above" else values < limit))


def _prepared(
    metric: Metric, label: ArrayLike, prediction: ArrayLike, event_time_us: ArrayLike
) -> tuple[Floats, Floats, Ints, int]:
    y, p = aligned(label, prediction, binary=metric.binary)
    days = _days(event_time_us)
    _check_length(days, y)
    return y, p, *_blocks(days)


def _days(event_time_us: ArrayLike) -> Ints:
    return np.asarray(event_time_us, dtype=np.int64) // DAY_US


def _blocks(days: Ints) -> tuple[Ints, int]:
    distinct, block = np.unique(days, return_inverse=True)
    return block.astype(np.int64), int(distinct.size)


def _draw(blocks: int, drawn: int, seed: int, resamples: int) -> Floats:
    """How often each block is drawn: shape (resamples, blocks), rows sum to `drawn`."""
    random = np.random.default_rng(seed)
    return random.multinomial(drawn, np.full(blocks, 1.0 / blocks), size=resamples).astype(np.float64)


def _se(metric: Metric, y: Floats, p: Floats, block: Ints, blocks: int, seed: int, resamples: int) -> float | None:
    return _spread(resampled(metric, y, p, block, _draw(blocks, blocks, seed, resamples)), blocks)


def _spread(values: Floats, blocks: int) -> float | None:
    defined = values[~np.isnan(values)]
    return float(np.std(defined, ddof=1)) if blocks >= 2 and defined.size >= 2 else None


def _check_length(days: Ints, y: NDArray[Any]) -> None:
    if days.shape != y.shape:
        raise SchemaError(
            f"expected one event time per row; got {days.size:,} for {y.size:,} rows",
            cure="take labels, predictions and event times from the same frame",
        )
