"""Thousands of schedules with crashes, each audited; and proof that what is interesting really happens in them."""

from __future__ import annotations

from collections import Counter

import pytest

from headrace.testing.simulator.simulation import simulate

BLOCKS = 6
SCHEDULES = 3_000
FAULTS_LEAST = 5 * SCHEDULES  # on average five per schedule
SEEN_LEAST = 12  # each interesting state, in all blocks together
STORY_LINES = 200

INTERESTING = (
    "an old engine was refused",
    "an engine came back",
    "a third engine took over",
    "an engine went on from its rows",
    "late report to the next engine",
    "report of a worker that was given up",
    "a writer read its head after an error",
    "a table was published by a run elsewhere",
    "the wall clock went back",
    "the wall clock went forward",
    "a running run was cancelled",
    "a row was given up after deaths",
    "an old stream process was refused",
    "AttemptLost",
    "AttemptReturned",
    "AttemptCancelled",
    "MapExpanded",
    "NodeSkipped",
    "ItemSkipped",
    "InputPinned",
    "RunRetried",
    "RunReady",
    "SlotsSkipped",
    "TriggerSuppressed",
    "TablePublished",
    "AliasMoved",
    "VersionRejected",
    "RetrainAsked",
    "WindowJudged",
    "BatchCommitted",
    "DeadLettered",
    "ShardDied",
)


@pytest.mark.parametrize("block", range(BLOCKS))
def test_no_schedule_breaks_a_promise(block: int, record_property: pytest.RecordProperty) -> None:
    saw: Counter[str] = Counter()
    schedules = faults = runs = 0
    for seed in range(block, SCHEDULES, BLOCKS):
        result = simulate(seed)
        assert not result.violations, "\n".join(result.report().splitlines()[-STORY_LINES:])
        saw += result.saw
        schedules, faults, runs = schedules + 1, faults + result.faults, runs + result.runs
    record_property("simulated", (schedules, faults, runs))
    print(f"simulated {schedules} schedules, {faults} faults, {runs} runs")
    assert schedules >= SCHEDULES // BLOCKS
    assert faults >= FAULTS_LEAST // BLOCKS
    tame = {state: saw[state] for state in INTERESTING if saw[state] < SEEN_LEAST // BLOCKS}
    assert not tame, f"these hardly happen: {tame}"


def test_a_seed_repeats_exactly() -> None:
    for seed in range(0, SCHEDULES, 100):
        assert simulate(seed).trace() == simulate(seed).trace(), f"seed {seed} told two stories"
