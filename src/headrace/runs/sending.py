"""Commands → what is on its way into the world outside once they are sent, which is after the commit."""

from __future__ import annotations

from headrace.runs import commands as c
from headrace.runs.pool import Flight
from headrace.runs.state import State
from headrace.runs.timers import GraceOver, TimeoutDue

CANCEL_GRACE_US = 5_000_000


def send(state: State, command: c.Command) -> None:
    """Reckon with it from now on."""
    match command:
        case c.StartAttempt():
            _start(state, command)
        case c.SpawnWorker(worker=worker, code=code):
            state.pool.add(worker, code, state.mono_us)
        case c.StopWorker(worker=worker) | c.KillWorker(worker=worker):
            state.pool.workers[worker].is_leaving = True
        case c.CancelAttempt(worker=worker, serial=serial):
            watch_grace(state, worker, serial)
        case c.ReloadRun(run=run):
            state.reviving[run] = False
        case c.ReadSlots(pipeline=pipeline, slug=slug):
            state.desks.schedules.asked.add((pipeline, slug))
        case c.AnswerPin():
            pass


def watch_grace(state: State, worker: str, serial: int) -> None:
    """An attempt is told to stop: it gets the grace, then its worker is ended."""
    state.timers.add(state.mono_us + CANCEL_GRACE_US, GraceOver(worker, serial))


def _start(state: State, start: c.StartAttempt) -> None:
    node = start.node
    timeout_us = node.options.timeout_us
    expected_us = state.pool.expected_us(start.pipeline, node.name)
    flight = Flight(start.run, node.name, start.path, start.item, start.attempt, start.epoch, expected_us, timeout_us)
    state.pool.workers[start.worker].give(start.serial, flight, state.mono_us)
    if timeout_us is not None:
        state.timers.add(state.mono_us + timeout_us, TimeoutDue(start.worker, start.serial))
