"""Figures as people read them: numbers with units, and tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.result import SECONDS


def told(value: float | None, unit: str) -> str:
    """A figure with its unit; nothing where there is none.

    >>> told(0.0031, "s"), told(412_345.0, "rows/s"), told(None, "s")
    ('3.1 ms', '412,000 rows/s', '')
    """
    if value is None:
        return ""
    if unit == SECONDS:
        scale, word = next(pair for pair in _SCALES if value >= pair[0] or pair is _SCALES[-1])
        return f"{digits(value / scale)} {word}"
    return f"{digits(value)} {unit}"


def span(low: float, high: float, unit: str) -> str:
    """A range of figures."""
    return f"{told(low, unit)} – {told(high, unit)}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines)


def digits(value: float, count: int = 3) -> str:
    """So many digits that count, and no exponent."""
    number = float(f"{value:.{count}g}")
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:g}"


_SCALES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
