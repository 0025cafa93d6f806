"""The high-water mark of each schedule: it outlives runs, so retention can never make a slot due again."""

from __future__ import annotations

from typing import Any

from headrace.runs.facts import RunCreated, SlotsSkipped, TriggerSuppressed
from headrace.store.sql.project.work import Group, Work, disagreement, nothing

_MOVE = """
INSERT INTO schedules (pipeline, slug, last_us) VALUES (?, ?, ?)
ON CONFLICT (pipeline, slug) DO UPDATE SET last_us = excluded.last_us WHERE schedules.last_us < excluded.last_us
"""


def slot_taken(work: Work, group: Group[Any], run: RunCreated) -> None:
    """A run with the key `schedule:<pipeline>:<slug>:<slot in microseconds>` uses up its slot."""
    slug, _, slot = run.key.removeprefix(f"schedule:{run.pipeline}:").rpartition(":")
    if not slug or not slot.lstrip("-").isdigit():
        raise disagreement(group, f"{run.key!r} is not schedule:{run.pipeline}:<slug>:<slot_us>")
    work.change(_MOVE, [(run.pipeline, slug, int(slot))], group)


def slots_skipped(work: Work, group: Group[SlotsSkipped]) -> None:
    work.change(_MOVE, [(f.pipeline, f.slug, f.until_us) for f in group.facts], group)


CHANGES = {SlotsSkipped: slots_skipped, TriggerSuppressed: nothing}
