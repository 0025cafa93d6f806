"""Runs that stand in the queue of their pipeline: they are told apart from those at work by the engine's own rule."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from headrace.cli.here import Here
from headrace.cli.tasks import definition_in
from headrace.runs.lanes import Lanes
from headrace.runs.run_reasons import QUEUED, HeldBy

if TYPE_CHECKING:
    from headrace.definitions.project import PipelineDef
    from headrace.runs.rows import RunRow


@dataclass
class _Contender:
    """A row of a run, for the rule of who may begin."""

    run: str
    pipeline: str
    definition: PipelineDef
    has_started: bool
    number: int = 0


def held_by(here: Here, run: RunRow) -> HeldBy | None:
    """The runs that let this one not begin; None where it may."""
    return _queue(here, run.pipeline).get(run.run) if _may_be_held(run) else None


def as_told(here: Here, rows: Iterable[RunRow]) -> list[RunRow]:
    """The same rows, in the state `queued` where as many runs of their pipeline as may are at work before them."""
    queues: dict[str, dict[str, HeldBy]] = {}
    told: list[RunRow] = []
    for row in rows:
        if _may_be_held(row):
            if row.pipeline not in queues:
                queues[row.pipeline] = _queue(here, row.pipeline)
            row = msgspec.structs.replace(row, state=QUEUED) if row.run in queues[row.pipeline] else row
        told.append(row)
    return told


def _may_be_held(run: RunRow) -> bool:
    return run.state == "running" and run.started_us is None and run.cause != "here"


def _queue(here: Here, pipeline: str) -> dict[str, HeldBy]:
    """Run → what it waits for, of all that wait."""
    from headrace.store.sql.reads import runs

    lanes = Lanes()
    contenders: list[_Contender] = []
    rows = runs.contenders(here.db, pipeline)
    codes = {code: definition_in(here, code, pipeline) for code in {code for _, code, _ in rows}}
    for name, code, has_started in rows:
        if (definition := codes[code]) is not None:
            contenders.append(_Contender(name, pipeline, definition, has_started))
    for contender in contenders:
        lanes.enter(contender)
    held: dict[str, HeldBy] = {}
    for contender in contenders:
        most = contender.definition.max_active
        if not lanes.admit(contender) and most is not None:
            held[contender.run] = HeldBy(most, tuple(sorted(lanes.at_work(pipeline))))
    return held
