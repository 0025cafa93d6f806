"""Rows about the project and the logs: deployed code, paused pipelines, owners of logs and their cursors."""

from __future__ import annotations

from headrace.runs.facts import CodeDeployed, CursorMoved, EventRejected, LogTaken, PipelinePaused
from headrace.store.sql.projector import news
from headrace.store.sql.projector.work import Group, Work, disagreement, text


def log_taken(work: Work, group: Group[LogTaken]) -> None:
    rows = [(f.epoch, f.owner, group.log, f.epoch) for f in group.facts]
    work.change("UPDATE logs SET epoch = ?, owner = ? WHERE name = ? AND epoch < ?", rows, group)


def code_deployed(work: Work, group: Group[CodeDeployed]) -> None:
    rows = [(f.code, bytes(f.project).decode(), f.at_us, text(f.heads or {})) for f in group.facts]
    work.change(
        "INSERT INTO codes (code, project, at_us, heads) VALUES (?, ?, ?, ?) ON CONFLICT (code)"
        " DO UPDATE SET project = excluded.project, at_us = excluded.at_us, heads = excluded.heads",
        rows,
        group,
    )
    work.change(
        "INSERT INTO current_code (id, code) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET code = excluded.code",
        [(group.facts[-1].code,)],
        group,
    )


def pipeline_paused(work: Work, group: Group[PipelinePaused]) -> None:
    rows = [(f.pipeline, f.is_paused, f.by, f.at_us) for f in group.facts]
    work.change(
        "INSERT INTO paused (pipeline, is_paused, by, at_us) VALUES (?, ?, ?, ?) ON CONFLICT (pipeline)"
        " DO UPDATE SET is_paused = excluded.is_paused, by = excluded.by, at_us = excluded.at_us",
        rows,
        group,
    )


def cursor_moved(work: Work, group: Group[CursorMoved]) -> None:
    for f in group.facts:
        row = work.one("SELECT head FROM logs WHERE name = ?", (f.log,))
        if row is None or row[0] < f.seq:
            raise disagreement(group, f"log {f.log!r} has no fact {f.seq}")
    work.change(
        "INSERT INTO cursors (owner, log, seq) VALUES (?, ?, ?)"
        " ON CONFLICT (owner, log) DO UPDATE SET seq = excluded.seq WHERE cursors.seq < excluded.seq",
        [(group.log, f.log, f.seq) for f in group.facts],
        group,
    )
    for f in group.facts:
        news.passed(work, f.log, f.seq)


def event_rejected(work: Work, group: Group[EventRejected]) -> None:
    work.change(
        "INSERT INTO rejected (log, seq, event, error, about_log, about_seq, at_us) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (group.log, group.seq + i, f.event, f.error, f.log or None, f.seq or None, f.at_us)
            for i, f in enumerate(group.facts)
        ],
        group,
    )


CHANGES = {
    LogTaken: log_taken,
    CodeDeployed: code_deployed,
    PipelinePaused: pipeline_paused,
    CursorMoved: cursor_moved,
    EventRejected: event_rejected,
}
