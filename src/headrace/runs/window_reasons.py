"""Why windows are not done, in the words of `reasons`: those that failed, and those of a backfill."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from headrace.base.instants import iso
from headrace.runs.reasons import Reason

if TYPE_CHECKING:
    from headrace.runs.rows import RunRow

_BAD = ("failed", "lost")
_OVER = (*_BAD, "succeeded", "cancelled")


def of_failed(pipeline: str, rows: Sequence[RunRow]) -> Reason:
    """The windows of one pipeline that failed and have not succeeded since; `rows` are their newest runs, not none."""
    step = f"headrace why {rows[0].run}"
    if len(rows) > 1:
        step += f"; all of them: headrace runs ls {shlex.quote(pipeline)} --state {rows[0].state}"
    return Reason(f"pipeline {pipeline}", "failed", _failed(rows, len(rows)), step)


def of_backfill(backfill: str, rows: Sequence[RunRow]) -> list[Reason]:
    """Where a backfill is whose runs are `rows`; nothing where all of them have succeeded."""
    about = f"backfill {backfill}"
    bad = [row for row in rows if row.state in _BAD]
    cancelled = [row for row in rows if row.state == "cancelled"]
    open_ = [row for row in rows if row.state not in _OVER]
    reasons: list[Reason] = []
    if bad:
        step = f"headrace why {bad[0].run}, then headrace runs retry {shlex.quote(backfill)}"
        reasons.append(Reason(about, "failed", _failed(bad, len(rows)), step))
    if cancelled:
        why = f"{len(cancelled)} of {_windows(len(rows))} cancelled"
        reasons.append(Reason(about, "cancelled", why, f"headrace runs ls {shlex.quote(backfill)}"))
    if open_:
        why = f"{len(open_)} of {_windows(len(rows))} not done yet"
        reasons.append(Reason(about, "running", why, f"headrace why {open_[0].run}"))
    return reasons


def _failed(bad: Sequence[RunRow], n: int) -> str:
    first = bad[0]
    window = f"{iso(first.window[0])} {iso(first.window[1])}" if first.window is not None else "of no window"
    of = "" if n == len(bad) else f"{len(bad)} of "
    return f"{of}{_windows(n)} failed, first {window} (run {first.run}: {first.end_why or first.state})"


def _windows(n: int) -> str:
    return f"{n:,} window{'' if n == 1 else 's'}"
