"""Tables: the engine alone numbers and publishes their versions, in the transaction that accepts the attempt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from headrace.base.facts import Fact
from headrace.data.facts import Part, TablePublished
from headrace.definitions.project import Updated
from headrace.errors import RefusedError
from headrace.runs import facts as f
from headrace.runs.creation import run_window
from headrace.runs.path import path_text
from headrace.runs.pool import Flight
from headrace.runs.rows import Restored

if TYPE_CHECKING:
    from headrace.runs.office import Office


class TableDesk:
    """The newest version of every table and the parts that it consists of."""

    heeds = (TablePublished,)

    def __init__(self) -> None:
        self.newest: dict[str, tuple[int, tuple[Part, ...]]] = {}

    def restore(self, rows: Restored) -> None:
        self.newest = dict(rows.tables)

    def apply(self, fact: Fact) -> None:
        # What another log has published may be heard of after what came later.
        if isinstance(fact, TablePublished) and fact.version_number > self.newest.get(fact.table, (0, ()))[0]:
            self.newest[fact.table] = (fact.version_number, fact.parts)

    def published(self, office: Office, run: str, flight: Flight, write: f.TableWrite) -> TablePublished:
        """The next version of the table, with what an accepted attempt wrote."""
        number, parts = self.newest.get(write.table, (0, ()))
        part = Part(write.path, write.rows, write.size_bytes, write.digest, write.window)
        parts = next_parts(parts, part, write.mode)
        return TablePublished(
            write.table,
            number + 1,
            parts,
            sum(p.rows for p in parts),
            run,
            flight.node,
            flight.item,
            flight.attempt,
            office.now_us,
            write.columns,
            path_text(flight.path),
        )

    def on_published(self, office: Office, table: str, version: int, paused: set[str]) -> Iterator[Fact]:
        """Runs of the pipelines that are triggered by this table: one per version."""
        for definition in office.project.pipelines.values():
            if not any(isinstance(t, Updated) and t.table == table for t in definition.triggers):
                continue
            key = f"updated:{definition.name}:{table}:{version}"
            try:
                window = run_window(definition, office.now_us)
            except RefusedError as error:
                yield f.TriggerSuppressed(definition.name, key, error.message, office.now_us)
                continue
            if definition.name in paused:
                yield f.TriggerSuppressed(definition.name, key, "the pipeline is paused", office.now_us)
                continue
            yield f.RunCreated(
                office.new_id(),
                definition.name,
                office.code,
                key,
                "updated",
                office.now_us,
                {},
                window,
                why=f"{table} version {version}",
                max_lost=office.max_lost,
            )


def next_parts(parts: tuple[Part, ...], new: Part, mode: str) -> tuple[Part, ...]:
    """The parts of the next version: the same window written again gives the same table.

    >>> a, b = Part("a", 1, 1, "", (0, 1)), Part("b", 1, 1, "", (1, 2))
    >>> [p.path for p in next_parts((a, b), Part("c", 1, 1, "", (0, 1)), "window")]
    ['b', 'c']
    """
    match mode:
        case "window":
            return (*(p for p in parts if p.window != new.window), new)
        case "key":
            return (*parts, new)  # readers keep the last row of each key
        case _:
            return (new,)
