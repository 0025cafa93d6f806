"""Random values of every kind that a task may return."""

from __future__ import annotations

from datetime import UTC, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from polars.testing.parametric import dataframes, series

from headrace.data.window import Window

ZONES = st.sampled_from(
    [
        None,
        UTC,
        timezone(timedelta(hours=-3, minutes=-30)),
        timezone(timedelta(seconds=1, microseconds=1)),
        timezone(timedelta(hours=1), "CET"),
        timezone(timedelta(0), "GMT"),
        ZoneInfo("Europe/Oslo"),
        ZoneInfo("Australia/Lord_Howe"),
    ]
)
TEXTS = st.text(st.characters(), max_size=8)  # lone surrogates included
INTEGERS = st.integers() | st.sampled_from([2**53 + 1, 2**63, -(2**63) - 1, 2**64, 10**400, -(10**4_000)])

ATOMS: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    INTEGERS,
    st.floats(),
    TEXTS,
    st.binary(max_size=20),
    st.datetimes(timezones=ZONES, allow_imaginary=True),
    st.dates(),
    st.times(timezones=st.sampled_from([None, UTC, timezone(timedelta(hours=2)), timezone(timedelta(0), "GMT")])),
    st.timedeltas(),
    st.decimals(),
    st.sampled_from(["sNaN12", "-0E+7", "1.10", "1E+999999"]).map(__import__("decimal").Decimal),
    st.fractions(),
    st.uuids(),
    st.complex_numbers(),
    st.integers(-(10**15), 10**15).map(lambda us: Window.of(us, us + 1)),
    npst.arrays(npst.scalar_dtypes(), ()).map(lambda array: array[()]),
)
KEYS = TEXTS | st.integers() | st.booleans() | st.none() | st.just("$") | st.tuples(st.integers(), TEXTS) | st.dates()


def trees(leaves: st.SearchStrategy[Any], keys: st.SearchStrategy[Any] = KEYS) -> st.SearchStrategy[Any]:
    """Lists, tuples, dicts and sets of them, a few levels deep."""
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.lists(inner, max_size=4).map(tuple),
            st.dictionaries(keys, inner, max_size=4),
            st.sets(KEYS, max_size=4),
            st.frozensets(KEYS, max_size=3),
        ),
        max_leaves=10,
    )


@st.composite
def arrays(draw: st.DrawFn) -> Any:
    """Any dtype without objects, any shape down to none, any order: rows first, columns first, backwards, with gaps."""
    scalar = npst.scalar_dtypes() | npst.byte_string_dtypes(min_len=1) | npst.unicode_string_dtypes(min_len=1)
    fields = st.lists(st.tuples(st.sampled_from("abc"), scalar), min_size=1, max_size=3, unique_by=lambda f: f[0])
    dtype = draw(scalar | fields.map(np.dtype))
    array = draw(npst.arrays(dtype, npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)))
    match draw(st.sampled_from(("as it is", "columns first", "backwards", "gaps", "one value"))):
        case "columns first":
            return np.asfortranarray(array)
        case "backwards":
            return array[::-1] if array.ndim else array
        case "gaps":
            return array[..., ::2] if array.ndim else array
        case "one value":
            return np.broadcast_to(array, (2, *array.shape))
        case _:
            return array


FRAMES = dataframes(max_cols=4, max_size=6, allow_chunks=True)
SERIES = series(max_size=6, allow_chunks=True)
LAZY = dataframes(max_cols=3, max_size=4, lazy=True)
ZONED = st.lists(st.none() | st.datetimes(allow_imaginary=True), max_size=4).map(
    lambda moments: pl.DataFrame(
        {"at": pl.Series(moments, dtype=pl.Datetime("ns", "Australia/Lord_Howe"))}, strict=False
    )
)
BIG = st.one_of(FRAMES, SERIES, arrays())
