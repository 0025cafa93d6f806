"""Tables: the engine alone numbers and publishes their versions, in the transaction that accepts the attempt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from headrace.base.facts import Fact
from headrace.base.instants import iso
from headrace.data.facts import Part, TablePublished
from headrace.definitions.project import Updated
from headrace.errors import RefusedError
from headrace.runs import facts as f
from headrace.runs.active import Active
from headrace.runs.creation import reached
from headrace.runs.firing import Firing, fire
from headrace.runs.path import path_text
from headrace.runs.pool import Flight
from headrace.runs.rows import Restored
from headrace.runs.training import ModelDesk

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
        part = Part(write.path, write.rows, write.size_bytes, write.digest, write.window, run)
        before, parts = parts, next_parts(parts, part, write.mode)
        replaced = {p.run for p in before if p not in parts} - {run, ""}
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
            tuple(sorted(replaced)),
        )

    def unfit(self, active: Active, writes: Iterable[f.TableWrite]) -> RefusedError | None:
        """Why one of these cannot become a part of its table, or None."""
        for write in writes:
            if write.mode == "window" and write.window is not None:
                if (other := active.replaced_by.get(write.table)) is not None:
                    return _overtaken(write.table, active.run, other)
                _, parts = self.newest.get(write.table, (0, ()))
                others = (p.window for p in parts if p.run != active.run and p.window is not None)
                cut = next((window for window in others if _cuts(write.window, window)), None)
                if cut is not None:
                    return _overlap(write.table, write.window, cut)
        return None

    def on_published(
        self,
        office: Office,
        table: str,
        version: int,
        paused: set[str],
        watermarks: dict[str, int],
        models: ModelDesk,
    ) -> Iterator[Fact]:
        """What the pipelines do that are triggered by this table: one run or suppression per version."""
        for definition in office.project.pipelines.values():
            if not any(isinstance(t, Updated) and t.table == table for t in definition.triggers):
                continue
            key = f"updated:{definition.name}:{table}:{version}"
            if definition.name in paused:
                yield f.TriggerSuppressed(definition.name, key, "the pipeline is paused", office.now_us)
                continue
            about_us = reached(definition, watermarks, office.now_us)
            yield from fire(office, definition, Firing("updated", key, about_us, f"{table} version {version}"), models)


def next_parts(parts: tuple[Part, ...], new: Part, mode: str) -> tuple[Part, ...]:
    """The parts of the next version: a window written again gives the same table.

    By window a part replaces those of other runs that lie within its window; what one run writes, as the items of a
    map do, stands together.

    >>> a, b = Part("a", 1, 1, "", (0, 1), "r1"), Part("b", 1, 1, "", (1, 2), "r2")
    >>> [p.path for p in next_parts((a, b), Part("c", 1, 1, "", (0, 1), "r3"), "window")]
    ['b', 'c']
    >>> [p.path for p in next_parts((a, b), Part("c", 1, 1, "", (0, 1), "r1"), "window")]
    ['a', 'b', 'c']
    """
    match mode:
        case "window":
            return (*(p for p in parts if p.run == new.run or not _is_within(p.window, new.window)), new)
        case "key":
            return (*parts, new)  # readers keep the last row of each key
        case _:
            return (new,)


def _is_within(part: tuple[int, int] | None, window: tuple[int, int] | None) -> bool:
    return part is not None and window is not None and window[0] <= part[0] and part[1] <= window[1]


def _cuts(window: tuple[int, int], part: tuple[int, int]) -> bool:
    """Whether `window` covers some of the part and not all of it: rows have no times that could tell which."""
    return window[0] < part[1] and part[0] < window[1] and not _is_within(part, window)


def _overtaken(table: str, run: str, other: str) -> RefusedError:
    """What one run writes stands together: with the rest of it gone, a part would stand for the whole window."""
    return RefusedError(
        f"run {other} has replaced in the table {table!r} what run {run} had written of its window so far",
        cure="the table holds what that run writes; to have this one's rows, run it again when the other has ended",
        code="HR3046",
    )


def _overlap(table: str, window: tuple[int, int], part: tuple[int, int]) -> RefusedError:
    new, old = (f"{iso(start)} to {iso(end)}" for start, end in (window, part))
    return RefusedError(
        f"the table {table!r} has the window {old}, of which {new} would replace only a piece",
        cure="run with the windows of before or with one that covers them, or declare the table without by=",
        code="HR3045",
    )
