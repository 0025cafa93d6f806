"""The end of a run that nobody goes on with, told from the outside: its machine is gone, or cannot be made of its rows."""

from __future__ import annotations

from headrace.base.facts import Fact
from headrace.runs.facts import AttemptLost, RunEnded
from headrace.runs.rows import OpenRun


def closing_facts(open_: OpenRun, state: str, why: str, now_us: int, *, by: str) -> tuple[Fact, ...]:
    """End a run from the outside, as `RunEnded.by` says: its running attempts are lost and not tried again."""
    lost = [
        AttemptLost(open_.run, x.node, x.path, x.item, x.attempt, x.epoch, now_us, why, ends=True, with_run=True)
        for x in open_.running
    ]
    return (*lost, RunEnded(open_.run, state, now_us, why, by=by))
