"""One window of a monitor: what was predicted, what came true, and what both say against the champion's reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import polars as pl

from headrace.base.instants import iso
from headrace.connectors import examples
from headrace.connectors.blob import TIME
from headrace.connectors.fitting import INSTANT
from headrace.connectors.holdings import Holdings, VersionRow
from headrace.connectors.predicting import PREDICTION
from headrace.connectors.registry import SEED, columns_of
from headrace.data.window import Window
from headrace.definitions.project import CHAMPION, ModelDef, MonitorDef
from headrace.drift.judge import DriftLimit, Judgement, Limit, Performance, PerformanceLimit, judge
from headrace.errors import SchemaError
from headrace.models.evaluation import performance
from headrace.runs.effects import JudgedWindow

if TYPE_CHECKING:
    from headrace.connectors.access import StoreAccess


def judge_window(access: StoreAccess, monitor: MonitorDef, window: Window) -> JudgedWindow:
    """Judge one closed window by the champion of this run, at its pins: the same again whenever it is repeated.

    Predictions about times before the champion's own cut-off are left out, as it may have learnt from them. A mature
    prediction without label is what the model says it is: an error, or left out and counted.
    """
    holdings = access.holdings
    model = holdings.project.models[monitor.model]
    champion = access.alias(model.name, CHAMPION)
    bounds = (window.start_us, window.end_us)
    if not champion:
        return _unjudged(monitor, bounds, 0, "the model has no champion yet")
    version = holdings.model_version(model.name, champion)
    rows = access.read_with_time(holdings.topic(monitor.topic), window)
    judged = rows.filter(pl.col(TIME) >= pl.lit(version.cutoff_us).cast(INSTANT))
    early = len(rows) - len(judged)
    if judged.is_empty():
        return _unjudged(monitor, bounds, champion, _why_empty(version, early))
    measured, left_out = _measured(access, monitor, model, judged, window)
    found = _judgement(holdings, monitor, version, judged, measured)
    notes = [*_reasons(found), *([f"{early:,} rows before the champion's cut-off are not judged"] if early else [])]
    return JudgedWindow(
        monitor=monitor.name,
        model=model.name,
        window=bounds,
        version_number=champion,
        n=len(judged),
        judged=any(finding.judged for finding in found.findings),
        why="; ".join(notes + left_out),
        judgement=msgspec.to_builtins(found),
        crossed={"drift": found.crossed("drift"), "performance": found.crossed("performance")},
    )


def limits_of(monitor: MonitorDef) -> list[Limit]:
    """The monitor's limits, drift first, in declared order."""
    found: list[Limit] = [DriftLimit(column, limit.statistic, limit.above) for column, limit in monitor.drift.items()]
    declared = monitor.performance
    if declared is not None and declared.below is not None:
        found.append(PerformanceLimit(declared.metric, declared.below, "below"))
    if declared is not None and declared.above is not None:
        found.append(PerformanceLimit(declared.metric, declared.above, "above"))
    return found


def _judgement(
    holdings: Holdings, monitor: MonitorDef, version: VersionRow, rows: pl.DataFrame, measured: Performance | None
) -> Judgement:
    references = holdings.reference(version.model, version.version)
    columns = columns_of(rows, references)
    predicted = monitor.performance.prediction if monitor.performance else None
    if predicted is not None and PREDICTION in references and predicted in rows.columns:
        columns[PREDICTION] = rows[predicted].to_numpy()
    for column in monitor.drift:
        if column not in columns:
            where = "its reference" if column in rows.columns else f"the topic {monitor.topic}"
            raise SchemaError(
                f"the monitor {monitor.name!r} watches {column!r}, which {where} does not have as numbers or texts",
                where=f"monitor {monitor.name}, version {version.version} of {version.model}",
                cure="let the stream return the column beside the prediction, under the name it has in `fit`",
                code="HR1243",
            )
    chosen = {name: references[name] for name in columns}
    return judge(chosen, columns, limits=limits_of(monitor), min_rows=monitor.min_rows, performance=measured)


def _measured(
    access: StoreAccess, monitor: MonitorDef, model: ModelDef, rows: pl.DataFrame, window: Window
) -> tuple[Performance | None, list[str]]:
    """The metric over the mature rows, and what was left out, in words."""
    declared = monitor.performance
    if declared is None:
        return None, []
    if declared.prediction not in rows.columns:
        raise SchemaError(
            f"the monitor {monitor.name!r} reads predictions from {declared.prediction!r}; "
            f"the topic {monitor.topic} has {', '.join(rows.columns)}",
            where=f"monitor {monitor.name}",
            cure='name the column that the stream returns: hr.auc(prediction="p_late", …)',
            code="HR1243",
        )
    needed = dict.fromkeys(name for name in (model.on, declared.prediction, TIME) if name in rows.columns)
    keyed = rows.select(list(needed))
    found = examples.labelled(model, keyed, access.labels(model, window))
    mature = found.rows
    if mature.is_empty():
        return None, [found.in_words(model)]
    value = performance(
        mature[model.label or ""].cast(pl.Float64).to_numpy(),
        mature[declared.prediction].to_numpy(),
        mature[TIME].to_physical().to_numpy(),
        declared.metric,
        seed=SEED,
    )
    return value, [found.in_words(model)] if found.immature or found.missing else []


def _reasons(found: Judgement) -> list[str]:
    noise = found.performance.se if found.performance else None
    return [
        finding.reason
        + (
            f" ± {noise:.4g}"
            if finding.judged and noise is not None and isinstance(finding.limit, PerformanceLimit)
            else ""
        )
        for finding in sorted(found.findings, key=lambda finding: not finding.crossed)  # what asks is said first
    ]


def _why_empty(version: VersionRow, early: int) -> str:
    if early:
        return (
            f"all {early:,} predictions lie before {iso(version.cutoff_us)}, the cut-off of version {version.version}"
        )
    return "no predictions in the window"


def _unjudged(monitor: MonitorDef, window: tuple[int, int], version: int, why: str) -> JudgedWindow:
    nothing: dict[str, bool | None] = {"drift": None, "performance": None}
    return JudgedWindow(monitor.name, monitor.model, window, version, 0, False, why, None, nothing)
