"""Between instants and what a clock on a wall shows: offsets of a zone, their changes, skipped and repeated times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from zoneinfo import ZoneInfo, available_timezones

from headrace.base.instants import from_us, to_us
from headrace.errors import ProjectError

_SECOND_US = 1_000_000
_DAY_US = 86_400 * _SECOND_US


def zone_of(name: str) -> ZoneInfo:
    """The time zone of that IANA name. Raises `ProjectError` with the nearest known name."""
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):  # OSError: the name of a folder, such as "Europe"
        near = get_close_matches(name, sorted(available_timezones()), n=1)
        hint = f'did you mean "{near[0]}"? ' if near else ""
        raise ProjectError(
            f"{name!r} is not a known time zone", cure=f'{hint}write an IANA name such as "UTC" or "Europe/Brussels"'
        ) from None


def wall_of(zone: ZoneInfo, us: int) -> datetime:
    """What the wall shows at that instant, naive; `fold` is 1 when it shows it for the second time."""
    return from_us(us).astimezone(zone).replace(tzinfo=None)


def offset_us(zone: ZoneInfo, us: int) -> int:
    """Wall time minus UTC at that instant, in microseconds."""
    return _offset_us(from_us(us).astimezone(zone))


def instant_of(zone: ZoneInfo, wall: datetime) -> int:
    """The first instant at which the wall shows `wall`, or, when it skips that time, the first one after the gap."""
    before_us = _offset_us(wall.replace(tzinfo=zone, fold=0))
    after_us = _offset_us(wall.replace(tzinfo=zone, fold=1))
    as_utc = to_us(wall.replace(tzinfo=UTC))
    if after_us <= before_us:
        return as_utc - before_us
    # PEP 495: in a gap, fold=0 counts with the offset before the change and fold=1 with the one after it.
    change = first_change(zone, as_utc - after_us, as_utc - before_us)
    return as_utc - before_us if change is None else change


def latest_wall(zone: ZoneInfo, us: int) -> datetime:
    """A wall time that is not earlier than any shown up to that instant: in a repeated hour later than `wall_of`."""
    wall = wall_of(zone, us)
    repeated_us = _offset_us(wall.replace(tzinfo=zone, fold=0)) - _offset_us(wall.replace(tzinfo=zone, fold=1))
    return wall + timedelta(microseconds=repeated_us) if wall.fold and repeated_us > 0 else wall


def first_change(zone: ZoneInfo, after_us: int, until_us: int) -> int | None:
    """The earliest instant in `(after, until]` at which the zone's offset changes, if any."""
    # Probing once a day is enough: since 1970 no zone has changed its offset twice within two.
    low = after_us
    while low < until_us:
        high = min(low + _DAY_US, until_us)
        if offset_us(zone, low) != offset_us(zone, high):
            return _change_between(zone, low, high)
        low = high
    return None


def last_change(zone: ZoneInfo, after_us: int, until_us: int) -> int | None:
    """The latest instant in `(after, until]` at which the zone's offset changes, if any."""
    high = until_us
    while high > after_us:
        low = max(high - _DAY_US, after_us)
        if offset_us(zone, low) != offset_us(zone, high):
            return _change_between(zone, low, high)
        high = low
    return None


def _change_between(zone: ZoneInfo, low_us: int, high_us: int) -> int:
    """Bisection in whole seconds, on which all changes lie."""
    before_us = offset_us(zone, low_us)
    low, high = low_us // _SECOND_US, high_us // _SECOND_US
    while high - low > 1:
        middle = (low + high) // 2
        if offset_us(zone, middle * _SECOND_US) == before_us:
            low = middle
        else:
            high = middle
    return high * _SECOND_US


def _offset_us(local: datetime) -> int:
    offset = local.utcoffset()
    assert offset is not None, "a ZoneInfo always knows its offset"
    return offset // timedelta(microseconds=1)
