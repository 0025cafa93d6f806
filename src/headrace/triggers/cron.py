"""Cron schedules in a time zone, with Debian's rules for the days on which clocks change.

cronsim reads the expression and walks the calendar of naive wall times; zones are dealt with here, because cronsim
steps back in time when started in a repeated hour and misses slots where clocks move by 30 minutes (Lord Howe).
"""

from __future__ import annotations

import re
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from headrace.base.instants import from_us
from headrace.base.near import closest
from headrace.errors import ProjectError
from headrace.triggers.wall_time import (
    first_change,
    instant_of,
    last_change,
    latest_wall,
    offset_us,
    wall_of,
    zone_of,
)

PRESETS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}
_FIELDS = {
    "minute": "0-59",
    "hour": "0-23",
    "day-of-month": "1-31 or L",
    "month": "1-12 or JAN-DEC",
    "day-of-week": "0-7 or SUN-SAT",
}
_FORMS = f'write "every 10m", "minute hour day month weekday", e.g. "0 6 * * 1-5", or one of {", ".join(PRESETS)}'
_SINGLE = re.compile(r"\b0*(\w+)-0*\1/0*[1-9][0-9]*\b")
"""A range of one number with a step, such as `5-5/2`: cronsim would go on from there, as for `5/2`."""
_START = datetime(2000, 1, 1)  # noqa: DTZ001  any day will do: the calendar below is of naive wall times


@dataclass(frozen=True)
class Cron:
    """A five-field cron expression, or a preset, in an IANA time zone. Slots lie on whole minutes of the wall.

    A job at fixed times (neither minute nor hour starts with `*`) whose time is skipped by the clocks is due once, at
    the first instant after the gap; in a repeated hour it is due once, the first time. Any other job is due whenever
    the wall shows a matching minute: twice in a repeated hour, never in a skipped one. Day and weekday both restricted
    means either; with a `*` in front of one of them, both. Raises `ProjectError` for what is not a schedule.

    >>> from headrace.base.instants import iso, to_us
    >>> iso(Cron("30 2 * * *", "America/New_York").next_after(to_us("2024-03-10T05:00Z")))
    '2024-03-10T07:00Z'
    """

    expr: str
    tz: str = "UTC"
    _calendar: CronSim = field(init=False, repr=False, compare=False)
    _zone: ZoneInfo = field(init=False, repr=False, compare=False)
    _is_fixed: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        expr = _normal(self.expr)
        minute, hour = expr.split()[:2]
        object.__setattr__(self, "expr", expr)
        object.__setattr__(self, "_calendar", _calendar_of(expr))
        object.__setattr__(self, "_zone", zone_of(self.tz))
        object.__setattr__(self, "_is_fixed", not minute.startswith("*") and not hour.startswith("*"))

    def next_after(self, us: int) -> int:
        """The first slot strictly after that instant."""
        return self._fixed_after(us) if self._is_fixed else self._shown_from(us + 1)

    def previous_before(self, us: int) -> int:
        """The last slot strictly before that instant."""
        return self._fixed_before(us) if self._is_fixed else self._shown_before(us)

    def __str__(self) -> str:
        return f"{self.expr} {self.tz}"

    def _fixed_after(self, us: int) -> int:
        wall = wall_of(self._zone, us)
        while True:
            wall = self._wall_after(wall)
            slot = instant_of(self._zone, wall)
            if slot > us:  # not so in a repeated hour, whose times were due when they were shown first
                return slot

    def _fixed_before(self, us: int) -> int:
        wall = latest_wall(self._zone, us)
        while True:
            wall = self._wall_before(wall)
            slot = instant_of(self._zone, wall)
            if slot < us:  # not so for skipped times, which are due at the end of their gap
                return slot

    def _shown_from(self, us: int) -> int:
        """The first instant from `us` on at which the wall shows a match, one stretch of equal offset at a time."""
        while True:
            offset = offset_us(self._zone, us)
            wall = self._wall_after(from_us(us + offset - 1).replace(tzinfo=None))
            slot = us + _us(wall - from_us(us + offset).replace(tzinfo=None))
            change = first_change(self._zone, us, slot)
            if change is None:
                return slot
            us = change

    def _shown_before(self, us: int) -> int:
        while True:
            offset = offset_us(self._zone, us - 1)
            local = from_us(us + offset).replace(tzinfo=None)
            slot = us + _us(self._wall_before(local) - local)
            change = last_change(self._zone, slot, us - 1)
            if change is None:
                return slot
            us = change

    def _wall_after(self, wall: datetime) -> datetime:
        calendar = copy(self._calendar)
        calendar.dt = wall.replace(microsecond=0, fold=0)
        return next(calendar)

    def _wall_before(self, wall: datetime) -> datetime:
        calendar = copy(self._calendar)
        calendar.dt = wall.replace(microsecond=0, fold=0)
        calendar.tick_direction = -1
        calendar.skip_initial_tick = wall.microsecond > 0
        return next(calendar)


def _us(length: timedelta) -> int:
    return length // timedelta(microseconds=1)


def _normal(expr: str) -> str:
    text = expr.strip()
    if text.startswith("@"):
        if text.lower() not in PRESETS:
            raise ProjectError(f"{expr!r} is not a schedule", cure=_meant(text.lower()) + _FORMS)
        return PRESETS[text.lower()]
    fields = text.upper().split()
    if len(fields) == 6:
        raise ProjectError(f"{expr!r} has six fields", cure='a slot is a whole minute; for seconds write "every 10s"')
    if len(fields) != 5:
        raise ProjectError(
            f"{expr!r} is not a schedule: it has {len(fields)} fields, not five", cure=_meant(text.lower()) + _FORMS
        )
    return " ".join(fields)


def _meant(text: str) -> str:
    """What was probably meant, as the beginning of a cure.

    >>> _meant("evry 1m"), _meant("dayly"), _meant("now and then")
    ('did you mean "every 1m"? ', 'did you mean "@daily"? ', '')
    """
    first, _, rest = text.partition(" ")
    if rest and closest(first, ("every",), least=0.7):
        return f'did you mean "every {rest.strip()}"? '
    preset = closest("@" + text.removeprefix("@"), PRESETS, least=0.7)
    return f'did you mean "{preset}"? ' if preset else ""


def _calendar_of(expr: str) -> CronSim:
    try:
        calendar = CronSim(_SINGLE.sub(r"\1", expr), _START)
        next(copy(calendar))
    except (CronSimError, ValueError) as error:
        name = str(error).removeprefix("Bad ")
        if name not in _FIELDS:
            raise ProjectError(f"{expr!r} is not a schedule", cure=_FORMS) from None
        value = expr.split()[list(_FIELDS).index(name)]
        raise ProjectError(
            f"{expr!r} is not a schedule: its {name} is {value!r}",
            cure=f"{name} takes {_FIELDS[name]}; also *, lists 1,2, ranges 1-5 and steps */2, of days that exist",
        ) from None
    except StopIteration:
        raise ProjectError(f"{expr!r} is never due", cure="no day has that day of month, month and weekday") from None
    return calendar
