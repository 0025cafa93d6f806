"""The attempt that the calling code belongs to."""

from __future__ import annotations

from headrace.data.access import Attempt, access
from headrace.data.recording import act_now
from headrace.data.where import user_line
from headrace.errors import RefusedError


def current() -> Attempt:
    """The running attempt: its run, task, number, and the `key` and `token` that make effects outside Headrace safe.

    Raises `RefusedError` where no attempt runs.
    """
    act_now("hr.current()", "call it inside a task")
    attempt = access().attempt()
    if attempt is None:
        raise RefusedError(
            "no attempt runs here",
            where=user_line(),
            cure="hr.current() is for the inside of a task that a run executes",
        )
    return attempt
