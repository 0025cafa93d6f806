"""A count histogram whose bins are frozen from reference rows.

Only counts change afterwards, so shards and windows merge by addition: exactly, in any order, and bit for bit again.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from headrace.errors import SchemaError

Values = NDArray[Any] | Sequence[Any]

INNER_BINS = 32
INNER_QUANTILES = (0.005, 0.995)
MOST_CATEGORIES = 1_000


class Histogram(msgspec.Struct, frozen=True, kw_only=True):
    """Counts in frozen bins, of one column.

    `numeric`: `edges` e0 … ek make the bins x < e0 (underflow), [e0, e1), …, [ek-1, ek], x > ek (overflow); `counts`
    has one entry for each, so `len(edges) + 1`. `category`: `counts` has one entry per known category and a last one
    for all others. `missing` counts nulls and NaN; it is in no bin. `mean` and `sd` are those of the finite values the
    bins were frozen from (0 for categories); they stay when counts change.

    >>> reference = Histogram.freeze([1.0, 2.0, 2.0, 3.0, None])
    >>> reference.edges, reference.counts, reference.missing
    ((1.0, 1.5, 2.5, 3.0), (0, 1, 2, 1, 0), 1)
    >>> reference.like([0.5, 3.0, 9.0]).counts
    (1, 0, 0, 1, 1)
    >>> Histogram.freeze(["JFK", "LGA", "JFK"]).like(["JFK", "EWR"]).counts
    (1, 0, 1)
    """

    kind: Literal["numeric", "category"]
    counts: tuple[int, ...]
    missing: int
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    mean: float = 0.0
    sd: float = 0.0

    @classmethod
    def freeze(cls, values: Values, *, bins: int = INNER_BINS) -> Histogram:
        """Choose the bins from reference values and count these.

        Numbers with at most `bins` distinct values get a bin for each. Others get the bins between equally spaced
        quantiles from 0.5 % to 99.5 %, equal edges merged: the outer one per cent of the reference itself is under- and
        overflow. Booleans and texts are categories; of more than 1,000 the most frequent are kept, the rest counts as
        other. Without any value nothing is known, and every later value is new.

        Raises SchemaError for values that are neither numbers, booleans nor texts (times, lists).
        """
        column = np.asarray(values)
        numbers = _numbers(column)
        if numbers is None:
            return cls._freeze_categories(_texts(column))
        finite = numbers[np.isfinite(numbers)]
        if finite.size == 0:
            return cls(kind="category", counts=(0,), missing=0).like(column)
        mean, sd = _moments(finite)
        blank = cls(kind="numeric", edges=_edges(finite, bins), counts=(), missing=0, mean=mean, sd=sd)
        return blank.like(numbers)

    @classmethod
    def _freeze_categories(cls, texts: list[str | None]) -> Histogram:
        tally = Counter(text for text in texts if text is not None)
        kept = sorted(tally, key=lambda text: (-tally[text], text))[:MOST_CATEGORIES]
        return cls(kind="category", categories=tuple(sorted(kept)), counts=(), missing=0).like(texts)

    def like(self, values: Values) -> Histogram:
        """Count other values into the same bins. Raises SchemaError if texts come where numbers were frozen."""
        column = np.asarray(values)
        if self.kind == "numeric":
            numbers = _numbers(column)
            if numbers is None:
                raise SchemaError(
                    f"expected numbers, as in the reference; got {_sample(column)}",
                    cure="give the column the type it had in the rows the model was fitted on",
                )
            counts, missing = _count_numbers(numbers, self.edges)
        else:
            counts, missing = _count_categories(_texts(column), self.categories)
        return msgspec.structs.replace(self, counts=counts, missing=missing)

    def merge(self, other: Histogram) -> Histogram:
        """Add the counts of both. Raises SchemaError unless both have the same frozen bins."""
        self.check_same_bins(other)
        counts = tuple(a + b for a, b in zip(self.counts, other.counts, strict=True))
        return msgspec.structs.replace(self, counts=counts, missing=self.missing + other.missing)

    def check_same_bins(self, other: Histogram) -> None:
        """Raise SchemaError if `other` was not made by `like` from the same reference."""
        mine = (self.kind, self.edges, self.categories, self.mean, self.sd)
        if mine != (other.kind, other.edges, other.categories, other.mean, other.sd):
            raise SchemaError(
                "expected two histograms of the same reference; their bins differ",
                cure="count the rows with `reference.like(values)`",
            )

    @property
    def present(self) -> int:
        """Rows that have a value."""
        return sum(self.counts)

    @property
    def rows(self) -> int:
        """All rows, missing ones included."""
        return self.present + self.missing

    @property
    def outside(self) -> int:
        """Rows in the bins of the unknown: under- and overflow, or new categories."""
        return self.counts[-1] + (self.counts[0] if self.kind == "numeric" else 0)

    def shares(self) -> NDArray[np.float64]:
        """Share of the present rows in each bin; all NaN when no row has a value."""
        counts = np.asarray(self.counts, dtype=np.float64)
        total = self.present
        return counts / total if total else np.full(counts.size, np.nan)


def _edges(finite: NDArray[np.float64], bins: int) -> tuple[float, ...]:
    distinct = np.unique(finite)
    if distinct.size <= bins:
        between = distinct[:-1] / 2 + distinct[1:] / 2
        edges = np.concatenate([distinct[:1], between, distinct[-1:]])
    else:
        edges = np.unique(np.quantile(finite, np.linspace(*INNER_QUANTILES, bins + 1)))
        if edges.size == 1:  # nearly all rows share one value: it alone is the inner bin
            edges = np.repeat(edges, 2)
    return tuple(edges.tolist())


def _moments(finite: NDArray[np.float64]) -> tuple[float, float]:
    # fsum is exact, so neither number depends on the order of the rows.
    mean = math.fsum((finite / finite.size).tolist())
    away = finite - mean
    scale = float(np.max(np.abs(away)))
    if scale == 0.0:
        return mean, 0.0
    return mean, scale * math.sqrt(math.fsum(np.square(away / scale).tolist()) / finite.size)


def _count_numbers(numbers: NDArray[np.float64], edges: tuple[float, ...]) -> tuple[tuple[int, ...], int]:
    present = numbers[~np.isnan(numbers)]
    bin_of = np.searchsorted(np.asarray(edges), present, side="right")
    bin_of[present == edges[-1]] = len(edges) - 1  # the last inner bin is closed on both sides
    counts = np.bincount(bin_of, minlength=len(edges) + 1)
    return tuple(counts.tolist()), int(numbers.size - present.size)


def _count_categories(texts: list[str | None], categories: tuple[str, ...]) -> tuple[tuple[int, ...], int]:
    tally = Counter(texts)
    missing = tally.pop(None, 0)
    known = tuple(tally.get(name, 0) for name in categories)
    return (*known, len(texts) - missing - sum(known)), missing


def _numbers(column: NDArray[Any]) -> NDArray[np.float64] | None:
    """The column as float64 with NaN for missing, or None if it holds categories."""
    if column.dtype.kind in "iuf":
        return column.astype(np.float64)
    if column.dtype.kind == "O":
        if all(value is None or _is_number(value) for value in column):
            return np.array([math.nan if value is None else float(value) for value in column], dtype=np.float64)
        return None
    if column.dtype.kind in "bUT":
        return None
    raise SchemaError(
        f"expected numbers, booleans or texts; got {_sample(column)} of type {column.dtype}",
        cure="turn the column into a number (hour of the day, days since …) or leave it out",
    )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _texts(column: NDArray[Any]) -> list[str | None]:
    return [None if value is None or value != value else str(value) for value in column.tolist()]


def _sample(column: NDArray[Any]) -> str:
    return repr(column.tolist()[0]) if column.size else "an empty column"
