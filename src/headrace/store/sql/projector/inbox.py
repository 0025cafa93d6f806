"""Answers to requests. The requests themselves are written by `ask`, since who asks has no log."""

from __future__ import annotations

from headrace.runs.facts import RequestAnswered
from headrace.store.sql.projector.work import Group, Work, text


def request_answered(work: Work, group: Group[RequestAnswered]) -> None:
    work.change(
        "UPDATE inbox SET status = ?, answer = ?, answered_us = ? WHERE id = ? AND status IS NULL",
        [(f.status, text(f.answer), f.at_us, f.request) for f in group.facts],
        group,
    )


CHANGES = {RequestAnswered: request_answered}
