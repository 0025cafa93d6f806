"""Registration of a model: the artifact, its golden rows and histograms, and the evidence that the gate decides on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from headrace.connectors import predicting, versions
from headrace.connectors.blob import TIME
from headrace.connectors.holdings import Holdings
from headrace.connectors.predicting import PREDICTION
from headrace.definitions.project import ModelDef, PerformanceLimit
from headrace.drift.histogram import MOST_CATEGORIES, Histogram
from headrace.errors import HeadraceError, SchemaError, StoreError
from headrace.models.evaluation import crossing_probability, gain, se_by_days
from headrace.models.metrics import METRICS, metric_named
from headrace.models.promotion import Gain
from headrace.models.split import check_fit_test, event_times_us
from headrace.runs.effects import RegisteredModel

if TYPE_CHECKING:
    from headrace.connectors.predicting import Predict

SEED = 1  # the same evidence from the same rows, whoever computes it
_log = logging.getLogger("headrace.models")
_OF_PROBABILITIES = ("log_loss", "accuracy")
_DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Tested:
    """The test rows as a model sees them (no label, no `_time`), with truth, prediction and event time of each."""

    rows: pl.DataFrame
    label: NDArray[np.float64] | None
    predicted: NDArray[np.float64]
    times_us: NDArray[np.int64]


def registered(
    holdings: Holdings,
    model: ModelDef,
    value: Any,
    *,
    fit: pl.DataFrame,
    test: pl.DataFrame,
    predict: Predict,
    champion: int,
    prefix: str,
) -> RegisteredModel:
    """Store the model below `prefix` and compare it on `test` with version `champion` (0: there is none).

    Where the champion cannot be scored, `against` is 0 and `problem` says why: the engine, which knows the
    champion, then rejects the version instead of taking it for the first one.
    Raises `ProjectError` where `test` is not later than `fit` or nobody could find `predict` again, `SchemaError` where
    rows lack `_time` or the label, `CodecError` where the model cannot be stored.
    """
    name = predicting.name_of(predict)
    times_us = _times_us(model, test)
    cutoff_us = check_fit_test(_times_us(model, fit), times_us)
    seen = as_seen(model, test)
    if PREDICTION in seen.columns:
        raise SchemaError(
            f"the rows have a column {PREDICTION!r}, which is the name of what the model says",
            where=f"model {model.name}",
            cure="rename the column",
            code="HR1242",
        )
    predicted = predicting.predictions(predict, value, seen, f"`test` of {model.name}")
    tested = Tested(seen, _label(model, test), predicted, times_us)
    found, problem = _against_champion(holdings, model, tested, champion)
    stored = holdings.model_values.encode(value, prefix=prefix, what=f"the model {model.name!r}")
    return RegisteredModel(
        model=model.name,
        codec=stored.codec,
        path=stored.path or "",
        digest=stored.digest,
        size_bytes=stored.size_bytes,
        predict=name,
        cutoff_us=cutoff_us,
        rows_fit=len(fit),
        rows_test=len(test),
        against=0 if problem else champion,
        gain=found,
        metrics=_metrics(tested) | _false_alarms(holdings, model, tested),
        reference=msgspec.Raw(msgspec.json.encode(references(model, fit, test, predicted))),
        golden=versions.write_golden(holdings, seen, predicted, prefix),
        problem=problem,
    )


def as_seen(model: ModelDef, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows without label and event time: `predict` sees here what it will see live, and nothing more."""
    hidden = [name for name in (TIME, model.label) if name in rows.columns]
    return rows.drop(hidden)


def references(
    model: ModelDef, fit: pl.DataFrame, test: pl.DataFrame, predicted: NDArray[np.float64]
) -> dict[str, Histogram]:
    """Frozen histograms: of the columns that `fit` shares with `test`, from `fit`; of the predictions, from `test`.

    Predictions on the rows that a model has learnt from are sharper than later ones, so these would alarm for ever.
    """
    left_out = {TIME, model.label, model.on}
    chosen = [name for name in fit.columns if name in test.columns and name not in left_out]
    found = {name: frozen(fit[name]) for name in chosen if _is_countable(fit.schema[name])}
    return found | {PREDICTION: Histogram.freeze(predicted)}


def frozen(column: pl.Series) -> Histogram:
    """`Histogram.freeze` of a column; texts are counted by polars, which is ten times as fast."""
    if column.dtype.is_numeric() or column.dtype == pl.Boolean or column.n_unique() > MOST_CATEGORIES:
        return Histogram.freeze(column.to_numpy())
    tally = dict(column.cast(pl.String).drop_nulls().value_counts().iter_rows())
    if not tally:
        return Histogram.freeze(column.to_numpy())
    names = tuple(sorted(tally))
    counts = (*(tally[name] for name in names), 0)
    return Histogram(kind="category", categories=names, counts=counts, missing=column.null_count())


def columns_of(rows: pl.DataFrame, names: Mapping[str, Histogram]) -> dict[str, NDArray[Any]]:
    """The columns of the rows that can be held against references, by name."""
    return {name: rows[name].to_numpy() for name in rows.columns if name in names and _is_countable(rows.schema[name])}


def _against_champion(holdings: Holdings, model: ModelDef, tested: Tested, champion: int) -> tuple[Gain | None, str]:
    """(the gain over the champion, why there is none where it cannot be compared with)."""
    if not champion or model.promote is None:
        return None, ""
    if tested.label is None:
        raise SchemaError(
            f"the gate of {model.name!r} compares labels, and the model does not name them",
            where=f"model {model.name}",
            cure='hr.Model(…, labels=outcomes, on="flight_id", label="late"), or leave promote= out',
            code="HR1241",
        )
    try:
        row = holdings.model_version(model.name, champion)
        old = versions.score(holdings, row, tested.rows)
        found = gain(
            tested.label,
            old,
            tested.predicted,
            tested.times_us,
            model.promote.metric,
            seed=SEED,
            cutoff_us=row.cutoff_us,
        )
    except StoreError:  # says nothing about the champion: the attempt fails, and may be tried again
        raise
    except Exception as error:  # loading and predicting run the code of another time: whatever it raises is evidence
        line = str(error).splitlines()[0] if str(error) else ""
        problem = f"version {champion} cannot be compared with: {type(error).__name__}: {line}"
        _log.error("%s: %s", model.name, problem, exc_info=not isinstance(error, HeadraceError))
        return None, problem
    return found, ""


def _metrics(tested: Tested) -> dict[str, float]:
    """Every metric that the labels allow, and "<metric>_se", its standard error by days."""
    if tested.label is None:
        return {}
    is_binary = bool(np.isin(tested.label, (0.0, 1.0)).all())
    is_probability = bool(((tested.predicted >= 0.0) & (tested.predicted <= 1.0)).all())
    found: dict[str, float] = {}
    for name, metric in METRICS.items():
        if metric.binary != is_binary or (name in _OF_PROBABILITIES and not is_probability):
            continue
        value = metric.of(tested.label, tested.predicted)
        se = se_by_days(tested.label, tested.predicted, tested.times_us, name, seed=SEED)
        found |= {key: number for key, number in ((name, value), (f"{name}_se", se)) if number is not None}
    return {name: value for name, value in found.items() if np.isfinite(value)}


def _false_alarms(holdings: Holdings, model: ModelDef, tested: Tested) -> dict[str, float]:
    """ "<monitor>:false_alarms": how often days of `test`, where all is well, would cross the monitor's limit."""
    found: dict[str, float] = {}
    for monitor in holdings.project.monitors.values():
        limit = monitor.performance
        if monitor.model != model.name or limit is None or tested.label is None:
            continue
        days = max(1, round(monitor.window_us / _DAY_US))
        found[f"{monitor.name}:false_alarms"] = _crossing(tested, tested.label, limit, days)
    return {name: value for name, value in found.items() if np.isfinite(value)}


def _crossing(tested: Tested, label: NDArray[np.float64], limit: PerformanceLimit, days: int) -> float:
    metric_named(limit.metric)
    side, value = ("below", limit.below) if limit.below is not None else ("above", limit.above)
    return crossing_probability(
        label,
        tested.predicted,
        tested.times_us,
        limit.metric,
        float(value or 0.0),
        side="below" if side == "below" else "above",
        seed=SEED,
        days=days,
    )


def _times_us(model: ModelDef, rows: pl.DataFrame) -> NDArray[np.int64]:
    if TIME not in rows.columns:
        raise SchemaError(
            f"the rows have no {TIME!r}, the event time that examples() adds; there are {', '.join(rows.columns)}",
            where=f"model {model.name}",
            cure=f'keep it up to register(), or add it: rows.with_columns({TIME}=pl.col("announced"))',
            code="HR1242",
        )
    return event_times_us(rows, TIME)


def _label(model: ModelDef, test: pl.DataFrame) -> NDArray[np.float64] | None:
    if model.label is None:
        return None
    if model.label not in test.columns or test[model.label].null_count():
        state = "has nulls" if model.label in test.columns else "is not there"
        raise SchemaError(
            f"the label {model.label!r} {state} in `test`; its columns are {', '.join(test.columns)}",
            where=f"model {model.name}",
            cure=f"make the rows with {model.name}.examples(…) and keep the label's column",
            code="HR1242",
        )
    return test[model.label].cast(pl.Float64).to_numpy()


def _is_countable(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() or isinstance(dtype, pl.String | pl.Boolean | pl.Categorical | pl.Enum)
