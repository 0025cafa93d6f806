"""Slots, windows and catch-up of random schedules, against a walk over the clock minute by minute."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from datetime import date
from itertools import pairwise

import pytest
import wall_clock
from depth import examples
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from told import check_told
from wall_clock import Drawn, expressions, places

from headrace.base.durations import micros
from headrace.base.instants import from_us, iso
from headrace.data.window import Window
from headrace.errors import ProjectError
from headrace.triggers.backfill import backfill_windows
from headrace.triggers.cron import Cron
from headrace.triggers.schedule import due_slots, parse_schedule, window_of
from headrace.triggers.schedule import slots as slots_of

MINUTE_US = 60_000_000
DAY_US = 1_440 * MINUTE_US


def begin_us(days: wall_clock.Span) -> int:
    """From here on the oracle knows every slot."""
    return days.first_us + DAY_US


@examples(25)
@given(expressions(), places())
def test_slots_are_those_of_a_walk_over_the_wall(drawn: Drawn, place: tuple[str, date]) -> None:
    days = wall_clock.span(*place)
    expected = wall_clock.slots(drawn, days)
    cron = Cron(drawn.text, place[0])
    found = list(slots_of(cron, begin_us(days) - 1, days.last_us))
    assert [iso(us) for us in found] == [iso(us) for us in expected]
    backwards: list[int] = []
    us = days.last_us + 1
    while (us := cron.previous_before(us)) >= begin_us(days):
        backwards.append(us)
    assert backwards == expected[::-1]


@examples(15)
@given(expressions(), places(), st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_the_neighbours_of_any_instant_are_the_oracle_s(
    drawn: Drawn, place: tuple[str, date], shares: list[float]
) -> None:
    days = wall_clock.span(*place)
    expected = wall_clock.slots(drawn, days)
    cron = Cron(drawn.text, place[0])
    lowest_us = begin_us(days)
    instants = {lowest_us + int(share * (days.last_us - lowest_us)) for share in shares}
    instants |= {us + by for us in expected[:5] for by in (-1, 0, 1)}
    for us in instants:
        after, before = bisect_right(expected, us), bisect_left(expected, us) - 1
        assert cron.previous_before(us) < us < cron.next_after(us)
        if us >= lowest_us and after < len(expected):
            assert cron.next_after(us) == expected[after]
        if before >= 0:
            assert cron.previous_before(us) == expected[before]


@examples(15)
@given(expressions(), places(), st.data())
def test_the_windows_of_slots_tile_the_line(drawn: Drawn, place: tuple[str, date], data: st.DataObject) -> None:
    days = wall_clock.span(*place)
    expected = wall_clock.slots(drawn, days)
    assume(len(expected) > 2)
    cron = Cron(drawn.text, place[0])
    windows = [window_of(cron, us) for us in expected]
    assert all(left.end_us == right.start_us for left, right in pairwise(windows))
    assert [window.end_us for window in windows] == expected
    us = data.draw(st.integers(windows[0].start_us, windows[-1].end_us - 1))
    assert sum(window.contains(from_us(us)) for window in windows) == 1
    start_us = data.draw(st.integers(begin_us(days), days.last_us - 1))
    end_us = data.draw(st.integers(start_us + 1, days.last_us))
    inside = [(left, right) for left, right in pairwise(expected) if start_us <= left and right <= end_us]
    filled = backfill_windows(cron, Window.of(start_us, end_us))
    assert [(window.start_us, window.end_us) for window in filled] == inside


@examples(15)
@given(st.integers(1, 10_000), st.sampled_from(("s", "m", "h", "d")), st.integers(-(2**52), 2**52))
def test_an_interval_s_slots_are_the_multiples_of_it(n: int, unit: str, us: int) -> None:
    every_us = micros(f"{n}{unit}")
    schedule = parse_schedule(f"every {n}{unit}", "Pacific/Apia")
    slot = schedule.next_after(us)
    assert slot % every_us == 0
    assert us < slot <= us + every_us
    assert schedule.previous_before(slot) == slot - every_us
    assert window_of(schedule, slot) == Window.of(slot - every_us, slot)


CRONISH = st.lists(
    st.sampled_from([*"0123456789*/-,#L ", "MON", "sun", "JAN", "LW", "@", "daily", "?", "60", "-1", "\u0661", "²"]),
    max_size=14,
).map("".join)


@examples(150)
@given(CRONISH | st.text(max_size=12) | st.lists(CRONISH, min_size=5, max_size=5).map(" ".join), st.integers(0, 2**52))
def test_any_text_is_a_schedule_that_goes_on_or_an_error_with_a_cure(text: str, us: int) -> None:
    try:
        schedule = parse_schedule(text, "Europe/Brussels")
    except ProjectError as error:
        check_told(error, "HR1")
        return
    first = schedule.next_after(us)
    second = schedule.next_after(first)
    assert us < first < second
    assert schedule.previous_before(second) == first
    assert parse_schedule(str(schedule).removesuffix(" Europe/Brussels"), "Europe/Brussels") == schedule


@examples(50)
@given(st.text(max_size=20) | st.sampled_from(("Europe", "America/", "/etc/passwd", "..", "UTC\0", "posix", "\ud800")))
def test_any_zone_is_known_or_an_error_with_a_cure(zone: str) -> None:
    try:
        Cron("0 0 * * *", zone)
    except ProjectError as error:
        check_told(error, "HR1")


class Scheduling(RuleBasedStateMachine):
    """A scheduler that looks often or seldom, catches up in portions or not, restarts, and whose clock jumps.

    However it looks, each slot up to the last look has exactly one run or one place in a recorded range of skips.
    """

    @initialize(drawn=expressions(), place=places())
    def begin(self, drawn: Drawn, place: tuple[str, date]) -> None:
        days = wall_clock.span(*place)
        self.text, self.zone = drawn.text, place[0]
        self.schedule = parse_schedule(self.text, self.zone)
        self.slots = wall_clock.slots(drawn, days)
        self.now_us = self.furthest_us = self.last_us = begin_us(days) - 1
        self.end_us = days.last_us
        self.is_behind = False
        self.ran: list[int] = []
        self.skipped: list[int] = []

    @rule(minutes=st.integers(1, 3_000) | st.integers(1, 59), extra_us=st.integers(0, MINUTE_US - 1))
    def time_passes(self, minutes: int, extra_us: int) -> None:
        self.now_us = min(self.now_us + minutes * MINUTE_US + extra_us, self.end_us)

    @rule(minutes=st.integers(1, 600))
    def the_clock_jumps_back(self, minutes: int) -> None:
        self.now_us -= minutes * MINUTE_US

    @rule(limit=st.none() | st.integers(1, 7))
    def catches_up(self, limit: int | None) -> None:
        due = due_slots(self.schedule, self.last_us, self.now_us, True, limit=limit)
        assert due.skipped is None
        assert due.slots == tuple(us for us in self.slots if self.last_us < us <= self.now_us)[:limit]
        self._note(due.slots)
        self.is_behind = due.more
        if not due.more:
            self.furthest_us = max(self.furthest_us, self.now_us, self.last_us)

    @rule()
    def takes_the_newest(self) -> None:
        due = due_slots(self.schedule, self.last_us, self.now_us, False)
        if due.skipped is not None:
            first_us, last_us = due.skipped.first_us, due.skipped.last_us
            self.skipped += [us for us in self.slots if first_us <= us <= last_us]
            assert first_us in self.slots
            assert last_us in self.slots
            assert self.last_us < first_us <= last_us < due.slots[0]
        assert len(due.slots) <= 1
        assert not due.more
        self._note(due.slots)
        self.furthest_us = max(self.furthest_us, self.now_us, self.last_us)
        self.is_behind = False

    @rule()
    def restarts(self) -> None:
        self.schedule = parse_schedule(self.text, self.zone)

    def _note(self, slots: tuple[int, ...]) -> None:
        self.ran += slots
        self.last_us = slots[-1] if slots else self.last_us

    @invariant()
    def each_slot_has_one_run_or_one_skip(self) -> None:
        if not hasattr(self, "slots") or self.is_behind:
            return
        assert sorted(self.ran + self.skipped) == [us for us in self.slots if us <= self.furthest_us]
        assert self.ran == sorted(set(self.ran))


TestScheduling = Scheduling.TestCase
TestScheduling.settings = examples(15, steps=12)


@pytest.mark.parametrize(
    ("zone", "day", "changed_by_minutes"),
    [
        ("America/New_York", date(2024, 3, 10), 60),
        ("Australia/Lord_Howe", date(2024, 4, 6), -30),
        ("Pacific/Apia", date(2011, 12, 30), 1_440),
        ("Asia/Kathmandu", date(1985, 12, 31), 15),
        ("Africa/Monrovia", date(1972, 1, 7), 44),
    ],
)
def test_the_oracle_itself_sees_the_clocks_change(zone: str, day: date, changed_by_minutes: int) -> None:
    days = wall_clock.span(zone, day)
    jumps = [
        (wall - before_wall).total_seconds() - (us - before_us) / 1_000_000
        for (before_us, before_wall), (us, wall) in pairwise(days.moments)
    ]
    assert [int(jump / 60) for jump in jumps if jump] == [changed_by_minutes]


@pytest.mark.parametrize("text", ["23-23/2 * * * *", "05-5/3,9 4-4/1 * JAN-JAN/2 *", "0 0 * * 7-7/2"])
def test_a_range_of_one_number_is_that_number_whatever_its_step(text: str) -> None:
    plain = {"23-23/2": "23", "05-5/3,9": "5,9", "4-4/1": "4", "JAN-JAN/2": "1", "7-7/2": "0"}
    other = " ".join(plain.get(field, field) for field in text.split())
    year = (1_700_000_000_000_000, 1_700_000_000_000_000 + 400 * DAY_US)
    assert list(slots_of(Cron(text), *year)) == list(slots_of(Cron(other), *year))
