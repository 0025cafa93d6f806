"""The as-of join: per row what was known of another topic at that row's moment, the same live and over history.

`history` frames are the rows of the joined topic, sorted by their known time; among rows known at the same instant the
last one is the newest. Rows known exactly at the moment count as known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headrace.definitions.project import JoinDef, RunningDef
from headrace.errors import SchemaError

_ROW = "__row"
_AT = "__at"
_N = "__n"
_END = "__end"
_INSTANT = pl.Datetime("us", "UTC")
_CHUNKS_LIMIT = 32

_Numbers: TypeAlias = NDArray[Any]


def join_asof(left: pl.DataFrame, history: pl.DataFrame, join: JoinDef) -> pl.DataFrame:
    """`left` with the columns of the newest row of `history` that each row could have known, else nulls.

    Rows and their order are those of `left`. Added are `history`'s columns (or `join.columns`) but its key and its
    known time; a name that `left` has already becomes `<topic>_<name>`. A running join adds `<topic>_count` and
    `<topic>_<column>`: count and sums over the rows known in `(as_of - within, as_of]`, 0 where there are none,
    and nothing of the rows outside of it.
    Raises `SchemaError` where a column is missing or still has no free name.
    """
    _check(left, history, join)
    if join.running is not None:
        return _join_running(left, history, join)
    names = _names(left, history, join)
    kept = history.select(
        pl.col(join.on), pl.col(join.known).alias(_AT), *(pl.col(c).alias(n) for c, n in names.items())
    )
    tolerance = None if join.tolerance_us is None else timedelta(microseconds=join.tolerance_us)
    return _newest(left, kept, join.on, join.on, pl.col(join.as_of), tolerance)


def span_us(join: JoinDef) -> int | None:
    """How far before its moment a row looks; None where any age will do."""
    return join.tolerance_us if join.running is None else join.running.within_us


def right_key(join: JoinDef) -> str:
    """The column of the joined topic that must equal `join.on`."""
    return join.on if join.running is None else join.running.by


def sort_history(rows: pl.DataFrame, join: JoinDef, order: tuple[str, ...] = ()) -> pl.DataFrame:
    """Rows as `join_asof` wants them: known at all, by known time, equal ones by `order` or as they stand."""
    known = rows.drop_nulls(join.known)
    if not order and known[join.known].is_sorted():
        return known
    return known.sort(join.known, *order, maintain_order=True)


@dataclass
class Side:
    """The history of a joined topic in memory, for one live stream process.

    `ends` are the offsets (per partition, exclusive) up to which it has the topic's rows: the pin of the next batch.
    Before `floor_us` only what a row at or after it can need is held; a batch that looks further back `lacks` rows.
    `order` are columns (not joined) that decide which of two rows known at the same instant is the newer one.
    """

    join: JoinDef
    rows: pl.DataFrame
    ends: dict[int, int] = field(default_factory=dict[int, int])
    floor_us: int | None = None
    order: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.rows = sort_history(self.rows, self.join, self.order)

    def extend(self, rows: pl.DataFrame, ends: Mapping[int, int]) -> None:
        """Add rows that were appended to the topic; `ends` are the offsets read up to."""
        self.ends.update(ends)
        fresh = sort_history(rows, self.join, self.order)
        if fresh.is_empty():
            return
        if self.rows.is_empty():
            self.rows = fresh
            return
        known = self.join.known
        is_newer = fresh[known][0] > self.rows[known][-1]
        grown = pl.concat([self.rows, fresh.select(self.rows.columns)], rechunk=False)
        if not is_newer:
            grown = grown.sort(known, *self.order, maintain_order=True)
        if grown.n_chunks() > _CHUNKS_LIMIT:
            grown = grown.rechunk()
        # Both parts are sorted and in order; without the flag each search would scan for it.
        self.rows = grown.with_columns(pl.col(known).set_sorted())

    def lacks(self, left: pl.DataFrame) -> bool:
        """Whether a row of the batch looks further back than what is held."""
        if self.floor_us is None or left.is_empty():
            return False
        oldest = _us(left[self.join.as_of].min())
        return oldest is not None and oldest < self.floor_us

    def join_to(self, left: pl.DataFrame) -> pl.DataFrame:
        """The batch joined; only the rows that it can see are looked at."""
        return join_asof(left, self._visible(left).drop(self.order), self.join)

    def evict(self, before_us: int) -> None:
        """Forget what no row at or after `before_us` can need: too old ones, or all but the newest of each key."""
        if self.floor_us is not None and before_us <= self.floor_us:
            return
        span = span_us(self.join)
        if span is not None:
            self.rows = self.rows.slice(self._position(before_us - span, side="left")).rechunk()
        elif self.join.running is None:
            old = self._position(before_us, side="right")
            newest = self.rows.head(old).unique(right_key(self.join), keep="last", maintain_order=True)
            self.rows = pl.concat([newest, self.rows.slice(old)])
        else:
            return  # totals since the beginning need every row
        self.floor_us = before_us

    def _visible(self, left: pl.DataFrame) -> pl.DataFrame:
        if left.is_empty() or self.rows.is_empty() or self.join.as_of not in left.columns:
            return self.rows
        moments = left[self.join.as_of]
        oldest, newest = _us(moments.min()), _us(moments.max())
        if oldest is None or newest is None:
            return self.rows.head(0)
        span = span_us(self.join)
        first = 0 if span is None else self._position(oldest - span, side="left")
        return self.rows.slice(first, self._position(newest, side="right") - first)

    def _position(self, us: int, *, side: str) -> int:
        moment = pl.Series([us], dtype=_INSTANT)
        return int(self.rows[self.join.known].search_sorted(moment, side="left" if side == "left" else "right")[0])


def _newest(
    left: pl.DataFrame, right: pl.DataFrame, on: str, by: str, at: pl.Expr, tolerance: timedelta | None
) -> pl.DataFrame:
    """One as-of look-up at the instants `at`; `right` has its known time in `_AT` and is sorted by it."""
    names = [name for name in right.columns if name not in (by, _AT)]
    asked = left.lazy().select(pl.col(on), at.alias(_AT)).with_row_index(_ROW).collect()
    asked = asked.filter(pl.col(_AT).is_not_null() & pl.col(on).is_not_null())
    if not asked[_AT].is_sorted():
        asked = asked.sort(_AT)
    found = asked.join_asof(
        right, on=_AT, by_left=on, by_right=by, strategy="backward", tolerance=tolerance, check_sortedness=False
    ).select(_ROW, *names)
    if len(found) == len(left) and found[_ROW].is_sorted():
        return pl.concat([left, found.drop(_ROW)], how="horizontal")
    rows = pl.DataFrame({_ROW: pl.int_range(len(left), dtype=pl.UInt32, eager=True)})
    aligned = rows.join(found, on=_ROW, how="left", maintain_order="left").drop(_ROW)
    return pl.concat([left, aligned], how="horizontal")


def _join_running(left: pl.DataFrame, history: pl.DataFrame, join: JoinDef) -> pl.DataFrame:
    running = join.running
    assert running is not None
    names = [f"{join.topic}_count", *(f"{join.topic}_{name}" for name in running.sums)]
    clash = [name for name in names if name in left.columns]
    if clash:
        raise _clash(clash[0], join)
    if running.within_us is None:
        found = _newest(left, _totals(history, join, names), join.on, running.by, pl.col(join.as_of), None)
        return found.with_columns(pl.col(name).fill_null(0) for name in names)
    figures = _spans(left.select(join.on, join.as_of), history, join, running, running.within_us)
    return left.with_columns(pl.Series(name, values) for name, values in zip(names, figures, strict=True))


def _totals(history: pl.DataFrame, join: JoinDef, names: list[str]) -> pl.DataFrame:
    """Per row of the history the count and the sums of its key since the beginning."""
    running = join.running
    assert running is not None
    count = pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over(running.by).alias(names[0])
    sums = [
        _number(history, column).cum_sum().over(running.by).alias(name)
        for column, name in zip(running.sums, names[1:], strict=True)
    ]
    return history.select(pl.col(running.by), pl.col(join.known).alias(_AT), count, *sums)


def _spans(
    left: pl.DataFrame, history: pl.DataFrame, join: JoinDef, running: RunningDef, within_us: int
) -> Iterator[_Numbers]:
    """Count and sums per row of `left`, each from the rows of its span alone, wherever the history begins."""
    rows = history.select(
        pl.col(running.by), pl.col(join.known).alias(_AT), *(_number(history, c) for c in running.sums)
    )
    count = pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over(running.by)
    places = rows.select(running.by, _AT, count.alias(_N))
    # Where each row ends once those of a key stand together, in their order: a span is then one slice.
    key = rows.with_row_index(_ROW).select(pl.col(_ROW).first().over(running.by)).to_series().to_numpy()
    sizes = np.bincount(key, minlength=len(rows))
    ends = (np.cumsum(sizes) - sizes)[key] + places[_N].to_numpy()
    places = places.with_columns(pl.Series(_END, ends))
    start = pl.col(join.as_of) - pl.duration(microseconds=within_us)
    upto = _newest(left, places, join.on, running.by, pl.col(join.as_of), None)
    before = _newest(left, places.drop(_END), join.on, running.by, start, None)
    end = upto[_END].fill_null(0).to_numpy()
    count = (upto[_N].fill_null(0) - before[_N].fill_null(0)).to_numpy()
    yield count
    for column in running.sums:
        values = rows[column].to_numpy()
        together = np.empty_like(values)
        together[ends - 1] = values
        yield _sums(together, end - count, end)


def _sums(values: _Numbers, first: _Numbers, end: _Numbers) -> _Numbers:
    """The sum of `values[first:end]` for each pair."""
    if values.dtype.kind != "f":
        totals = np.concatenate(([0], np.cumsum(values)))
        return totals[end] - totals[first]
    # A difference of two floating totals would keep the rounding, and any NaN, of all that came before the span.
    order = np.argsort(first, kind="stable")
    edges = np.empty(2 * len(order), dtype=np.int64)
    edges[0::2], edges[1::2] = first[order], end[order]
    sums = np.zeros(len(order), dtype=values.dtype)
    with np.errstate(invalid="ignore", over="ignore"):  # inf and NaN among the rows are the user's
        sums[order] = np.add.reduceat(np.append(values, values.dtype.type(0)), edges)[0::2]
    sums[first == end] = 0
    return sums


def _number(history: pl.DataFrame, name: str) -> pl.Expr:
    column = pl.col(name).fill_null(0)
    if history.schema[name].is_float():
        return column
    # Booleans count their trues; whole numbers add up without rounding.
    return pl.col(name).cast(pl.Int64).fill_null(0)


def _names(left: pl.DataFrame, history: pl.DataFrame, join: JoinDef) -> dict[str, str]:
    """Column of the history → its name in the result."""
    hidden = (join.on, join.known)
    wanted = join.columns if join.columns is not None else [c for c in history.columns if c not in hidden]
    names: dict[str, str] = {}
    for column in wanted:
        name = f"{join.topic}_{column}" if column in left.columns else column
        if name in left.columns or name in names.values():
            raise _clash(name, join)
        names[column] = name
    return names


def _check(left: pl.DataFrame, history: pl.DataFrame, join: JoinDef) -> None:
    running = join.running.sums if join.running is not None else ()
    needed = (right_key(join), join.known, *running, *(join.columns or ()))
    for frame, what, names in ((left, "the rows", (join.on, join.as_of)), (history, f"topic {join.topic!r}", needed)):
        for name in names:
            if name not in frame.columns:
                raise SchemaError(
                    f"the join needs the column {name!r} of {what}; there are {', '.join(frame.columns)}",
                    where=f"join with topic {join.topic}",
                    cure="name a column that is there, or declare it in the topic's schema",
                    code="HR1220",
                )
    for frame, name in ((left, join.as_of), (history, join.known)):
        if frame.schema[name] != _INSTANT:
            raise SchemaError(
                f"the column {name!r} is {frame.schema[name]}, expected a time in UTC microseconds",
                where=f"join with topic {join.topic}",
                cure="declare it as datetime in the topic's schema",
                code="HR1220",
            )


def _clash(name: str, join: JoinDef) -> SchemaError:
    return SchemaError(
        f"the join would give two columns named {name!r}",
        where=f"join with topic {join.topic}",
        cure="choose other columns with columns=[…], or rename one",
        code="HR1221",
    )


def _us(moment: object) -> int | None:
    return None if moment is None else int(pl.Series([moment], dtype=_INSTANT).to_physical()[0])
