"""The high-water mark of each schedule: it outlives runs, so retention can never make a slot due again."""

from __future__ import annotations

from typing import Any

from headrace.runs.facts import RunCreated, SlotsReopened, SlotsSkipped, TriggerSuppressed
from headrace.runs.slot_key import slot_of
from headrace.store.sql.projector.work import Group, Work, disagreement, nothing

_MOVE = """
INSERT INTO schedules (pipeline, slug, last_us) VALUES (?, ?, ?)
ON CONFLICT (pipeline, slug) DO UPDATE SET last_us = excluded.last_us WHERE schedules.last_us < excluded.last_us
"""

_MOVE_BACK = "UPDATE schedules SET last_us = ? WHERE pipeline = ? AND slug = ? AND last_us = ? AND last_us > ?"


def slot_taken(work: Work, group: Group[Any], run: RunCreated) -> None:
    """A run with the key `schedule:<pipeline>:<slug>:<slot in microseconds>` uses up its slot."""
    try:
        slug, slot_us = slot_of(run.pipeline, run.key)
    except ValueError as error:
        raise disagreement(group, str(error)) from error
    work.change(_MOVE, [(run.pipeline, slug, slot_us)], group)


def slots_skipped(work: Work, group: Group[SlotsSkipped]) -> None:
    work.change(_MOVE, [(f.pipeline, f.slug, f.until_us) for f in group.facts], group)


def slots_reopened(work: Work, group: Group[SlotsReopened]) -> None:
    work.change(_MOVE_BACK, [(f.after_us, f.pipeline, f.slug, f.until_us, f.after_us) for f in group.facts], group)


CHANGES = {SlotsSkipped: slots_skipped, SlotsReopened: slots_reopened, TriggerSuppressed: nothing}
