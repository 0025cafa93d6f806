"""What became of windows: those of a backfill, those that failed, and the slots of a schedule that were missed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from headrace.cli.here import Here, now_us
from headrace.definitions.project import PipelineDef, Schedule
from headrace.runs import window_reasons
from headrace.runs.reasons import Reason

if TYPE_CHECKING:
    from headrace.runs.rows import RunRow

MISSED_MOST = 10_000  # slots that are counted: nobody reads a larger number


def backfill_runs(here: Here, text: str) -> list[RunRow]:
    """The runs of the backfill of that id; none where there is no such backfill."""
    from headrace.store.sql.reads import runs, windows

    pipelines = {*here.project.pipelines, *runs.latest(here.db)}
    return [row for pipeline in sorted(pipelines) for row in windows.of_backfill(here.db, pipeline, text)]


def of_failed(here: Here, pipeline: str | None = None, *, told: set[str]) -> Iterator[Reason]:
    """One reason per pipeline, about the windows whose failed runs are not in `told`, until they have succeeded.

    Only where a window is an interval of its own: one that reaches back from its end is covered by the next run.
    """
    from headrace.store.sql.reads import windows

    found: dict[str, list[RunRow]] = {}
    for row in windows.failed_windows(here.db, pipeline):
        definition = here.project.pipelines.get(row.pipeline)
        is_interval = definition is not None and definition.window in (None, "slot") and definition.registers is None
        if is_interval and row.run not in told:
            found.setdefault(row.pipeline, []).append(row)
    for name, rows in found.items():
        yield window_reasons.of_failed(name, rows)


def missed(here: Here, pipeline: PipelineDef) -> int:
    """How many slots are due for which nothing has been done yet."""
    from headrace.store.sql.reads import windows
    from headrace.triggers.schedule import due_slots, parse_schedule, slots

    last, now = windows.last_slots(here.db, pipeline.name), now_us()
    n = 0
    for trigger in pipeline.triggers:
        if not isinstance(trigger, Schedule):
            continue
        schedule = parse_schedule(trigger.expression, trigger.timezone)
        start_us = trigger.start_us - 1 if trigger.catchup and trigger.start_us is not None else now
        last_us = last.get(trigger.slug, start_us)
        if trigger.catchup:
            n += sum(1 for _ in islice(slots(schedule, last_us, now), MISSED_MOST))
        else:
            n += len(due_slots(schedule, last_us, now, catchup=False).slots)
    return n
