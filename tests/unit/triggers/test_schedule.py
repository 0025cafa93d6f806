from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.base.instants import iso, to_us
from headrace.data.window import Window
from headrace.errors import ProjectError
from headrace.triggers.backfill import backfill_windows
from headrace.triggers.cron import Cron
from headrace.triggers.interval import Interval
from headrace.triggers.schedule import Due, Skipped, due_slots, parse_schedule, previous, slots, window_of

START = to_us("2024-03-08")
DAYS_US = 4 * 86_400_000_000
SCHEDULES = st.sampled_from(
    [
        parse_schedule("every 10m"),
        parse_schedule("every 7h"),
        parse_schedule("0 6 * * 1-5", "Europe/Brussels"),
        parse_schedule("30 2 * * *", "America/New_York"),
        parse_schedule("20 */4 * * *", "America/Chicago"),
    ]
)
MOMENTS = st.integers(min_value=START, max_value=START + DAYS_US)


def test_text_becomes_a_schedule() -> None:
    assert parse_schedule("@daily") == Cron("0 0 * * *", "UTC")
    assert parse_schedule("0 6 * * 1-5", "Europe/Brussels") == Cron("0 6 * * 1-5", "Europe/Brussels")
    assert parse_schedule("every 10m") == parse_schedule(" Every  10m ") == Interval(timedelta(minutes=10))
    assert str(parse_schedule("every 90m")) == "every 1h30m"


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("10m", 'write "every 10m"'),
        ("every 10 minutes", 'did you mean "10m"?'),
        ("every", '"1h30m"'),
        ("every 0s", "stream"),
        ("every 500ms", "stream"),
        ("noon", "@daily"),
    ],
)
def test_what_is_no_schedule_is_refused_with_a_cure(text: str, cure: str) -> None:
    with pytest.raises(ProjectError) as error:
        parse_schedule(text)
    assert cure in (error.value.cure or "")


def test_an_interval_is_counted_from_the_epoch_and_not_from_its_start() -> None:
    ten = parse_schedule("every 10m")
    assert iso(ten.next_after(to_us("2013-03-01T05:03Z"))) == "2013-03-01T05:10Z"
    assert iso(ten.next_after(to_us("2013-03-01T05:10Z"))) == "2013-03-01T05:20Z"
    assert iso(previous(ten, to_us("2013-03-01T05:10Z"))) == "2013-03-01T05:00Z"
    assert ten.previous_before(0) == -600_000_000


@pytest.mark.parametrize("catchup", [True, False])
def test_a_slot_is_due_at_its_very_instant_and_once(catchup: bool) -> None:
    ten, slot = parse_schedule("every 10m"), to_us("2013-03-01T05:10Z")
    assert due_slots(ten, slot - 600_000_000, slot - 1, catchup) == Due()
    assert due_slots(ten, slot - 600_000_000, slot, catchup) == Due((slot,))
    assert due_slots(ten, slot, slot, catchup) == Due()


@settings(max_examples=100, deadline=None)
@given(SCHEDULES, MOMENTS, MOMENTS)
def test_due_slots_equal_naive_enumeration(schedule: Cron | Interval, last_us: int, now_us: int) -> None:
    naive = tuple(slots(schedule, last_us, now_us))
    assert list(naive) == sorted({s for s in naive if last_us < s <= now_us})
    assert due_slots(schedule, last_us, now_us, catchup=True) == Due(naive)
    newest = due_slots(schedule, last_us, now_us, catchup=False)
    assert newest.slots == naive[-1:]
    assert newest.skipped == (Skipped(naive[0], naive[-2]) if len(naive) > 1 else None)


@settings(max_examples=100, deadline=None)
@given(SCHEDULES, st.lists(MOMENTS, min_size=1, max_size=8), st.booleans())
def test_looking_often_or_seldom_misses_and_doubles_nothing(
    schedule: Cron | Interval, looks: list[int], catchup: bool
) -> None:
    accounted: list[int] = []
    last_us = START
    for now_us in looks:  # in any order: the clock may jump back
        due = due_slots(schedule, last_us, now_us, catchup)
        if due.skipped is not None:
            accounted += slots(schedule, due.skipped.first_us - 1, due.skipped.last_us)
        accounted += due.slots
        last_us = accounted[-1] if accounted else last_us
    assert accounted == list(slots(schedule, START, max(looks)))


@settings(max_examples=50, deadline=None)
@given(SCHEDULES, MOMENTS, st.integers(min_value=1, max_value=5))
def test_catching_up_in_portions_gives_every_slot_once(schedule: Cron | Interval, now_us: int, limit: int) -> None:
    caught: list[int] = []
    due = Due(more=True)
    while due.more:
        due = due_slots(schedule, caught[-1] if caught else START, now_us, catchup=True, limit=limit)
        assert len(due.slots) <= limit
        caught += due.slots
    assert caught == list(slots(schedule, START, now_us))


def test_ten_missed_years_of_minutes_are_found_from_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []
    forwards = Cron.next_after

    def counted(cron: Cron, us: int) -> int:
        steps.append(us)
        return forwards(cron, us)

    monkeypatch.setattr(Cron, "next_after", counted)
    cron = parse_schedule("* * * * *", "Europe/Brussels")
    due = due_slots(cron, to_us("2014-01-01"), to_us("2024-01-01T00:00:30Z"), catchup=False)
    assert [iso(s) for s in due.slots] == ["2024-01-01T00:00Z"]
    assert due.skipped == Skipped(to_us("2014-01-01T00:01Z"), to_us("2023-12-31T23:59Z"))
    assert len(steps) == 1


def test_a_window_ends_at_its_slot() -> None:
    daily = parse_schedule("@daily", "America/New_York")
    slot = to_us("2024-03-11T04:00Z")
    assert window_of(daily, slot) == Window("2024-03-10T05:00Z", "2024-03-11T04:00Z")  # a day of 23 hours
    assert window_of(daily, slot, "all") == Window("1970-01-01", "2024-03-11T04:00Z")
    assert window_of(daily, slot, "60d") == Window.ending("2024-03-11T04:00Z", "60d")
    assert window_of(daily, slot, timedelta(hours=1)).duration == timedelta(hours=1)


@settings(max_examples=100, deadline=None)
@given(SCHEDULES, MOMENTS, st.integers(min_value=1, max_value=DAYS_US))
def test_a_backfill_is_the_windows_that_lie_in_it(schedule: Cron | Interval, start_us: int, length_us: int) -> None:
    span = Window.of(start_us, start_us + length_us)
    windows = backfill_windows(schedule, span)
    naive = [window_of(schedule, s) for s in slots(schedule, start_us, span.end_us)]
    assert list(windows) == [w for w in naive if span.start <= w.start and w.end <= span.end]
    assert all(left.end == right.start for left, right in pairwise(windows))
