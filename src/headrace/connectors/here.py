"""Data for scripts and notebooks: reads what is there now, and appends at once as a client among others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from headrace.connectors.access import StoreAccess
from headrace.connectors.holdings import Holdings
from headrace.errors import RefusedError
from headrace.ports import Store

if TYPE_CHECKING:
    import polars as pl

    from headrace.data.access import Attempt
    from headrace.data.events import OffsetRange
    from headrace.definitions.project import ModelDef, TableDef, TopicDef

CLIENTS = "clients"  # the log of everyone who has none


class HereAccess(StoreAccess):
    """Acts at once on the project's store. What only a run may publish is refused, with the cure."""

    def __init__(self, holdings: Holdings, store: Store) -> None:
        super().__init__(holdings)
        self._store = store

    def pin(self, _dataset: str, now: Callable[[], Any], /) -> Any:
        return now()

    def note(self, _kind: str, _name: str, _pin: Any, /) -> None:
        pass

    def append(self, topic: TopicDef, rows: pl.DataFrame | list[dict[str, Any]]) -> tuple[OffsetRange, ...]:
        """Append durably, now. Returns where the rows lie."""
        from headrace.connectors.appends import append

        self.holdings.check_partitions(topic)
        return append(self._store, CLIENTS, topic, rows, self.holdings.now_us())

    def write_table(self, table: TableDef, rows: pl.DataFrame) -> None:
        """A table with history grows at once; versions of others are published by runs alone: `RefusedError`."""
        if table.known is None:
            raise RefusedError(
                f"a version of the table {table.name!r} is published by a run, with the task that made it",
                cure=f"write it in a task: @hr.task(to={table.name}), and run the pipeline here with pipeline.run()",
                code="HR3044",
            )
        from headrace.connectors.appends import history_topic
        from headrace.connectors.tables import fit

        self.append(history_topic(table), fit(table, rows))

    def register(
        self,
        model: ModelDef,
        value: Any,
        *,
        fit: pl.DataFrame,
        test: pl.DataFrame,
        predict: Callable[[Any, pl.DataFrame], pl.Series],
    ) -> int:
        """Raises `RefusedError`: a version names the run that it came from."""
        del value, fit, test, predict
        raise RefusedError(
            f"a version of the model {model.name!r} is registered by a run, so that it can be traced",
            cure=f"call {model.name}.register(…) in a pipeline, and run it here with pipeline.run()",
            code="HR3044",
        )

    def attempt(self) -> Attempt | None:
        return None
