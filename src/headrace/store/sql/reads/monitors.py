"""Windows that monitors have judged, and the streaks of their askers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from headrace.store.sql.connection import Database
from headrace.store.sql.reads.rows import build, page, plain


class WindowRow(msgspec.Struct, frozen=True):
    """One closed window [start, end) of a monitor; `crossed` by limit, None where it was not judged."""

    monitor: str
    start_us: int
    end_us: int
    model: str
    version: int
    n: int
    is_judged: bool
    why: str
    judgement: Any
    crossed: dict[str, bool | None]
    run: str
    at_us: int


class StreakRow(msgspec.Struct, frozen=True):
    asker: str
    length: int
    window_end_us: int


_WINDOWS = (
    "SELECT monitor, start_us, end_us, model, version, n, is_judged, why, judgement, crossed, run, at_us FROM windows"
)


def windows(db: Database, monitor: str, *, before_us: int | None = None, limit: int = 100) -> list[WindowRow]:
    """Newest first; `before_us` is the end of the last window of the page before."""
    past = "" if before_us is None else " AND end_us < ?"
    given = (monitor, *(() if before_us is None else (before_us,)), page(limit))
    rows = db.read(f"{_WINDOWS} WHERE monitor = ?{past} ORDER BY end_us DESC LIMIT ?", given)
    return [build(WindowRow, *row[:6], bool(row[6]), row[7], plain(row[8]), plain(row[9]), *row[10:]) for row in rows]


def last_ends(ask: Callable[[str], Iterable[tuple[str, int]]]) -> dict[str, int]:
    """Monitor → the end of the last window that has a run, judged or not; `ask` runs a query."""
    return dict(
        ask(
            "SELECT substr(pipeline, 9), max(window_end_us) FROM runs"
            " WHERE pipeline >= 'monitor:' AND pipeline < 'monitor;' AND cause = 'monitor' GROUP BY pipeline"
        )
    )


def streaks(db: Database) -> list[StreakRow]:
    return [StreakRow(*row) for row in db.read("SELECT asker, length, window_end_us FROM streaks ORDER BY asker")]
