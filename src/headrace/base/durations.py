"""Lengths of time as people write them: `"10s"`, `"1h30m"`, `"14d"`. A day is 24 hours in every zone."""

from __future__ import annotations

import re
from datetime import timedelta

from headrace.errors import ProjectError

_UNITS_US = {
    "w": 604_800_000_000,
    "d": 86_400_000_000,
    "h": 3_600_000_000,
    "m": 60_000_000,
    "s": 1_000_000,
    "ms": 1_000,
    "us": 1,
}
_DURATION = re.compile("".join(rf"(?:([0-9]+){unit})?" for unit in _UNITS_US))
_LOOSE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([a-z]*)")
_MICROSECOND = timedelta(microseconds=1)


def parse_duration(text: str | timedelta) -> timedelta:
    """Read a duration; a `timedelta` passes through. Zero is allowed, a negative length is not.

    Raises `ProjectError` that names the accepted forms and, where it can be guessed, the one that was meant.

    >>> parse_duration("1h30m")
    datetime.timedelta(seconds=5400)
    """
    if isinstance(text, timedelta):
        if text < timedelta(0):
            raise ProjectError(f"expected a length of time, got a negative one: {text!r}", cure=_forms())
        return text
    match = _DURATION.fullmatch(text) if isinstance(text, str) and text else None  # pyright: ignore[reportUnnecessaryIsInstance]
    if match is None:
        raise ProjectError(f"expected a duration, got {text!r}", cure=_forms(text))
    try:
        us = sum(int(n) * unit_us for n, unit_us in zip(match.groups(), _UNITS_US.values(), strict=True) if n)
        return timedelta(microseconds=us)
    except (OverflowError, ValueError):
        raise ProjectError(
            f"the duration {text[:40]!r} is longer than {timedelta.max.days} days", cure=_forms()
        ) from None


def format_duration(length: timedelta) -> str:
    """The shortest text that `parse_duration` reads as the same length; days are the largest unit.

    >>> format_duration(timedelta(minutes=90))
    '1h30m'
    >>> format_duration(timedelta(weeks=2))
    '14d'
    """
    left = micros(length)
    parts: list[str] = []
    for unit, unit_us in list(_UNITS_US.items())[1:]:
        n, left = divmod(left, unit_us)
        if n:
            parts.append(f"{n}{unit}")
    return "".join(parts) or "0s"


def micros(length: timedelta | str) -> int:
    """The length in microseconds, exactly.

    >>> micros("500ms")
    500000
    """
    return parse_duration(length) // _MICROSECOND


def _forms(text: object = None) -> str:
    near = _nearest(text) if isinstance(text, str) else None
    meant = f'did you mean "{near}"? ' if near else ""
    return f'{meant}write "500ms", "10s", "10m", "2h", "14d", "1w", or together, largest first: "1h30m"'


def _nearest(text: str) -> str | None:
    """What was probably meant: `"10 minutes"` is `10m`, `"1.5h"` is `1h30m`, `"30m1h"` is `1h30m`, `"10"` is `10s`."""
    total_us = 0.0
    lowered = text.lower()
    pieces = _LOOSE.findall(lowered)
    for number, word in pieces:
        unit = _unit_of(word)
        if unit is None:
            return None
        total_us += float(number) * _UNITS_US[unit]
    if _LOOSE.sub("", lowered).strip(" ,") or not 0 < total_us < _UNITS_US["d"] * timedelta.max.days:
        return None
    return format_duration(timedelta(microseconds=round(total_us)))


def _unit_of(word: str) -> str | None:
    if word.startswith(("ms", "milli")):
        return "ms"
    if word.startswith(("us", "micro")):
        return "us"
    if word.startswith("mo"):  # months have no fixed length
        return None
    initial = word[:1] or "s"
    return initial if initial in _UNITS_US else None
