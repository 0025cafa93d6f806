"""The slots of a schedule, worked out anew: minute by minute through a stretch of time, with the clocks of its zone.

Knows `every …` and cron expressions whose hour and minute are `*`, `*/n` or one number, the rest `*`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from headrace.definitions.project import Schedule

MINUTE_US = 60_000_000
_DAY_US = 86_400_000_000
_UNIT_US = {"s": 1_000_000, "m": MINUTE_US, "h": 3_600_000_000}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def is_known(schedule: Schedule) -> bool:
    words = schedule.expression.split()
    return words[0] == "every" or (len(words) == 5 and words[2:] == ["*", "*", "*"])


def slots(schedule: Schedule, after_us: int, until_us: int) -> list[int]:
    """The slots in (after, until]."""
    words = schedule.expression.split()
    if words[0] == "every":
        every_us = int(words[1][:-1]) * _UNIT_US[words[1][-1]]
        return list(range((after_us // every_us + 1) * every_us, until_us + 1, every_us))
    found: list[int] = []
    for day in range(after_us // _DAY_US, until_us // _DAY_US + 1):
        of_day = _of_day(words[0], words[1], schedule.timezone, day)
        found += of_day[bisect_right(of_day, after_us) : bisect_right(of_day, until_us)]
    return found


def is_slot(schedule: Schedule, us: int) -> bool:
    return slots(schedule, us - 1, us) == [us]


@lru_cache(maxsize=512)
def _of_day(minute: str, hour: str, zone: str, day: int) -> list[int]:
    """The slots of one UTC day."""
    if minute.startswith("*") or hour.startswith("*"):
        return _shown(minute, hour, ZoneInfo(zone), day)
    return _fixed(int(minute), int(hour), ZoneInfo(zone), day)


def _shown(minute: str, hour: str, zone: ZoneInfo, day: int) -> list[int]:
    """Whenever the wall shows it: twice in a repeated hour, never in a skipped one."""
    first = day * _DAY_US
    found: list[int] = []
    for us in range(first, first + _DAY_US, MINUTE_US):
        wall = _instant(us).astimezone(zone)
        if _matches(minute, wall.minute) and _matches(hour, wall.hour):
            found.append(us)
    return found


def _fixed(minute: int, hour: int, zone: ZoneInfo, day: int) -> list[int]:
    """Once a day by the wall: the first time in a repeated hour, just after the gap in a skipped one."""
    found: list[int] = []
    for near in (-1, 0, 1):
        date = (_EPOCH + timedelta(days=day + near)).date()
        wall = datetime(date.year, date.month, date.day, hour, minute, tzinfo=zone)
        us = _us(wall)
        if _instant(us).astimezone(zone).replace(tzinfo=None, fold=0) != wall.replace(tzinfo=None, fold=0):
            us = _end_of_gap(zone, us - 3 * 3_600_000_000, us + 3 * 3_600_000_000)
        found.append(us)
    found = sorted(set(found))
    return found[bisect_left(found, day * _DAY_US) : bisect_left(found, (day + 1) * _DAY_US)]


def _end_of_gap(zone: ZoneInfo, low_us: int, high_us: int) -> int:
    """The instant between the two at which the offset changes."""
    before = _instant(low_us).astimezone(zone).utcoffset()
    while high_us - low_us > 1:
        middle = (low_us + high_us) // 2
        if _instant(middle).astimezone(zone).utcoffset() == before:
            low_us = middle
        else:
            high_us = middle
    return high_us


def _matches(field: str, value: int) -> bool:
    if field == "*":
        return True
    return value % int(field[2:]) == 0 if field.startswith("*/") else value == int(field)


def _instant(us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=us)


def _us(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)
