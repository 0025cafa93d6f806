"""Rows of runs: their state, pins and map scopes.

`waiting` → `running` → (`cancelling` →) `succeeded` | `failed` | `cancelled` | `lost`; a retry makes an ended run
`running` again, as the next generation.
"""

from __future__ import annotations

from headrace.runs.facts import InputPinned, MapExpanded, RunCancelled, RunCreated, RunEnded, RunReady, RunRetried
from headrace.store.sql.projector.schedules import slot_taken
from headrace.store.sql.projector.work import Group, Work, text, text_or_none

ENDED = ("succeeded", "failed", "cancelled", "lost")


def run_created(work: Work, group: Group[RunCreated]) -> None:
    rows = [
        (
            f.run, group.log, group.seq + i, f.pipeline, f.code, f.key, f.cause, "waiting" if f.waits else "running",
            text(f.params), *(f.window or (None, None)), text(f.events), f.why, text(f.waits), f.max_lost, f.at_us,
        )
        for i, f in enumerate(group.facts)
    ]  # fmt: skip
    work.change(
        "INSERT INTO runs (run, log, first_seq, pipeline, code, key, cause, state, params, window_start_us,"
        " window_end_us, events, why, waits, max_lost, created_us) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        rows,
        group,
    )
    for f in group.facts:
        if f.cause == "schedule":
            slot_taken(work, group, f)


def run_ready(work: Work, group: Group[RunReady]) -> None:
    work.change(
        "UPDATE runs SET state = 'running', ready_us = ?, missing = ? WHERE run = ? AND state = 'waiting'",
        [(f.at_us, text(f.missing), f.run) for f in group.facts],
        group,
    )


def map_expanded(work: Work, group: Group[MapExpanded]) -> None:
    work.change(
        "INSERT INTO scopes (run, scope, path, n) VALUES (?, ?, ?, ?)",
        [(f.run, f.scope, f.path, f.n) for f in group.facts],
        group,
    )


def input_pinned(work: Work, group: Group[InputPinned]) -> None:
    work.change(
        "INSERT INTO pins (run, dataset, pin) VALUES (?, ?, ?)",
        [(f.run, f.dataset, text(f.pin)) for f in group.facts],
        group,
    )


def run_cancelled(work: Work, group: Group[RunCancelled]) -> None:
    work.change(
        "UPDATE runs SET state = 'cancelling', cancelled_by = ?, cancelled_why = ?"
        " WHERE run = ? AND state IN ('waiting', 'running')",
        [(f.by, f.why, f.run) for f in group.facts],
        group,
    )


def run_retried(work: Work, group: Group[RunRetried]) -> None:
    """What has not succeeded is pending again with its attempt number; failures and losses count from 0.

    Failures that are forgiven stay: what has been made of the others rests on it. What its topics had not come for waits
    for them again.
    """
    work.flush()
    work.change(
        "UPDATE runs SET state = iif(waits <> '[]' AND ready_us IS NULL, 'waiting', 'running'), generation = ?,"
        " code = iif(? = '', code, ?), ended_us = NULL, started_us = NULL,"
        " last_seq = NULL, end_why = NULL, result = NULL, cancelled_by = NULL, cancelled_why = NULL"
        " WHERE run = ? AND generation = ? AND ended_us IS NOT NULL AND dropped_us IS NULL",
        [(f.generation, f.code, f.code, f.run, f.generation - 1) for f in group.facts],
        group,
    )
    runs = [{"run": f.run, "forgives": text(f.forgives)} for f in group.facts]
    for sql in _RESET:
        work.connection.executemany(sql, runs)


_FORGIVEN = "EXISTS (SELECT 1 FROM json_each(:forgives) f WHERE f.key = cells.node AND f.value >= cells.failed)"
_RESET = (
    "DELETE FROM cells WHERE run = :run AND is_skipped",
    f"UPDATE cells SET running = 0, skipped = 0, cancelled = 0, failed = iif({_FORGIVEN}, failed, 0) WHERE run = :run",
    "UPDATE items SET state = 'pending', failures = 0, losses = 0, retry_at_us = NULL, why = NULL, after_failure = 0"
    " WHERE run = :run AND state <> 'succeeded' AND NOT (state = 'failed' AND EXISTS (SELECT 1 FROM cells c"
    " WHERE c.run = items.run AND c.node = items.node AND c.path = items.path AND c.failed > 0))",
)


def run_ended(work: Work, group: Group[RunEnded]) -> None:
    work.change(
        "UPDATE runs SET state = ?, ended_us = ?, end_why = ?, result = ?, last_seq = ?"
        " WHERE run = ? AND ended_us IS NULL",
        [(f.state, f.at_us, f.why, text_or_none(f.result), group.seq + i, f.run) for i, f in enumerate(group.facts)],
        group,
    )


CHANGES = {
    RunCreated: run_created,
    RunReady: run_ready,
    MapExpanded: map_expanded,
    InputPinned: input_pinned,
    RunCancelled: run_cancelled,
    RunRetried: run_retried,
    RunEnded: run_ended,
}
