"""The shard owner's step, fact by fact, without a store."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.streams import owner
from headrace.streams.facts import BatchCommitted, DeadLettered, ShardDied
from headrace.streams.owner import Dead, Hand, Outcome, Shard
from headrace.streams.sizing import MOST_ROWS

READING = Shard("score", 0, "events", "c1", n=3, offset=100)


def dead(offset: int) -> Dead:
    return Dead(offset, "error", "ValueError", "{}")


def test_a_shard_that_has_not_started_or_is_stopped_plans_nothing():
    assert owner.plan(Shard("score", 0, "events", "c1"), 10, 5) is None
    assert owner.plan(READING, 100, 5) is None
    assert owner.plan(owner.stopped(READING, "no", 0).shard, 200, 5) is None


def test_a_shard_that_is_held_rests_longer_each_time_and_at_most_a_minute():
    shard, rests = READING, []
    for _ in range(7):
        step = owner.retrying(shard, "timeout", 500)
        shard, (fact,) = step.shard, step.facts
        assert fact.until_us == 500 + owner.rest_us(shard)
        rests.append(owner.rest_us(shard) // 1_000_000)
    assert rests == [1, 2, 5, 15, 60, 60, 60]


def test_a_batch_takes_at_most_what_is_there():
    assert owner.plan(READING, 103, 50) == owner.Plan(3, 100, 103)
    assert owner.plan(READING, 900, 50) == owner.Plan(3, 100, 150)


def test_output_and_dead_letters_follow_the_record_of_their_batch():
    plan = owner.Plan(3, 100, 110)
    step = owner.ran(READING, plan, Outcome(8, 1, (dead(104),)), 7, 1)
    record, letter = step.facts
    assert isinstance(record, BatchCommitted)
    assert isinstance(letter, DeadLettered)
    assert (record.first, record.end, record.rows_in, record.watermark_us) == (100, 110, 10, 7)
    assert (letter.n, letter.offset) == (3, 104)
    assert (step.shard.n, step.shard.offset) == (4, 110)


def test_rows_that_are_not_accounted_for_are_refused():
    with pytest.raises(ValueError, match="10 rows in, 8 out, 1 filtered"):
        owner.ran(READING, owner.Plan(3, 100, 110), Outcome(8, 1), None, 1)


def test_a_watermark_never_falls():
    ahead = owner.progressed(READING, 50, 1).shard
    assert owner.progressed(ahead, 40, 1).facts == ()
    assert owner.ran(ahead, owner.Plan(3, 100, 101), Outcome(1, 0), 40, 1).shard.watermark_us == 50


def test_the_first_death_repeats_the_batch_and_the_second_cuts_it():
    once = owner.taken(READING, Hand(100, 164), 1)
    assert once.facts == (ShardDied("score", 0, 100, 1, 1),)
    assert owner.plan(once.shard, 1000, 512) == owner.Plan(3, 100, 164)
    again = Shard("score", 0, "events", "c1", n=3, offset=100, deaths=1)
    twice = owner.taken(again, Hand(100, 164, True), 1)
    assert owner.plan(twice.shard, 1000, 512) == owner.Plan(3, 100, 108)


def test_the_row_that_kills_twice_alone_is_given_up():
    again = Shard("score", 0, "events", "c1", n=3, offset=100, deaths=1)
    plan = owner.plan(owner.taken(again, Hand(100, 101, True), 1).shard, 1000, 512)
    assert plan == owner.Plan(3, 100, 101, is_given_up=True)


def test_a_death_with_nothing_in_hand_or_elsewhere_is_no_evidence():
    assert owner.taken(READING, None, 1).facts == ()
    assert owner.taken(READING, Hand(50, 60), 1).facts == ()


@given(st.integers(1, 3000), st.data())
def test_exceptions_find_the_one_bad_row_and_lose_no_other(rows, data):
    bad = data.draw(st.integers(0, rows - 1))
    shard, out, letters, runs = Shard("score", 0, "events", "c1", offset=0), [], [], 0
    while (plan := owner.plan(shard, rows, 1024)) is not None:
        runs += 1
        if plan.first <= bad < plan.end:
            step = owner.raised(shard, plan, dead(plan.first), None, 1)
        else:
            out.extend(range(plan.first, plan.end))
            step = owner.ran(shard, plan, Outcome(plan.rows, 0), None, 1)
        letters += [fact.offset for fact in step.facts if isinstance(fact, DeadLettered)]
        shard = step.shard
    assert letters == [bad]
    assert out == [row for row in range(rows) if row != bad]
    assert runs <= 30


@given(st.integers(1, 3000), st.data())
def test_deaths_find_the_one_row_that_kills_in_few_starts(rows, data):
    """What the rows keep of a shard, and what lies in its hand, are all that a new owner has."""
    bad = data.draw(st.integers(0, rows - 1))
    shard, hand, starts = Shard("score", 0, "events", "c1", offset=0), None, 0
    out: list[int] = []
    letters: list[int] = []
    while shard.offset < rows:
        starts += 1
        assert starts < 15
        kept = Shard("score", 0, "events", "c1", n=shard.n, offset=shard.offset, deaths=shard.deaths)
        shard = owner.taken(kept, hand, 1).shard
        hand = None
        while (plan := owner.plan(shard, rows, 1024)) is not None:
            if plan.is_given_up:
                step = owner.ran(shard, plan, Outcome(0, 0, (dead(plan.first),)), None, 1)
                letters += [plan.first]
            elif plan.first <= bad < plan.end:
                hand = Hand(plan.first, plan.end, shard.suspect_end is not None)
                break
            else:
                out.extend(range(plan.first, plan.end))
                step = owner.ran(shard, plan, Outcome(plan.rows, 0), None, 1)
            shard = step.shard
    assert letters == [bad]
    assert out == [row for row in range(rows) if row != bad]


def test_more_than_a_twentieth_dead_stops_the_shard_in_the_same_commit():
    shard = READING
    plan = owner.Plan(3, 100, 200)
    step = owner.ran(shard, plan, Outcome(49, 0, tuple(dead(100 + i) for i in range(51))), None, 1)
    assert step.shard.is_stopped
    assert step.facts[-1].why.startswith("51 of 100 rows are dead letters, more than 5%")
    few = owner.ran(shard, plan, Outcome(50, 0, tuple(dead(100 + i) for i in range(50))), None, 1)
    assert not few.shard.is_stopped


def test_a_shard_that_had_stopped_is_on_trial_when_it_is_started_again():
    shard = owner.taken(replace(READING, is_stopped=True), None, 1).shard
    assert not shard.is_stopped
    four = owner.ran(
        shard, owner.Plan(3, 100, 110), Outcome(6, 0, tuple(dead(100 + i) for i in range(4))), None, 1
    ).shard
    assert not four.is_stopped
    fifth = owner.ran(four, owner.Plan(4, 110, 120), Outcome(9, 0, (dead(110),)), None, 1)
    assert fifth.shard.is_stopped
    assert fifth.facts[-1].why.startswith("5 of the first 20 rows since it had stopped are dead letters")
    mended = owner.ran(four, owner.Plan(4, 110, 1_110), Outcome(1_000, 0), None, 1).shard
    assert not mended.is_on_trial


def test_rows_that_have_killed_stay_cut_when_an_owner_dies_before_it_comes_to_them():
    sizes = []
    for deaths in range(1, 8):
        after = owner.taken(Shard("s", 0, "t", "c1", offset=5, deaths=deaths), None, 0)
        assert after.facts == ()
        planned = owner.plan(after.shard, 10_000, 4_000)
        assert planned is not None
        assert not planned.is_given_up
        sizes.append(planned.rows)
    assert sizes == [4_000, 128, 16, 2, 1, 1, 1]


def test_a_row_that_killed_alone_is_given_up_though_an_owner_died_elsewhere_since():
    after = owner.taken(Shard("s", 0, "t", "c1", offset=5, deaths=8), None, 0)
    assert owner.plan(after.shard, 10_000, 4_000) == owner.Plan(0, 5, 6, is_given_up=True)
    assert MOST_ROWS // owner.CUT_AFTER_DEATH ** (owner.ALONE_AFTER_DEATHS - 2) <= 1
