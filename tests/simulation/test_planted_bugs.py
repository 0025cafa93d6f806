"""The simulator finds each planted bug within 5,000 schedules; most within a few."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from planted import PLANTS, Plant

from headrace.testing.simulator.simulation import simulate

SCHEDULES_MOST = 5_000


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_the_simulator_finds_a_planted_bug(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, record_property: pytest.RecordProperty
) -> None:
    for seed in range(SCHEDULES_MOST):
        with monkeypatch.context() as patch:
            plant(patch)
            found = simulate(seed).violations
        if found and not simulate(seed).violations:
            record_property("found after", seed + 1)
            print(f"{plant.__name__}: found after {seed + 1} schedules by {found[0].number} ({found[0].promise})")
            return
    pytest.fail(f"{plant.__name__} escaped {SCHEDULES_MOST} schedules")
