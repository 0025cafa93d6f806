"""Divide rows into `fit` and `test` by event time, and check that `test` is the later one."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headrace.base.durations import format_duration, micros, parse_duration
from headrace.base.instants import iso, to_us
from headrace.errors import ProjectError, SchemaError

if TYPE_CHECKING:
    import polars as pl


def split(
    rows: pl.DataFrame, last: str | timedelta, *, by: str, end: datetime | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`(fit, test)`: `test` is every row with event time at or after `end - last`, `fit` every earlier one.

    Never at random: days would leak into both. `by` names the column of the event time (a Datetime, read as UTC if it
    has no zone, or integer UTC microseconds); `end` is the end of the window the rows are of, by default the newest
    event time among them. The order of the rows is kept.

    Raises SchemaError if the column is absent, of another type or has nulls; ProjectError if a part would be empty.
    """
    length = parse_duration(last)
    times_us = event_times_us(rows, by)
    if not times_us.size:
        raise ProjectError("expected rows to split, got none", cure="check the window: it holds no matured rows")
    end_us = int(times_us.max()) if end is None else to_us(end)
    start_us = end_us - micros(length)
    late = times_us >= start_us
    tested = int(late.sum())
    if tested in (0, times_us.size):
        empty = "test" if tested == 0 else "fit"
        raise ProjectError(
            f"`{empty}` would be empty: the rows reach from {iso(int(times_us.min()))} to {iso(int(times_us.max()))}, "
            f"and the last {format_duration(length)} begin at {iso(start_us)}",
            cure="choose a shorter `last`, or a longer window",
        )
    return rows.filter(~late), rows.filter(late)


def check_fit_test(fit_times_us: ArrayLike, test_times_us: ArrayLike) -> int:
    """The version's cut-off: the first event time of `test`, in UTC microseconds.

    Raises ProjectError unless both have rows and every row of `test` is later than every row of `fit`.

    >>> check_fit_test([1, 3, 2], [5, 4])
    4
    """
    fit, test = np.asarray(fit_times_us, dtype=np.int64), np.asarray(test_times_us, dtype=np.int64)
    if not fit.size or not test.size:
        raise ProjectError(
            f"expected rows in `fit` and `test`, got {fit.size:,} and {test.size:,}",
            cure='make both with fit, test = hr.split(rows, last="14d")',
        )
    newest_fit, cutoff_us = int(fit.max()), int(test.min())
    if cutoff_us <= newest_fit:
        raise ProjectError(
            f"`test` must be later than every row of `fit`: its first row is of {iso(cutoff_us)}, "
            f"the last of `fit` of {iso(newest_fit)}",
            cure='make both with fit, test = hr.split(rows, last="14d"); a random split shows too good a score',
        )
    return cutoff_us


def event_times_us(rows: pl.DataFrame, by: str) -> NDArray[np.int64]:
    """The event-time column as integer UTC microseconds, in row order. Raises SchemaError as `split` does."""
    import polars as pl

    if by not in rows.columns:
        raise SchemaError(f"there is no column {by!r} among {', '.join(rows.columns)}", cure="name the event time")
    column = rows[by]
    if column.null_count():
        raise SchemaError(
            f"{column.null_count():,} of {column.len():,} rows have no event time in {by!r}",
            cure="a row without an event time is in no window: leave it out, and say so",
        )
    if isinstance(column.dtype, pl.Datetime):
        return column.dt.epoch("us").to_numpy()
    if column.dtype == pl.Int64:
        return column.to_numpy()
    raise SchemaError(
        f"expected a Datetime or Int64 (UTC microseconds) in {by!r}, got {column.dtype}", cure="cast the column"
    )
