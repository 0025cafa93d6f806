"""A pipeline that every event starts."""

from __future__ import annotations

import time

import headrace as hr

alarms = hr.Topic("alarms", schema={"id": str}, key="id")


@hr.task
def moment(events: hr.Events) -> int:  # noqa: ARG001 - that it is given them is the point
    """When user code begins, in nanoseconds of the monotonic clock, which all processes share."""
    return time.monotonic_ns()


@hr.pipeline
def respond(events: hr.Events) -> None:
    moment(events)


respond.on(hr.event(alarms))
