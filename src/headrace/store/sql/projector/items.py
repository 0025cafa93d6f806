"""Rows of task runs: one per item from its first attempt, and one counter row per (run, node, path), the cell.

`running` → `succeeded` | `failed` | `cancelled` | `waiting_retry` | `returned`; `pending` after the run was retried.
A start raises the epoch; it raises the attempt too, unless the last start was returned unbegun.
"""

from __future__ import annotations

from headrace.runs.facts import (
    AttemptCancelled,
    AttemptFailed,
    AttemptLost,
    AttemptReturned,
    AttemptStarted,
    AttemptSucceeded,
    ItemSkipped,
    LogSpan,
    NodeSkipped,
)
from headrace.store.sql.projector.work import Group, Work, disagreement, text

_RUNNING = " WHERE run = ? AND node = ? AND path = ? AND item = ? AND state = 'running' AND attempt = ? AND epoch = ?"


def attempt_started(work: Work, group: Group[AttemptStarted]) -> None:
    first_at_us: dict[str, int] = {}
    for f in group.facts:
        first_at_us.setdefault(f.run, f.at_us)
        work.count(f.run, f.node, f.path, running=1)
    for run, at_us in first_at_us.items():
        row = work.one("SELECT state, started_us FROM runs WHERE run = ?", (run,))
        if row is None or row[0] != "running":
            raise disagreement(group, f"run {run} is {row[0] if row else 'unknown'}, so nothing starts")
        if row[1] is None:
            work.change("UPDATE runs SET started_us = ? WHERE run = ?", [(at_us, run)], group)
    work.change(
        _START,
        [(f.run, f.node, f.path, f.item, f.attempt, f.epoch, f.worker, f.at_us) for f in group.facts],
        group,
    )


_START = """
INSERT INTO items (run, node, path, item, state, attempt, epoch, worker, started_us)
SELECT ?1, ?2, ?3, ?4, 'running', ?5, ?6, ?7, ?8
WHERE ?5 = 1 OR EXISTS (SELECT 1 FROM items WHERE run = ?1 AND node = ?2 AND path = ?3 AND item = ?4)
ON CONFLICT (run, node, path, item) DO UPDATE SET
    state = 'running', attempt = excluded.attempt, epoch = excluded.epoch, worker = excluded.worker,
    started_us = excluded.started_us, ended_us = NULL, took_us = NULL, retry_at_us = NULL, why = NULL
WHERE items.state IN ('pending', 'waiting_retry', 'returned')
    AND excluded.epoch > items.epoch
    AND excluded.attempt = items.attempt + (items.state <> 'returned')
"""


def attempt_succeeded(work: Work, group: Group[AttemptSucceeded]) -> None:
    for f in group.facts:
        work.count(f.run, f.node, f.path, running=-1, succeeded=1)
    work.change(
        "UPDATE items SET state = 'succeeded', ended_us = ?, took_us = ?, result = ?, error = NULL, detail = NULL,"
        " log_file = ?, log_start = ?, log_end = ?" + _RUNNING,
        [
            (f.at_us, f.took_us, text(f.result), *_span(f.log), f.run, f.node, f.path, f.item, f.attempt, f.epoch)
            for f in group.facts
        ],
        group,
    )
    reads = {
        (f.run, f.node, f.path, f.item, read.kind, read.name, text(read.pin)): None
        for f in group.facts
        for read in f.reads
    }
    if reads:
        work.change(
            "INSERT INTO reads (run, node, path, item, kind, name, pin) VALUES (?, ?, ?, ?, ?, ?, ?)",
            list(reads),
            group,
        )


def attempt_failed(work: Work, group: Group[AttemptFailed]) -> None:
    for f in group.facts:
        work.count(f.run, f.node, f.path, running=-1, failed=f.retry_at_us is None)
    work.change(
        "UPDATE items SET state = ?, ended_us = ?, retry_at_us = ?, error = ?, detail = ?, failures = failures + 1,"
        " log_file = ?, log_start = ?, log_end = ?" + _RUNNING,
        [
            (
                "failed" if f.retry_at_us is None else "waiting_retry", f.at_us, f.retry_at_us, f.error, f.detail,
                *_span(f.log), f.run, f.node, f.path, f.item, f.attempt, f.epoch,
            )
            for f in group.facts
        ],
        group,
    )  # fmt: skip


def attempt_lost(work: Work, group: Group[AttemptLost]) -> None:
    for f in group.facts:
        work.count(f.run, f.node, f.path, running=-1, failed=f.ends)
    work.change(
        "UPDATE items SET state = ?, ended_us = ?, retry_at_us = ?, error = ?, detail = NULL, losses = losses + 1,"
        " log_file = ?, log_start = ?, log_end = ?" + _RUNNING,
        [
            (
                "failed" if f.ends else "waiting_retry", f.at_us, None if f.ends else f.at_us, f.why,
                *_span(f.log), f.run, f.node, f.path, f.item, f.attempt, f.epoch,
            )
            for f in group.facts
        ],
        group,
    )  # fmt: skip


def attempt_returned(work: Work, group: Group[AttemptReturned]) -> None:
    for f in group.facts:
        work.count(f.run, f.node, f.path, running=-1)
    work.change(
        "UPDATE items SET state = 'returned'" + _RUNNING,
        [(f.run, f.node, f.path, f.item, f.attempt, f.epoch) for f in group.facts],
        group,
    )


def attempt_cancelled(work: Work, group: Group[AttemptCancelled]) -> None:
    for f in group.facts:
        work.count(f.run, f.node, f.path, running=-1, cancelled=1)
    work.change(
        "UPDATE items SET state = 'cancelled', ended_us = ?" + _RUNNING,
        [(f.at_us, f.run, f.node, f.path, f.item, f.attempt, f.epoch) for f in group.facts],
        group,
    )


def item_skipped(work: Work, group: Group[ItemSkipped]) -> None:
    for f in group.facts:
        work.count(f.run, f.node, f.path, skipped=1)
    work.change(
        "INSERT INTO items (run, node, path, item, state, attempt, epoch, why, after_failure)"
        " VALUES (?, ?, ?, ?, 'skipped', 0, 0, ?, ?) ON CONFLICT (run, node, path, item) DO UPDATE SET"
        " state = 'skipped', why = excluded.why, after_failure = excluded.after_failure, retry_at_us = NULL"
        " WHERE items.state IN ('pending', 'waiting_retry', 'returned')",
        [(f.run, f.node, f.path, f.item, f.why, f.after_failure) for f in group.facts],
        group,
    )


def node_skipped(work: Work, group: Group[NodeSkipped]) -> None:
    work.flush()
    work.change(
        "INSERT INTO cells (run, node, path, is_skipped, why, after_failure) VALUES (?, ?, ?, 1, ?, ?)"
        " ON CONFLICT (run, node, path) DO UPDATE SET"
        " is_skipped = 1, why = excluded.why, after_failure = excluded.after_failure"
        " WHERE cells.is_skipped = 0 AND cells.running = 0 AND cells.succeeded = 0",
        [(f.run, f.node, f.path, f.why, f.after_failure) for f in group.facts],
        group,
    )


def _span(span: LogSpan | None) -> tuple[str | None, int | None, int | None]:
    return (None, None, None) if span is None else (span.file, span.start, span.end)


CHANGES = {
    AttemptStarted: attempt_started,
    AttemptSucceeded: attempt_succeeded,
    AttemptFailed: attempt_failed,
    AttemptLost: attempt_lost,
    AttemptReturned: attempt_returned,
    AttemptCancelled: attempt_cancelled,
    ItemSkipped: item_skipped,
    NodeSkipped: node_skipped,
}
