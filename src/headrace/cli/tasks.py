"""The tasks of a run as lines: one per task, maps summed up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from headrace.cli.here import Here
from headrace.cli.words import local
from headrace.definitions.nodes import Graph
from headrace.errors import ProjectError
from headrace.runs.extent import Extent

if TYPE_CHECKING:
    from headrace.definitions.project import PipelineDef
    from headrace.store.sql.reads.runs import CellRow, ItemRow, RunRow, ScopeRow

COUNTS = ("running", "succeeded", "failed", "skipped", "cancelled")
UNFINISHED = ("pending", "returned", "running", "waiting_retry", "failed", "lost")


def definition_in(here: Here, code: str, pipeline: str) -> PipelineDef | None:
    """The pipeline as that code version has it; as the files say now where it was not deployed (`headrace run`)."""
    from headrace.definitions import project as definitions
    from headrace.runs.state import definition_of
    from headrace.store.sql.reads.project import code as code_row

    row = code_row(here.db, code)
    if row is not None:
        return definition_of(definitions.decode(row.project), pipeline)
    try:
        return here.project.pipelines.get(pipeline)
    except ProjectError:  # only the order of the tasks would come from it
        return None


def graph_of(here: Here, run: RunRow) -> Graph:
    """The graph that the run goes through."""
    found = definition_in(here, run.code, run.pipeline)
    return Graph(()) if found is None else found.graph


def task_rows(
    graph: Graph, cells: Sequence[CellRow], scopes: Sequence[ScopeRow], *, is_over: bool
) -> list[dict[str, Any]]:
    """Per task its state, its counts over all paths and why it was skipped, in the order of the graph. `is_over`: its run
    has ended, and of no task anything is to come.
    """
    extent = Extent(graph, cells, scopes)
    open_ = set() if is_over else {node.name for node in graph.nodes if not extent.has_ended(node.name)}
    names = list(dict.fromkeys([*(node.name for node in graph.nodes), *(cell.node for cell in cells)]))
    rows: list[dict[str, Any]] = []
    for name in names:
        own = [cell for cell in cells if cell.node == name]
        counts = {what: sum(getattr(cell, what) for cell in own) for what in COUNTS}
        why = next((cell.why for cell in own if cell.why), None)
        is_skipped = bool(own) and all(cell.is_skipped for cell in own)
        rows.append({"task": name, "state": _state(counts, is_skipped, name in open_), **counts, "why": why})
    return rows


def unfinished_items(here: Here, run: str, cells: Sequence[CellRow], *, limit: int = 20) -> list[ItemRow]:
    """Items that have not succeeded, of tasks that have any: at most `limit` per task."""
    from headrace.store.sql.reads import runs

    names = dict.fromkeys(cell.node for cell in cells)
    return [item for name in names for item in runs.items(here.db, run, name, states=UNFINISHED, limit=limit)]


def dropped(here: Here, run: RunRow) -> str | None:
    """That the details of a run are gone, and why; None where they are there."""
    if run.dropped_us is None:
        return None
    return f"dropped on {local(run.dropped_us)} (retention {here.settings.retention})"


def _state(counts: dict[str, int], is_skipped: bool, is_open: bool) -> str:
    if counts["running"]:
        return "running"
    if is_open:
        return "waiting"
    if counts["failed"]:
        return "failed"
    if counts["cancelled"]:
        return "cancelled"
    if counts["succeeded"]:
        return "succeeded"
    return "skipped" if is_skipped or counts["skipped"] else "waiting"
