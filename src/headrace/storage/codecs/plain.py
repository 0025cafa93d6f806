"""Plain Python values as JSON text that gives back exactly what was written, types included.

`json` is ordinary JSON. `json+` marks what JSON has no word for as `{"$": kind, "v": …}`: tuples, sets, dicts with
other keys, dates, nan, numpy scalars, windows. A value that neither can hold exactly is refused, never approximated.
"""

from __future__ import annotations

import base64
import math
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from types import NoneType
from typing import Any, cast
from zoneinfo import ZoneInfo

import msgspec

from headrace.data.window import Window

_ATOMS = frozenset((NoneType, bool, int, str))
_STR = frozenset((str,))
_FLOAT = frozenset((float,))


class NotPlainError(Exception):
    """The value holds something that has no exact JSON form."""


def encode(value: Any) -> tuple[str, bytes] | None:
    """`("json" | "json+", text)`, or None where no JSON form gives the value back exactly.

    >>> encode({"a": [1, 2.5]})
    ('json', b'{"a":[1,2.5]}')
    >>> encode((1, 2))
    ('json+', b'{"$":"tuple","v":[1,2]}')
    """
    try:
        if is_plain(value):
            return "json", msgspec.json.encode(value)
        return "json+", msgspec.json.encode(_tagged(value))
    except (NotPlainError, ValueError, RecursionError):
        return None  # also a lone surrogate, a number of more than 4,300 digits, a value that holds itself


def decode(name: str, text: bytes | str) -> Any:
    """Read what `encode` wrote under that name."""
    value = msgspec.json.decode(text)
    return value if name == "json" else _untagged(value)


def is_plain(value: Any) -> bool:
    """Whether ordinary JSON gives the value back exactly. Subclasses (enums, numpy floats) are not plain."""
    kind = cast("type[Any]", type(value))
    if kind in _ATOMS:
        return True
    if kind is float:
        return math.isfinite(value)
    if kind is list:
        return _are_plain(value)
    return kind is dict and _STR.issuperset(map(type, value)) and _are_plain(value.values())


def _are_plain(items: Iterable[Any]) -> bool:
    # The types of a million items as one set: ten times faster than a call for each.
    kinds: set[type[Any]] = set(map(type, items))
    if kinds <= _ATOMS:
        return True
    if kinds <= _FLOAT:
        return all(map(math.isfinite, items))
    return all(is_plain(item) for item in items if type(item) not in _ATOMS)


def _tagged(value: Any) -> Any:
    kind = cast("type[Any]", type(value))
    if kind in _ATOMS:
        return value
    if kind is list:
        return [_tagged(item) for item in value]
    if kind is dict:
        if "$" not in value and _STR.issuperset(map(type, value)):
            return {key: _tagged(item) for key, item in value.items()}
        return {"$": "dict", "v": [[_tagged(key), _tagged(item)] for key, item in value.items()]}
    if kind in _WRITERS:
        name, write = _WRITERS[kind]
        return {"$": name, "v": write(value)}
    if kind is float:
        return value if math.isfinite(value) else {"$": "float", "v": repr(value)}
    if kind.__module__ == "numpy":
        return {"$": "numpy", "v": _write_numpy(value)}
    raise NotPlainError


def _untagged(value: Any) -> Any:
    if type(value) is list:
        return [_untagged(item) for item in cast("list[Any]", value)]
    if type(value) is not dict:
        return value
    fields = cast("dict[str, Any]", value)
    if "$" not in fields:
        return {key: _untagged(item) for key, item in fields.items()}
    return _READERS[fields["$"]](fields["v"])


def _each(items: Iterable[Any]) -> list[Any]:
    return [_tagged(item) for item in items]


def _write_datetime(moment: datetime) -> list[Any]:
    zone = moment.tzinfo
    if zone is None or _is_offset(zone):
        return [moment.isoformat(), None, moment.fold]
    if type(zone) is ZoneInfo and zone.key:
        return [moment.replace(tzinfo=None).isoformat(), zone.key, moment.fold]
    raise NotPlainError


def _read_datetime(parts: list[Any]) -> datetime:
    text, zone, fold = parts
    moment = datetime.fromisoformat(text).replace(fold=fold)
    if zone is not None:
        return moment.replace(tzinfo=ZoneInfo(zone))
    return moment.replace(tzinfo=UTC) if moment.tzinfo == UTC else moment


def _is_offset(zone: tzinfo) -> bool:
    """Whether the zone is an offset and no more; the text of one with a name of its own would lose the name."""
    return type(zone) is timezone and repr(zone) == repr(timezone(zone.utcoffset(None)))


def _write_time(moment: time) -> list[Any]:
    if moment.tzinfo is not None and not _is_offset(moment.tzinfo):
        raise NotPlainError
    return [moment.isoformat(), moment.fold]


def _write_numpy(value: Any) -> list[Any]:
    import numpy as np

    if isinstance(value, np.bool | np.integer | np.floating):
        plain = value.item()
        if type(plain) in (bool, int, float):  # a long double stays what it is: no exact text
            return [value.dtype.str, _tagged(plain)]
    raise NotPlainError


def _read_numpy(parts: list[Any]) -> Any:
    import numpy as np

    return np.array(_untagged(parts[1]), dtype=parts[0])[()]  # with its unit, where it is a length of time


_WRITERS: dict[type[Any], tuple[str, Callable[[Any], Any]]] = {
    tuple: ("tuple", _each),
    set: ("set", _each),
    frozenset: ("frozenset", _each),
    bytes: ("bytes", lambda body: base64.b64encode(body).decode("ascii")),
    datetime: ("datetime", _write_datetime),
    date: ("date", date.isoformat),
    time: ("time", _write_time),
    timedelta: ("timedelta", lambda length: [length.days, length.seconds, length.microseconds]),
    Decimal: ("decimal", str),
    uuid.UUID: ("uuid", str),
    complex: ("complex", lambda number: [_tagged(number.real), _tagged(number.imag)]),
    Window: ("window", lambda window: [window.start_us, window.end_us]),
}

_READERS: dict[str, Callable[[Any], Any]] = {
    "tuple": lambda items: tuple(_untagged(items)),
    "set": lambda items: set(_untagged(items)),
    "frozenset": lambda items: frozenset(_untagged(items)),
    "dict": lambda pairs: {_untagged(key): _untagged(item) for key, item in pairs},
    "bytes": base64.b64decode,
    "float": float,
    "datetime": _read_datetime,
    "date": date.fromisoformat,
    "time": lambda parts: time.fromisoformat(parts[0]).replace(fold=parts[1]),
    "timedelta": lambda parts: timedelta(*parts),
    "decimal": Decimal,
    "uuid": uuid.UUID,
    "complex": lambda parts: complex(_untagged(parts[0]), _untagged(parts[1])),
    "window": lambda bounds: Window.of(*bounds),
    "numpy": _read_numpy,
}
