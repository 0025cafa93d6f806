"""The simulator finds each planted bug within 5,000 schedules; most within a few."""

from __future__ import annotations

from pathlib import Path

import pytest
from planted import PLANTS

from headrace.testing.simulator.campaign import PLANTED_MOST, catch

FOLDER = str(Path(__file__).parent)
AREAS = {
    "scheduling",
    "execution",
    "streams",
    "triggers",
    "requests",
    "retraining",
    "runs in process",
    "fencing",
    "retention",
}


@pytest.mark.parametrize("index", range(len(PLANTS)), ids=[plant.name for plant in PLANTS])
def test_the_simulator_finds_a_planted_bug(index: int, record_property: pytest.RecordProperty) -> None:
    found = catch(FOLDER, index)
    assert found.schedules, f"{found.name}: escaped {PLANTED_MOST} schedules"
    record_property("found after", found.schedules)


def test_planted_bugs_spread_over_all_areas() -> None:
    assert {plant.area for plant in PLANTS} == AREAS
    assert len(PLANTS) >= 20
