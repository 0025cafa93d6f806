"""What commands print: data to standard output, as a table or as JSON; talk to standard error."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

_UNBROKEN = 100_000  # columns: rows that a program reads, or `grep`, are not broken
_STYLES = {
    "succeeded": "green",
    "champion": "green",
    "ok": "green",
    "failed": "red",
    "fail": "red",
    "error": "red",
    "lost": "red",
    "stopped": "red",
    "rejected": "yellow",
    "warn": "yellow",
    "warning": "yellow",
    "waiting": "yellow",
    "held": "yellow",
    "queued": "yellow",
    "cancelling": "yellow",
    "running": "cyan",
}


def show_json(value: Any) -> None:
    """One JSON document on one line. Structs become objects with the names of their fields."""
    import msgspec

    print(msgspec.json.encode(value).decode(), flush=True)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """A table without lines that fits the terminal; where there is none, each row is one line, however long.

    A column whose name begins with "#" is of numbers; the first column is never broken, so that it can be copied.
    Without rows `empty` is said instead, on standard error.
    """
    body = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if not body:
        notice(empty)
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        table.add_column(
            column.removeprefix("#"),
            justify="right" if column.startswith("#") else "left",
            no_wrap=index == 0 or column.startswith("#"),
            overflow="fold",
        )
    for row in body:
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    console = _console()
    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        console.print(table)
        return
    console.width = _UNBROKEN
    with console.capture() as captured:
        console.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def show_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Names and values, one per line; those without a value are left out."""
    shown = [(name, value) for name, value in fields if value not in (None, "", (), [], {})]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        print(f"{name:<{width}}  {value}")


def show_line(text: str, style: str = "") -> None:
    """One line of text, in a colour where standard output is a terminal that has colours."""
    if not style or not sys.stdout.isatty():
        print(text, flush=True)
        return
    from rich.text import Text

    _console().print(Text(text, style=_STYLES.get(style, style)), soft_wrap=True)


def notice(text: str) -> None:
    """Talk: goes to standard error, so that standard output stays data."""
    print(text, file=sys.stderr, flush=True)


class Unread(io.TextIOBase):
    """Standard output that its reader may leave, while the work goes on: what is written then goes nowhere."""

    def __init__(self, shown: TextIO) -> None:
        self._shown = shown

    def write(self, text: str, /) -> int:
        try:
            return self._shown.write(text)
        except BrokenPipeError:
            silence()
            return len(text)

    def flush(self) -> None:
        try:
            self._shown.flush()
        except BrokenPipeError:
            silence()

    def isatty(self) -> bool:
        return self._shown.isatty()

    def fileno(self) -> int:
        return self._shown.fileno()


def silence() -> None:
    """From here on standard output goes nowhere: nobody reads it. Else Python complains when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _console() -> Any:
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)
