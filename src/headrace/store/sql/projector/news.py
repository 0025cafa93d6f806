"""Rows about facts of other logs that the engine has still to act on: there until its cursor has passed them."""

from __future__ import annotations

from typing import Any

from headrace.store.sql.projector.work import Group, Work


def arrived(work: Work, group: Group[Any]) -> None:
    """The engine has to act on these facts."""
    rows = [(group.log, group.seq + i) for i in range(len(group.facts))]
    work.change("INSERT INTO news (log, seq) VALUES (?, ?)", rows, group)


def passed(work: Work, log: str, seq: int) -> None:
    """The engine has acted on what lies in the log up to there."""
    work.connection.execute("DELETE FROM news WHERE log = ? AND seq <= ?", (log, seq))
