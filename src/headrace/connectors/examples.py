"""The one join of rows with their labels, used to train, to monitor and to judge.

A row is mature at a moment when its event time is at least the model's `mature` before it; only then may a missing
label mean something. Nothing that became known after the moment is looked at, so a later read gives the same rows.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import timedelta

import polars as pl

from headrace.base.durations import format_duration
from headrace.base.instants import iso
from headrace.connectors.blob import OFFSET, PARTITION, TIME
from headrace.connectors.fitting import INSTANT
from headrace.connectors.holdings import needs_labels
from headrace.connectors.log import Log, Pins
from headrace.definitions.project import ModelDef, TopicDef
from headrace.errors import SchemaError

_log = logging.getLogger("headrace.examples")
_NEWS = "_known"
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels as a run may know them: those of `topic` up to the pins, known at or before `moment_us`."""

    log: Log
    topic: TopicDef
    pins: Pins
    moment_us: int


@dataclass(frozen=True, slots=True)
class Labelled:
    """Mature rows with their label as the last column; how many were left out, because too young or without label."""

    rows: pl.DataFrame
    immature: int
    missing: int

    def in_words(self, model: ModelDef) -> str:
        """`"1,204 rows; left out: 32 immature, 5 without label"`."""
        left = [f"{self.immature:,} immature"] if self.immature else []
        left += [f"{self.missing:,} without {model.label!r}"] if self.missing else []
        return f"{len(self.rows):,} rows" + (f"; left out: {', '.join(left)}" if left else "")


def moment_us(model: ModelDef, window_end_us: int, complete_us: int | None) -> int | None:
    """The moment at which a run about a window looks at labels: when its youngest row is mature, if that has come.

    `complete_us` is how far the labels are complete; None where there are none.

    >>> moment_us(ModelDef("delay", mature_us=48), 100, 120)
    120
    """
    return None if complete_us is None else min(window_end_us + model.mature_us, complete_us)


def labelled(model: ModelDef, rows: pl.DataFrame, labels: Labels | None) -> Labelled:
    """The mature rows with the column `model.label`; `rows` has the event time in `_time`.

    Without `labels` no row is mature. Raises `SchemaError` (HR1231) for a mature row without label where the model says
    `missing="error"`, and where the rows lack the key or have a column with the label's name already.
    """
    _, on, label = needs_labels(model)
    _check(model, rows, on, label)
    if labels is None:
        nothing = rows.clear().with_columns(pl.lit(None, pl.Null).alias(label))
        return Labelled(nothing, len(rows), 0)
    limit = pl.lit(labels.moment_us - model.mature_us).cast(INSTANT)
    mature = rows.filter(pl.col(TIME) <= limit)
    with_label = mature.with_columns(_labels_of(model, mature, labels).alias(label))
    lacking = with_label.filter(pl.col(label).is_null())
    if len(lacking) and model.missing == "error":
        raise _lacking(model, lacking[on], len(mature), labels)
    found = Labelled(with_label.drop_nulls(label), len(rows) - len(mature), len(lacking))
    _log.info("%s: %s", model.name, found.in_words(model))
    return found


def _labels_of(model: ModelDef, rows: pl.DataFrame, labels: Labels) -> pl.Series:
    """The label of each row, null where there is none: of several the one that was known last."""
    _, on, label = needs_labels(model)
    keys = rows.select(on)
    oldest = rows[TIME].to_physical().min()
    # Labels follow their rows, so those known since the oldest row are nearly always all that is needed.
    since_us = oldest if isinstance(oldest, int) else labels.moment_us
    found = _newest(model, labels, since_us, labels.moment_us + 1)
    aligned = keys.join(found, on=on, how="left", maintain_order="left")[label]
    if not aligned.null_count():
        return aligned
    earlier = _newest(model, labels, None, since_us)
    fallback = keys.join(earlier, on=on, how="left", maintain_order="left")[label]
    return aligned.zip_with(aligned.is_not_null(), fallback)


def _newest(model: ModelDef, labels: Labels, start_us: int | None, end_us: int | None) -> pl.DataFrame:
    _, on, label = needs_labels(model)
    rows = labels.log.read_known(labels.topic, start_us, end_us, pins=labels.pins)
    for name in (on, label):
        if name not in rows.columns:
            if rows.is_empty():
                return pl.DataFrame(schema={on: pl.String, label: pl.Boolean})
            raise SchemaError(
                f"the labels of {model.name!r} are to be in the column {name!r}; there are {', '.join(rows.columns)}",
                where=f"topic {labels.topic.name}",
                cure="mend on= or label= of the model, or the topic's schema",
                code="HR1231",
            )
    known = pl.col(labels.topic.known or "_appended").alias(_NEWS)
    chosen = rows.select(on, label, known, PARTITION, OFFSET).drop_nulls(label)
    return chosen.sort(_NEWS, PARTITION, OFFSET).unique(on, keep="last").select(on, label)


def _check(model: ModelDef, rows: pl.DataFrame, on: str, label: str) -> None:
    if on not in rows.columns:
        raise SchemaError(
            f"labels are found by {on!r}, which is not among the columns {', '.join(rows.columns)}",
            where=f"model {model.name}",
            cure="keep the key in the rows, or mend on= of the model",
            code="HR1231",
        )
    if label in rows.columns:
        raise SchemaError(
            f"the rows have a column {label!r} already: a label must not be known when a row is",
            where=f"model {model.name}",
            cure="leave the column out of the source (columns=[…] of a join), or rename it",
            code="HR1231",
        )


def _lacking(model: ModelDef, keys: pl.Series, mature: int, labels: Labels) -> SchemaError:
    after = format_duration(timedelta(microseconds=model.mature_us))
    told = (
        f"{len(keys):,} of {mature:,} rows, at least {after} old at {iso(labels.moment_us)}, have no label "
        f"{model.label!r}: {_some(keys)}"
    )
    everything = replace(labels, pins=labels.log.heads(labels.topic.name))
    late = keys.filter(keys.is_in(_newest(model, everything, labels.moment_us + 1, None)[keys.name].implode()))
    cure = "append their labels, or give labels more time with mature="
    if len(late):
        told += f"; those of {len(late):,} are there, but became known only after that: {_some(late)}"
        cure = "give labels more time with mature=, or append them with the time at which they became known (known=)"
    return SchemaError(
        told, where=f"model {model.name}", cure=f'{cure}, or leave such rows out with missing="late"', code="HR1231"
    )


def _some(keys: pl.Series) -> str:
    return ", ".join(str(key) for key in keys.head(_SHOWN).to_list()) + (", …" if len(keys) > _SHOWN else "")
