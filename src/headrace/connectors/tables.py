"""Versions of tables as Parquet files: written once by an attempt, read back as the parts of a version say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from headrace.base.near import near
from headrace.connectors.appends import history_topic
from headrace.connectors.blob import HIDDEN, OFFSET, PARTITION
from headrace.connectors.fitting import cast, first_lost, value_at
from headrace.connectors.holdings import Holdings, digest
from headrace.data.facts import Part
from headrace.data.schema import columns
from headrace.data.schema import polars as polars_schema
from headrace.definitions.project import TableDef
from headrace.errors import RefusedError, SchemaError
from headrace.host.failpoints import reach
from headrace.runs.facts import TableWrite

if TYPE_CHECKING:
    from headrace.connectors.log import Pins


def read_parts(holdings: Holdings, table: TableDef, parts: Sequence[Part]) -> pl.DataFrame:
    """The rows of a version: parts by window in the order of their windows, by key the last row of each key.

    Raises `CodecError` where a file is gone or damaged, `SchemaError` where a part does not fit the declared columns.
    """
    if table.mode == "window":
        parts = sorted(parts, key=lambda part: part.window or (0, 0))
    frames = [
        _as_declared(table, pl.read_parquet(holdings.verified(part), glob=False, hive_partitioning=False))
        for part in parts
    ]
    if not frames:
        return empty(table)
    same = all(frame.schema == frames[0].schema for frame in frames)
    rows = pl.concat(frames) if same else pl.concat(frames, how="diagonal_relaxed")
    if table.mode == "key" and table.key is not None:
        return rows.unique(table.key, keep="last", maintain_order=True)
    return rows


def read_history(holdings: Holdings, table: TableDef, pins: Pins, at_us: int | None) -> pl.DataFrame:
    """The rows of a table with history as they were known at `at_us` (None: all known), oldest first.

    With a key the newest row of each; without one every row.
    """
    topic = history_topic(table)
    rows = holdings.log.read_known(topic, None, None if at_us is None else at_us + 1, pins=pins)
    rows = rows.sort(topic.known or OFFSET, PARTITION, OFFSET).drop(HIDDEN)
    return rows if table.key is None else rows.unique(table.key, keep="last", maintain_order=True)


def empty(table: TableDef) -> pl.DataFrame:
    """No rows, with the declared columns."""
    return pl.DataFrame(schema=polars_schema(table.schema or {}))


def write_part(
    holdings: Holdings, table: TableDef, rows: pl.DataFrame, *, path: str, window: tuple[int, int] | None
) -> TableWrite:
    """Write the rows as one durable Parquet file at `path`; `window` is the run's.

    Raises `SchemaError` where the rows are not what the table declares, `RefusedError` where it is written by window
    and the run has none.
    """
    if table.mode == "window" and window is None:
        raise RefusedError(
            f"the table {table.name!r} is written by window, and this run has no window",
            cure='run the pipeline with one: pipeline.run(hr.Window("2013-01-01", "1d")), or give it a schedule',
            code="HR3040",
        )
    fitted = fit(table, rows)

    def fill(target: Path) -> None:
        fitted.write_parquet(target, compression="zstd")

    target = holdings.files.write(path, fill)
    reach("table.part_written")
    return TableWrite(
        table.name,
        table.mode,
        path,
        len(fitted),
        target.stat().st_size,
        digest(target),
        window if table.mode == "window" else None,
        _words(table, fitted),
    )


def fit(table: TableDef, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with exactly the declared columns, in that order; as they come where nothing is declared.

    Raises `SchemaError` (HR1230) that names the first column and row that do not fit.
    """
    if table.key is not None:
        _check_key(table, rows)
    if table.schema is None:
        return rows
    strangers = [name for name in rows.columns if name not in table.schema]
    missing = [name for name in table.schema if name not in rows.columns]
    if strangers or missing:
        what = (
            f"column {missing[0]!r} is missing"
            if missing
            else f"column {strangers[0]!r} is not declared{near(strangers[0], table.schema)}"
        )
        raise _misfit(table, f"{what}; the table has {', '.join(table.schema)}, the rows {', '.join(rows.columns)}")
    return pl.DataFrame([_cast(table, rows[name], word) for name, word in table.schema.items()])


def _cast(table: TableDef, column: pl.Series, word: str) -> pl.Series:
    out = cast(column, word)
    row = first_lost(column, out)
    if row is not None:
        raise _misfit(table, f"row {row}, column {column.name!r}: expected {word}, got {value_at(column, row)!r}")
    return out


def _check_key(table: TableDef, rows: pl.DataFrame) -> None:
    key = table.key or ""
    if key not in rows.columns:
        raise _misfit(table, f"the key {key!r} is not among the columns {', '.join(rows.columns)}")
    if rows[key].null_count():
        raise _misfit(table, f"{rows[key].null_count():,} of {len(rows):,} rows have no key {key!r}")


def _as_declared(table: TableDef, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows that were written under an older schema: new columns are null, dropped ones are gone."""
    if table.schema is None:
        return rows
    wanted = polars_schema(table.schema)
    if rows.schema == wanted:
        return rows
    height = len(rows)
    return pl.DataFrame(
        [
            _cast(table, rows[name], table.schema[name])
            if name in rows.columns
            else pl.Series(name, [None], dtype=dtype).new_from_index(0, height)
            for name, dtype in wanted.items()
        ]
    )


def _words(table: TableDef, rows: pl.DataFrame) -> dict[str, str]:
    if table.schema is not None:
        return dict(table.schema)
    return {name: _word(name, dtype) for name, dtype in rows.schema.items()}


def _word(name: str, dtype: pl.DataType) -> str:
    try:
        return columns({name: dtype}).types[name]
    except SchemaError:
        return str(dtype)  # a type without a word, in a table that declares nothing: shown as it is


def _misfit(table: TableDef, message: str) -> SchemaError:
    return SchemaError(
        message,
        where=f"table {table.name}",
        cure="make the rows what the table declares, or change its schema=; nothing was written",
        code="HR1230",
    )
