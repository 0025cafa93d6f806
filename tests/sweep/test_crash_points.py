"""A failure at every boundary of every scenario: an error before it, an error after it, death; and two in a row."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from crashing import sweep
from crashing.faults import KINDS
from crashing.scenarios import SCENARIOS

PAIRS = 18  # of each scenario
CHOSEN = os.environ.get("CRASH_POINT", "")  # "map:17=death": this point alone, with all that is wrong there

Record = Callable[[str, object], None]


@pytest.fixture(scope="module", autouse=True)
def stage() -> Iterator[None]:
    with sweep.prepared():
        yield


if CHOSEN:

    def test_the_chosen_point() -> None:
        name, _, chosen = CHOSEN.partition(":")
        plan = {int(number): kind for number, _, kind in (one.partition("=") for one in chosen.split(","))}
        sweep.untouched(SCENARIOS[name])
        problems = sweep.point(SCENARIOS[name], plan)
        assert not problems, "\n".join(problems)

else:

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("name", SCENARIOS)
    def test_what_was_promised_is_kept_wherever_it_fails(name: str, kind: str, record_property: Record) -> None:
        _judge(sweep.sweep(SCENARIOS[name], kind), record_property)

    @pytest.mark.parametrize("name", SCENARIOS)
    def test_what_was_promised_is_kept_when_the_recovery_fails_too(name: str, record_property: Record) -> None:
        _judge(sweep.sweep_pairs(SCENARIOS[name], PAIRS), record_property)


def _judge(swept: sweep.Swept, record_property: Record) -> None:
    assert not swept.problems, "\n\n".join(swept.problems)
    record_property("crash points", (swept.points, swept.told_again))
