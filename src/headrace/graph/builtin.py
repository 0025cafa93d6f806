"""Tasks that Headrace itself brings."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from headrace.errors import SchemaError
from headrace.graph.task import task

if TYPE_CHECKING:
    import polars as pl

EVENT_TIME = "_time"  # the column in which `Model.examples` carries the event time of its rows


@task
def split(rows: pl.DataFrame, last: str, by: str | None = None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split rows by event time, never at random: `fit, test = hr.split(rows, last="14d")`.

    `test` are the rows of the last span, `fit` those before it. `by` names the time column; without it, it is the event
    time that the rows were read with.
    """
    if by is None and EVENT_TIME not in rows.columns:
        raise SchemaError(
            f"the rows do not carry their event time; columns: {', '.join(rows.columns)}",
            cure='name the column:  hr.split(rows, last="14d", by="scheduled")',
        )
    fit, test = importlib.import_module("headrace.models.split").split(rows, last=last, by=by or EVENT_TIME)
    if by is None or by == EVENT_TIME:
        return fit, test
    # `Model.register` judges by event time, so the rows carry it from here on.
    return fit.with_columns(fit[by].alias(EVENT_TIME)), test.with_columns(test[by].alias(EVENT_TIME))
