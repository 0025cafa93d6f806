"""Ten thousand schedules with crashes, each audited; and proof that what is interesting really happens in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.testing.simulator import recipe as recipes
from headrace.testing.simulator.campaign import run_block
from headrace.testing.simulator.recipe import recipe_of
from headrace.testing.simulator.shrink import shrink
from headrace.testing.simulator.simulation import simulate
from headrace.testing.simulator.story import tell

SCHEDULES = 10_000
CHUNKS = 20  # spread over the test processes
FAULTS_LEAST = 8  # on average, per schedule
SHARE_LEAST = 0.004  # of the schedules of a chunk in which each interesting state occurs
SHRINK_S = 30.0
CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.json"))

INTERESTING = (
    "an old engine was refused",
    "an engine came back",
    "a third engine took over",
    "two engines were given the right",
    "a host died with its workers",
    "an engine went on from its rows",
    "late report to the next engine",
    "report of a worker that was given up",
    "a client did not learn what became of its append",
    "a run elsewhere came to its end",
    "a run elsewhere was closed for its dead process",
    "a dead run could not be closed at once",
    "the wall clock went back",
    "the wall clock went forward",
    "a running run was cancelled",
    "an attempt stopped when it was told",
    "attempts behind a long one went back",
    "a row was given up after deaths",
    "an old stream process was refused",
    "a stream process came back",
    "a stream process tried its store again",
    "several shards went through one call",
    "a shard was held and tried again",
    "AttemptLost",
    "AttemptReturned",
    "AttemptCancelled",
    "MapExpanded",
    "NodeSkipped",
    "ItemSkipped",
    "InputPinned",
    "RunRetried",
    "a retry left failures that are forgiven",
    "RunReady",
    "SlotsSkipped",
    "TriggerFired",
    "TriggerSuppressed",
    "TablePublished",
    "AliasMoved",
    "VersionRejected",
    "RetrainAsked",
    "WindowJudged",
    "BatchCommitted",
    "DeadLettered",
    "ShardDied",
    "DetailsDropped",
    "FilesDropped",
    "files were deleted again after a crash",
)


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_no_schedule_breaks_a_promise(chunk: int, record_property: pytest.RecordProperty) -> None:
    size = SCHEDULES // CHUNKS
    found = run_block(chunk * size, (chunk + 1) * size)
    for seed, broken in found.broken:
        small = shrink(recipe_of(seed), seconds=SHRINK_S)
        pytest.fail(f"seed {seed} broke {broken}\n{tell(simulate(small))}\nall: {found.broken}")
    record_property("simulated", (found.schedules, found.faults, found.runs))
    assert found.schedules == size
    assert found.faults >= FAULTS_LEAST * size
    tame = {state: found.saw.get(state, 0) for state in INTERESTING if found.saw.get(state, 0) < SHARE_LEAST * size}
    assert not tame, f"these hardly happen: {tame}"


@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.stem)
def test_a_bug_of_the_past_does_not_come_back(file: Path) -> None:
    result = simulate(recipes.decode(file.read_bytes()))
    assert not result.violations, tell(result)


def test_a_seed_repeats_exactly() -> None:
    for seed in range(0, SCHEDULES, 100):
        assert simulate(seed).trace() == simulate(seed).trace(), f"seed {seed} told two stories"
