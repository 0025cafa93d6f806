"""Cron against a minute-by-minute oracle that reads expressions by itself and knows zones only through zoneinfo."""

from __future__ import annotations

import pickle
from bisect import bisect_left, bisect_right
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import product
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.base.instants import iso, to_us
from headrace.errors import ProjectError
from headrace.triggers.cron import PRESETS, Cron

MINUTE = timedelta(minutes=1)
MINUTE_US = 60_000_000

# The days around both changes of 2024, and of 2011 in Samoa, which left out a whole day.
CHANGES = {
    "America/New_York": ("2024-03-10", "2024-11-03"),
    "America/Chicago": ("2024-03-10", "2024-11-03"),
    "Europe/London": ("2024-03-31", "2024-10-27"),
    "Europe/Brussels": ("2024-03-31", "2024-10-27"),
    "Australia/Lord_Howe": ("2024-04-07", "2024-10-06"),
    "Pacific/Apia": ("2011-12-30",),
    "UTC": ("2024-02-29",),
}
EXPRESSIONS = (
    "0 7-8 * * *",
    "20 */4 * * *",
    "0,15,30,45 6-22 * * *",
    "* 0-4 * * *",
    "*/7 * * * *",
    "0 * * * *",
    "0 */2 * * *",
    "*/15 1-2 * * *",
    "15 2 * * *",
    "0,30 1,2 * * *",
    "59 0-3 * * *",
    "45 0-23 * * *",
    "0 0 * * *",
    "0 12 * * 0",
    "30 1 1 * 7",
    "10 2 30 * *",
)


def expand(text: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for term in text.split(","):
        span, _, step = term.partition("/")
        first, _, last = ("*" if span == "*" else span).partition("-")
        start, end = (low, high) if first == "*" else (int(first), int(last or (high if step else first)))
        found.update(range(start, end + 1, int(step or 1)))
    return found


@cache
def walls(zone: str, day: str) -> tuple[tuple[int, datetime], ...]:
    """Each minute of the three days around `day`, with what the wall shows."""
    start = datetime.fromisoformat(day).replace(tzinfo=UTC) - timedelta(days=1)
    moments = [start + MINUTE * i for i in range(3 * 1440)]
    return tuple((to_us(m), m.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)) for m in moments)


@cache
def oracle(expr: str, zone: str, day: str) -> list[int]:
    """Debian's rules: fixed-time jobs follow the calendar and run just after a gap, others follow the wall."""
    minute, hour, dom, month, dow = expr.split()
    minutes, hours = expand(minute, 0, 59), expand(hour, 0, 23)
    days, months = expand(dom, 1, 31), expand(month, 1, 12)
    weekdays = {d % 7 for d in expand(dow, 0, 7)}
    both = dom.startswith("*") or dow.startswith("*")

    def matches(wall: datetime) -> bool:
        on_day, on_weekday = wall.day in days, wall.isoweekday() % 7 in weekdays
        day_fits = (on_day and on_weekday) if both else (on_day or on_weekday)
        return day_fits and wall.minute in minutes and wall.hour in hours and wall.month in months

    follows_wall = minute.startswith("*") or hour.startswith("*")
    found: list[int] = []
    shown = walls(zone, day)[0][1] - MINUTE
    for us, wall in walls(zone, day):
        if follows_wall:
            due = matches(wall)
        else:
            passed = [shown + MINUTE * (i + 1) for i in range((wall - shown) // MINUTE)]
            due = any(matches(w) for w in passed)
            shown = max(shown, wall)
        if due:
            found.append(us)
    return found


CASES = [(e, z, d) for (z, days), e in product(CHANGES.items(), EXPRESSIONS) for d in days]


@pytest.mark.parametrize(("expr", "zone", "day"), CASES)
def test_slots_equal_the_oracle_forwards_and_backwards(expr: str, zone: str, day: str) -> None:
    cron, expected = Cron(expr, zone), oracle(expr, zone, day)
    first, last = walls(zone, day)[0][0], walls(zone, day)[-1][0]
    forwards, us = [], first - 1
    while (us := cron.next_after(us)) <= last:
        forwards.append(us)
    backwards, us = [], last + 1
    while (us := cron.previous_before(us)) >= first:
        backwards.append(us)
    assert [iso(s) for s in forwards] == [iso(s) for s in expected]
    assert forwards == backwards[::-1]


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(CASES), st.integers(min_value=0, max_value=3 * 1440 * MINUTE_US - 1))
def test_a_restart_at_any_moment_finds_the_same_neighbours(case: tuple[str, str, str], shift_us: int) -> None:
    expr, zone, day = case
    cron, expected = Cron(expr, zone), oracle(expr, zone, day)
    us = walls(zone, day)[0][0] + shift_us
    after, before = bisect_right(expected, us), bisect_left(expected, us) - 1
    assert cron.previous_before(us) < us < cron.next_after(us)
    if after < len(expected):
        assert cron.next_after(us) == expected[after]
    if before >= 0:
        assert cron.previous_before(us) == expected[before]


@pytest.mark.parametrize(
    ("expr", "zone", "after", "slot"),
    [
        ("30 2 * * *", "America/New_York", "2024-03-10T05:00Z", "2024-03-10T07:00Z"),  # skipped: just after
        ("30 1 * * *", "America/New_York", "2024-11-03T05:30Z", "2024-11-04T06:30Z"),  # repeated: once
        ("0 2 * * *", "Australia/Lord_Howe", "2024-10-05T15:00Z", "2024-10-05T15:30Z"),  # a gap of 30 minutes
        ("0 */2 * * *", "Australia/Lord_Howe", "2024-04-06T15:15Z", "2024-04-06T15:30Z"),  # cronsim goes to 17:30
        ("0,45 1 * * *", "America/New_York", "2024-11-03T06:30Z", "2024-11-04T06:00Z"),  # cronsim goes back in time
        ("0 0 29 2 *", "UTC", "2096-03-01T00:00Z", "2104-02-29T00:00Z"),
        ("0 0 L * *", "UTC", "2024-02-01T00:00Z", "2024-02-29T00:00Z"),
        ("0 9 * * MON#1", "UTC", "2024-02-06T00:00Z", "2024-03-04T09:00Z"),
    ],
)
def test_the_next_slot(expr: str, zone: str, after: str, slot: str) -> None:
    assert iso(Cron(expr, zone).next_after(to_us(after))) == slot


@pytest.mark.parametrize(
    ("expr", "zone", "before", "slot"),
    [
        ("15,50 1 * * *", "America/New_York", "2024-11-03T06:20Z", "2024-11-03T05:50Z"),  # shown later, was due earlier
        ("30 2 * * *", "America/New_York", "2024-03-10T07:00Z", "2024-03-09T07:30Z"),  # due at the end of the gap
        ("50 */24 7 11 *", "America/Havana", "2027-11-07T05:20Z", "2027-11-07T04:50Z"),  # same offset a year before
    ],
)
def test_the_previous_slot(expr: str, zone: str, before: str, slot: str) -> None:
    assert iso(Cron(expr, zone).previous_before(to_us(before))) == slot


def test_a_rare_schedule_sees_the_repeated_hour_just_ahead() -> None:
    cron = Cron("*/30 1 3 11 *", "America/New_York")
    us, seen = to_us("2024-11-03T05:31Z"), []
    for _ in range(3):
        us = cron.next_after(us)
        seen.append(iso(us))
    assert seen == ["2024-11-03T06:00Z", "2024-11-03T06:30Z", "2025-11-03T06:00Z"]
    assert iso(cron.previous_before(to_us("2025-11-03T06:00Z"))) == "2024-11-03T06:30Z"


def test_presets_are_their_expressions() -> None:
    assert {name: Cron(name) for name in PRESETS} == {name: Cron(expr) for name, expr in PRESETS.items()}
    assert str(Cron(" 0  6 * * mon-fri ", "Europe/Brussels")) == "0 6 * * MON-FRI Europe/Brussels"


def test_a_schedule_is_a_value() -> None:
    cron = Cron("0 6 * * *", "Europe/Brussels")
    assert pickle.loads(pickle.dumps(cron)) == cron
    assert hash(cron) == hash(Cron("0 6 * * *", "Europe/Brussels"))
    assert cron != Cron("0 6 * * *", "Europe/London")


@pytest.mark.parametrize(
    ("expr", "says"),
    [
        ("@dialy", 'did you mean "@daily"?'),
        ("daily", 'did you mean "@daily"?'),
        ("", "it has 0 fields, not five"),
        ("0 6 * *", "it has 4 fields, not five"),
        ("*/5 * * * * *", 'write "every 10s"'),
        ("61 * * * *", "its minute is '61'"),
        ("0 24 * * *", "hour takes 0-23"),
        ("0 6 31 2 *", "its day-of-month is '31'"),
        ("0 6 * FOO *", "its month is 'FOO'"),
        ("0 6 * * 1-8", "its day-of-week is '1-8'"),
        ("*/0 * * * *", "its minute is '*/0'"),
    ],
)
def test_a_wrong_expression_is_told_what_is_wrong(expr: str, says: str) -> None:
    with pytest.raises(ProjectError) as error:
        Cron(expr)
    assert says in str(error.value)


@pytest.mark.parametrize("zone", ["Europe/Brusels", "Europe", "", "../etc/passwd"])
def test_an_unknown_zone_is_refused(zone: str) -> None:
    with pytest.raises(ProjectError, match="not a known time zone") as error:
        Cron("@daily", zone)
    assert zone != "Europe/Brusels" or 'did you mean "Europe/Brussels"?' in (error.value.cure or "")
