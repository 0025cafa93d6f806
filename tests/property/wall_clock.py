"""The slow, obvious reading of a cron expression: walk the clock minute by minute and look at the wall.

It shares nothing with `headrace.triggers`: expressions are drawn together with their meaning, zones are read through
`zoneinfo` alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAYS_BEFORE, DAYS_AFTER = 2, 1

ZONES = (
    "UTC",
    "America/New_York",
    "Europe/Brussels",
    "Europe/Dublin",  # winter is the exception there
    "Australia/Lord_Howe",  # half an hour
    "Pacific/Apia",  # 2011-12-30 does not exist
    "Pacific/Kwajalein",  # nor does 1993-08-21
    "Asia/Kathmandu",  # 5:45
    "Pacific/Chatham",  # 12:45
    "America/St_Johns",  # changes at one minute past midnight
    "America/Havana",  # at midnight: days that begin at one
    "Antarctica/Troll",  # two hours
    "Africa/Casablanca",  # back for a month
    "America/Caracas",
    "Asia/Pyongyang",
    "Africa/Monrovia",  # until 1972 half a minute beside the minute
)
BY_HALF_MINUTES = ("Africa/Monrovia",)


Field = tuple[str, frozenset[int]]
"""The text of a field and the numbers that it stands for."""


class Drawn:
    """An expression and what it means."""

    def __init__(self, minute: Field, hour: Field, day: Field, month: Field, weekday: Field) -> None:
        self.text = " ".join(text for text, _ in (minute, hour, day, month, weekday))
        self.minutes, self.hours, self.months, self.days = minute[1], hour[1], month[1], day[1]
        self.weekdays = {number % 7 for number in weekday[1]}  # Sunday is 0
        self.last_day = day[0] == "L"
        # With a `*` in front of the day or the weekday both must fit, else either.
        self.needs_both = day[0].startswith("*") or weekday[0].startswith("*")
        self.is_fixed = not minute[0].startswith("*") and not hour[0].startswith("*")

    def __repr__(self) -> str:
        return f"<{self.text}>"

    def fits(self, wall: datetime) -> bool:
        return (
            wall.minute in self.minutes
            and wall.hour in self.hours
            and wall.month in self.months
            and self._is_its_day(wall.date())
        )

    def _is_its_day(self, day: date) -> bool:
        on_day = day.day in self.days or (self.last_day and (day + DAY).month != day.month)
        on_weekday = day.isoweekday() % 7 in self.weekdays
        return (on_day and on_weekday) if self.needs_both else (on_day or on_weekday)


@st.composite
def terms(draw: st.DrawFn, low: int, high: int, most: int | None = None) -> Field:
    """One term of a field: `*`, `*/n`, `a`, `a-b`, `a-b/n`, `a/n`, with the numbers that it stands for.

    The numbers that are written are at most `most`.
    """
    most = high if most is None else most
    step = draw(st.sampled_from((1, 1, 2, 3, 5, 7, 15, 30)))
    tail = "" if step == 1 else f"/{step}"
    match draw(st.sampled_from("*aaar/")):
        case "*":
            return f"*{tail}", frozenset(range(low, high + 1, step))
        case "a":
            number = draw(st.integers(low, most))
            return str(number), frozenset((number,))
        case "r":
            first = draw(st.integers(low, most))
            last = draw(st.integers(first, most))
            return f"{first}-{last}{tail}", frozenset(range(first, last + 1, step))
        case _:
            first = draw(st.integers(low, most))
            step = max(step, 2)
            return f"{first}/{step}", frozenset(range(first, high + 1, step))


@st.composite
def fields(draw: st.DrawFn, low: int, high: int) -> Field:
    some = draw(st.lists(terms(low, high), min_size=1, max_size=3))
    return ",".join(text for text, _ in some), frozenset().union(*(numbers for _, numbers in some))


ANY_DAY = st.just(("*", frozenset(range(1, 32))))
ANY_MONTH = st.just(("*", frozenset(range(1, 13))))
ANY_WEEKDAY = st.just(("*", frozenset(range(7))))


def expressions() -> st.SearchStrategy[Drawn]:
    """Random expressions; most are due on most days, so that slots lie close to where the clocks change."""
    drawn = st.tuples(
        fields(0, 59),
        fields(0, 23) | terms(0, 23, most=3),
        ANY_DAY | ANY_DAY | st.just(("L", frozenset[int]())) | fields(1, 31),
        ANY_MONTH | ANY_MONTH | ANY_MONTH | fields(1, 12),
        ANY_WEEKDAY | ANY_WEEKDAY | fields(0, 7),
    )
    return drawn.map(lambda five: Drawn(*five))


@st.composite
def places(draw: st.DrawFn) -> tuple[str, date]:
    """A zone and a day: one on which its clocks change, where it has one in that year."""
    zone = draw(st.sampled_from(ZONES))
    year = draw(st.integers(1972, 2037) | st.sampled_from((1972, 1993, 2007, 2011, 2015, 2016, 2018, 2024)))
    days = changes(zone, year) or (date(year, 6, 1),)
    return zone, draw(st.sampled_from(days))


@cache
def changes(zone: str, year: int) -> tuple[date, ...]:
    """The days of a year on which the zone's offset is another at the end than at the start."""
    noons = [datetime(year, 1, 1, tzinfo=UTC) + DAY * i for i in range(365)]
    offsets = [noon.astimezone(ZoneInfo(zone)).utcoffset() for noon in noons]
    return tuple(noon.date() for noon, at, then in zip(noons, offsets, offsets[1:], strict=False) if at != then)


@dataclass(frozen=True)
class Span:
    """A few days in a zone: each instant at which the wall shows a whole minute, or has just jumped."""

    first_us: int
    last_us: int
    moments: tuple[tuple[int, datetime], ...]


@cache
def span(zone: str, day: date) -> Span:
    start = datetime(day.year, day.month, day.day, tzinfo=UTC) - DAYS_BEFORE * DAY
    step = timedelta(seconds=30) if zone in BY_HALF_MINUTES and day.year < 1973 else MINUTE
    n = (DAYS_BEFORE + DAYS_AFTER + 1) * DAY // step
    moments: list[tuple[int, datetime]] = []
    before: datetime | None = None
    for moment in (start + step * i for i in range(n)):
        wall = moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)
        if wall.second == 0 or (before is not None and wall - before != step):
            moments.append(((moment - EPOCH) // timedelta(microseconds=1), wall))
        before = wall
    return Span(moments[0][0], moments[-1][0], tuple(moments))


def slots(drawn: Drawn, days: Span) -> list[int]:
    """Every slot in the span after its first day, which only tells what the wall has shown before."""
    found = _fixed(drawn, days) if drawn.is_fixed else [us for us, wall in days.moments if _shows(drawn, wall)]
    begin_us = days.first_us + DAY // timedelta(microseconds=1)
    return [us for us in found if us >= begin_us]


def _shows(drawn: Drawn, wall: datetime) -> bool:
    return wall.second == 0 and drawn.fits(wall)


def _fixed(drawn: Drawn, days: Span) -> list[int]:
    """A time is due at the first moment at which the wall shows it or, where it jumps over it, a later one."""
    found: list[int] = []
    passed = days.moments[0][1] - MINUTE
    for us, wall in days.moments:
        due = False
        while passed + MINUTE <= wall:
            passed += MINUTE
            due = due or drawn.fits(passed)
        if due:
            found.append(us)
    return found
