"""Tables: data with versions, written whole, by window, or by key."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, cast

from headrace.base.instants import to_us
from headrace.data import recording
from headrace.data.access import access
from headrace.data.names import checked_name
from headrace.data.reference import Reference
from headrace.data.schema import columns
from headrace.data.where import user_line
from headrace.definitions.project import TableDef
from headrace.errors import ProjectError

if TYPE_CHECKING:
    import polars as pl


class Table:
    """A table. It says once how it is written: whole (default), `by="window"` replaces the run's window, `key` upserts.

    With `known` (the column with the time from which a reader could have had a row) it keeps its history, so that it
    can be joined as of a time.

    >>> orders = Table("orders", key="order_id")
    """

    kind = "table"

    def __init__(
        self,
        name: str,
        *,
        schema: object = None,
        by: Literal["window"] | None = None,
        key: str | None = None,
        known: str | None = None,
    ) -> None:
        self.name: str = checked_name("table", name)
        self.where: str = user_line()
        if by not in (None, "window") or (by and key):
            raise ProjectError(
                f"the table {name!r} is written in one way, got by={by!r} and key={key!r}",
                where=self.where,
                cure='choose by="window" (replace the run\'s window), key="…" (upsert), or neither (whole)',
            )
        self.definition: TableDef = TableDef(
            name=name,
            schema=None if schema is None else columns(schema).types,
            mode="window" if by else "key" if key else "whole",
            key=key,
            known=known,
        )

    def read(self, *, version: int | None = None, at: datetime | str | None = None) -> pl.DataFrame:
        """The rows now, of a version, or as they were at a time. Inside a run the first read pins the version."""
        recording.act_now(f"{self.name}.read()", f"pass {self.name}.latest() to the task, or read inside it")
        return access().read_table(self.definition, version, None if at is None else to_us(at))

    def write(self, rows: pl.DataFrame) -> None:
        """Write in the table's own way: at once, or in a task with its acceptance. In a pipeline body: recorded."""
        recorder = recording.active.get()
        if recorder is not None:
            recorder.act("write", self, {"rows": rows})
            return
        access().write_table(self.definition, rows)

    def latest(self) -> pl.DataFrame:
        """A reference to the newest version: for a task's argument in a body, or for `bind=`."""
        return cast("Any", Reference(self, "latest"))

    def version(self, number: int) -> pl.DataFrame:
        """A reference to that version."""
        return cast("Any", Reference(self, "version", number))

    def at(self, time: datetime | str) -> pl.DataFrame:
        """A reference to the rows as they were known at `time`; a text without an offset is UTC."""
        return cast("Any", Reference(self, "at", to_us(time)))

    def __repr__(self) -> str:
        return f"Table({self.name!r})"
