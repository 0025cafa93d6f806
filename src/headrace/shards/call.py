"""Calling a stream's function in the form that its first parameter asks for: a frame, a series, or row by row."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import polars as pl

from headrace.definitions.project import StreamDef
from headrace.errors import SchemaError

CONCURRENT_CALLS = 64


class RowError(NamedTuple):
    """A row that raised, by its index in the batch."""

    row: int
    error: BaseException


class Called(NamedTuple):
    """The function's rows, and the input rows that raised (only where it is called row by row)."""

    rows: pl.DataFrame
    errors: tuple[RowError, ...] = ()


def call(
    definition: StreamDef,
    fn: Callable[..., Any],
    batch: pl.DataFrame,
    bound: Mapping[str, Any],
    *,
    kept: tuple[str, ...],
    holds: tuple[type[BaseException], ...],
) -> Called:
    """The function over the batch. What it raises passes through, but single rows that raise outside of `holds`.

    A series function gets the column that has the name of its parameter, else the rows as structs; the columns in
    `kept` (key and times of the source) are put beside what it gives. Raises `SchemaError` for another kind of result.
    """
    match definition.mode:
        case "series":
            return Called(_series(fn, batch, bound, kept))
        case "row":
            return _rows(fn, batch, bound, holds)
        case _:
            return Called(_frame(fn(batch, **bound), definition.name))


def _frame(result: object, name: str) -> pl.DataFrame:
    if isinstance(result, pl.LazyFrame):
        result = result.collect()
    if not isinstance(result, pl.DataFrame):
        raise SchemaError(
            f"the stream {name} gives a polars DataFrame, got {type(result).__name__}",
            where=f"stream {name}",
            cure="return a DataFrame with the output's columns",
            code="HR1213",
        )
    return result


def _series(
    fn: Callable[..., Any], batch: pl.DataFrame, bound: Mapping[str, Any], kept: tuple[str, ...]
) -> pl.DataFrame:
    first = next(iter(inspect.signature(fn).parameters))
    column = batch[first] if first in batch.columns else batch.to_struct("rows")
    result = fn(column, **bound)
    if not isinstance(result, pl.Series):
        raise SchemaError(
            f"a function of a series gives a series, got {type(result).__name__}",
            where=fn.__name__,
            cure="return a pl.Series as long as the one that came",
            code="HR1213",
        )
    own = result.struct.unnest() if isinstance(result.dtype, pl.Struct) else result.to_frame()
    beside = [batch[name] for name in kept if name not in own.columns]
    return own.hstack(beside) if len(own) == len(batch) else own


def _rows(
    fn: Callable[..., Any], batch: pl.DataFrame, bound: Mapping[str, Any], holds: tuple[type[BaseException], ...]
) -> Called:
    if inspect.iscoroutinefunction(fn):
        results = asyncio.run(_gathered(fn, batch, bound, holds))
    else:
        results = [_one(fn, row, bound, holds) for row in batch.iter_rows(named=True)]
    errors = tuple(RowError(at, found) for at, found in enumerate(results) if isinstance(found, BaseException))
    dicts: list[dict[str, Any]] = []
    for found in results:
        if isinstance(found, list):
            dicts.extend(cast("list[dict[str, Any]]", found))
        elif isinstance(found, Mapping):
            dicts.append(dict(cast("Mapping[str, Any]", found)))
    return Called(pl.DataFrame(dicts, infer_schema_length=None), errors)


def _one(
    fn: Callable[..., Any], row: dict[str, Any], bound: Mapping[str, Any], holds: tuple[type[BaseException], ...]
) -> Any:
    try:
        return fn(row, **bound)
    except holds:
        raise
    except BaseException as error:  # whatever the user's code lets out is about its row
        return error


async def _gathered(
    fn: Callable[..., Any], batch: pl.DataFrame, bound: Mapping[str, Any], holds: tuple[type[BaseException], ...]
) -> list[Any]:
    free = asyncio.Semaphore(CONCURRENT_CALLS)

    async def one(row: dict[str, Any]) -> Any:
        async with free:
            try:
                return await fn(row, **bound)
            except holds:
                raise
            except Exception as error:
                return error

    return list(await asyncio.gather(*(one(row) for row in batch.iter_rows(named=True))))
