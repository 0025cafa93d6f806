"""Instants: UTC microseconds since 1970 inside the system, aware datetimes and ISO 8601 text at its surface."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from headrace.errors import ProjectError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
FIRST_US = (datetime.min.replace(tzinfo=UTC) - EPOCH) // _MICROSECOND
LAST_US = (datetime.max.replace(tzinfo=UTC) - EPOCH) // _MICROSECOND
_CYCLE_YEARS = 400  # after which the calendar repeats, to the day
_CYCLE_US = 146_097 * 86_400_000_000
_FORMS = 'write "2013-03-01", "2013-03-01T05:00Z" or "2013-03-01T05:00+01:00"'


def to_us(instant: datetime | date | str) -> int:
    """Microseconds since the epoch, UTC. A date, or text without an offset, is read as UTC.

    Raises `ProjectError` for text that is not ISO 8601, for a naive `datetime`, whose zone nobody can know, and for what
    lies outside the years 1 to 9999 in UTC, as the last hours of 9999 do in America.

    >>> to_us("1970-01-02")
    86400000000
    """
    us = (_aware(instant) - EPOCH) // _MICROSECOND
    if not FIRST_US <= us <= LAST_US:
        raise ProjectError(f"{instant!s} lies outside the years 1 to 9999 in UTC: it is {iso(us)}", cure=_FORMS)
    return us


def from_us(us: int) -> datetime:
    """The instant as an aware `datetime` in UTC. Raises `ProjectError` outside the years 1 to 9999."""
    try:
        return EPOCH + timedelta(microseconds=us)
    except OverflowError:
        raise ProjectError(
            f"{us} microseconds since 1970 lie outside the years 1 to 9999",
            cure="instants are counted in microseconds: was it given in nanoseconds?",
        ) from None


def iso(us: int) -> str:
    """ISO 8601 in UTC, as short as it is exact; `to_us` reads it back.

    A year outside 1 to 9999, which only the end of a window can have, is written with its sign. It never raises.

    >>> iso(to_us("2013-03-01T05:00")), iso(to_us("9999-12-31") + 86_400_000_000)
    ('2013-03-01T05:00Z', '+10000-01-01T00:00Z')
    """
    if FIRST_US <= us <= LAST_US:
        return _text(us)
    cycles = (us - FIRST_US) // _CYCLE_US
    text = _text(us - cycles * _CYCLE_US)
    return f"{int(text[:4]) + cycles * _CYCLE_YEARS:+05}{text[4:]}"


def to_the_second(us: int) -> str:
    """An instant for a sentence that people read: ISO 8601 in UTC, without fractions of a second.

    >>> to_the_second(1_362_114_000_999_999)
    '2013-03-01T05:00Z'
    """
    return iso(us - us % 1_000_000)


def _text(us: int) -> str:
    moment = EPOCH + timedelta(microseconds=us)
    timespec = "auto" if moment.second or moment.microsecond else "minutes"
    return moment.replace(tzinfo=None).isoformat(timespec=timespec) + "Z"


def _aware(instant: datetime | date | str) -> datetime:
    if isinstance(instant, str):
        return _from_text(instant)
    if isinstance(instant, datetime):
        if instant.utcoffset() is None:
            raise ProjectError(
                f"expected an instant with a time zone, got the naive {instant!r}",
                cure=f'say which zone it is in: "{instant.isoformat()}Z" or .replace(tzinfo=datetime.UTC) if it is UTC',
            )
        return instant
    if isinstance(instant, date):  # pyright: ignore[reportUnnecessaryIsInstance]
        return datetime.combine(instant, time(), tzinfo=UTC)
    raise ProjectError(f"expected a datetime, a date or ISO text, got {instant!r}", cure=_FORMS)


def _from_text(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ProjectError(f"expected an ISO 8601 instant, got {text!r}", cure=_FORMS) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
