"""Helpers to read columns back: JSON text to values, tuples to rows."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

PAGE = 1000
"""The most rows that a page of a listing holds."""


Row = TypeVar("Row", bound=msgspec.Struct)


def build(shape: type[Row], *values: Any) -> Row:
    """A row of this shape from columns in its order."""
    return shape(*values)


def plain(text: str | None) -> Any:
    """A JSON column; None where it is NULL."""
    return None if text is None else msgspec.json.decode(text)


def page(limit: int) -> int:
    """A page never holds more rows than `PAGE`, so no reader keeps the WAL back."""
    return max(1, min(limit, PAGE))


def selected(columns: str, prefix: str = "") -> str:
    """The columns of a SELECT, each with the prefix of its table.

    >>> selected("a, b", "r.")
    'r.a, r.b'
    """
    return ", ".join(prefix + column.strip() for column in columns.split(","))
