"""The rows are a function of the facts: random histories of real engines and shards, told again in any portions."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from depth import DEPTH, examples
from hypothesis import given
from hypothesis import strategies as st
from told import check_told
from told_again import History, Told, differences, listening, tell

from headrace.errors import StoreError
from headrace.testing.simulator.simulation import simulate

SEEDS = 8 * max(DEPTH, 1)
KINDS_LEAST = 20


def history(seed: int) -> History:
    with listening() as heard:
        simulate(seed)
    assert heard.facts
    return heard


def cut(facts: list[Told], rng: random.Random) -> list[list[Told]]:
    """The same facts in the same order, in portions of any size, across the commits they came in."""
    size = rng.choice((1, 2, 5, 50, 1_000_000))
    portions: list[list[Told]] = []
    at = 0
    while at < len(facts):
        n = rng.randint(1, size)
        portions.append(facts[at : at + n])
        at += n
    return portions


@examples(4)
@given(st.integers(0, 1_000_000), st.randoms(use_true_random=False))
def test_facts_told_again_in_any_portions_give_the_same_rows(seed: int, rng: random.Random) -> None:
    heard = history(seed)
    assert differences(tell(heard.asked, heard.commits), heard.rows) == {}
    assert differences(tell(heard.asked, cut(heard.facts, rng)), heard.rows) == {}


def test_enough_kinds_of_facts_are_told() -> None:
    kinds: Counter[str] = Counter()
    for seed in range(SEEDS):
        heard = history(seed)
        kinds.update({told.fact.kind for told in heard.facts})
        portions = cut(heard.facts, random.Random(seed))
        assert differences(tell(heard.asked, portions), heard.rows) == {}, f"seed {seed}"
    assert len(kinds) >= KINDS_LEAST, dict(kinds)


@examples(4)
@given(st.integers(0, 1_000), st.data())
def test_a_fact_told_twice_or_left_out_is_refused_or_seen(seed: int, data: st.DataObject) -> None:
    """No history can lose or double a fact and still end in the same rows: the seq of its log counts them."""
    heard = history(seed)
    at = data.draw(st.integers(0, len(heard.facts) - 1))
    again = heard.facts[:at] + ([heard.facts[at]] * 2 if data.draw(st.booleans()) else []) + heard.facts[at + 1 :]
    try:
        rows = tell(heard.asked, [[told] for told in again])
    except StoreError as error:
        check_told(error, "HR4060", "HR4061", "HR3100")
        return
    assert rows["logs"] != heard.rows["logs"]


@pytest.mark.parametrize("seed", [0, 1])
def test_the_ear_hears_every_commit(seed: int) -> None:
    heard = history(seed)
    assert len(heard.rows["facts"]) == len(heard.facts)
    assert sum(len(rows) for rows in heard.rows.values()) > 20
