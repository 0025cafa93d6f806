"""Times, lengths of time and sizes as people read them.

What happened on this machine is shown in the local zone with its offset; the time of data (windows, watermarks) is
shown in UTC, in the form that `--window` takes.
"""

from __future__ import annotations

from datetime import UTC, datetime

from headrace.base.instants import iso

_STEPS = ((86_400_000_000, "d", 3_600_000_000, "h"), (3_600_000_000, "h", 60_000_000, "m"))


def local(us: int | None) -> str:
    """An instant in the local zone, with its offset; "" for none. Where no calendar here holds it, in UTC."""
    if us is None:
        return ""
    try:
        moment = datetime.fromtimestamp(us / 1e6, UTC).astimezone()
    except (ValueError, OverflowError, OSError):  # about the year 9999, and after it
        return iso(us)
    return moment.strftime("%Y-%m-%d %H:%M:%S") + moment.strftime("%z")[:3] + ":" + moment.strftime("%z")[3:]


def clock(us: int) -> str:
    """Hours, minutes and seconds in the local zone: for lines of a log that is read as it is written."""
    return datetime.fromtimestamp(us / 1e6, UTC).astimezone().strftime("%H:%M:%S")


def length(us: int | None) -> str:
    """A length of time in at most six characters.

    >>> [length(us) for us in (0, 410, 450_000, 4_200_000, 72_000_000, 7_500_000_000, 90_000_000_000)]
    ['0ms', '0.4ms', '450ms', '4.2s', '1m12s', '2h05m', '1d01h']
    """
    if us is None:
        return ""
    if us < 1_000_000:
        return f"{us // 1000}ms" if us >= 1000 or us == 0 else f"{us / 1000:.1f}ms"
    if us < 60_000_000:
        return f"{us / 1e6:.1f}s"
    for large, large_unit, small, small_unit in _STEPS:
        if us >= large:
            return f"{us // large}{large_unit}{us % large // small:02d}{small_unit}"
    return f"{us // 60_000_000}m{us % 60_000_000 // 1_000_000:02d}s"


def span(window: tuple[int, int] | None) -> str:
    """A window of data; one that begins in 1970 is that of all rows up to its end.

    >>> span((1_356_998_400_000_000, 1_362_182_400_000_000)), span((0, 86_400_000_000)), span(None)
    ('2013-01-01T00:00Z 2013-03-02T00:00Z', 'all until 1970-01-02T00:00Z', '')
    """
    if window is None:
        return ""
    return f"all until {iso(window[1])}" if window[0] == 0 else f"{iso(window[0])} {iso(window[1])}"


def size(n_bytes: int) -> str:
    """
    >>> [size(n) for n in (12, 2048, 5 << 20, 3 << 30)]
    ['12 B', '2.0 KiB', '5.0 MiB', '3.0 GiB']
    """
    if n_bytes < 1024:
        return f"{n_bytes} B"
    amount = float(n_bytes)
    for unit in ("KiB", "MiB", "GiB"):
        amount /= 1024
        if amount < 1024 or unit == "GiB":
            return f"{amount:.1f} {unit}"
    raise AssertionError


def count(n: int, noun: str) -> str:
    """
    >>> count(1, "run"), count(0, "run"), count(12_345, "row")
    ('1 run', '0 runs', '12,345 rows')
    """
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def headline(error: str) -> str:
    """The one line of an error that says what it is: of a traceback the exception, else the first line.

    >>> headline("Traceback (most recent call last):\\n  File …\\nValueError: no delay\\n  and more of it")
    'ValueError: no delay'
    >>> headline("topic scores: row 0, column 'id': expected int\\n  give a whole number")
    "topic scores: row 0, column 'id': expected int"
    """
    lines = error.strip().splitlines() or [""]
    begins = max((at for at, line in enumerate(lines) if line.startswith("Traceback")), default=None)
    if begins is None:
        return lines[0].strip()
    return next((line for line in lines[begins + 1 :] if line[:1].strip()), lines[-1]).strip()
