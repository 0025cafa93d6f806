"""Events → what they tell about the world outside: heard before anything is decided on them.

What is on its way into it is in `sending`, what a start finds in rows in `restoring`.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.runs import events as e
from headrace.runs import timers as t
from headrace.runs.applying import published, take_in
from headrace.runs.group import WAITING
from headrace.runs.pool import Flight
from headrace.runs.state import State

# Workers of one code that went before they could take work, one after the other: three that could not load it are enough.
# One that was killed may have been in the way of somebody (memory was short, say), and counts little.
UNREADY_LIMIT, UNLOADED, KILLED = 30, 10, 1


@dataclass(frozen=True, slots=True)
class Heard:
    """What came to an end with an event: attempts that no worker holds any longer, a code that no worker can load."""

    flights: tuple[tuple[int, Flight], ...] = ()  # with their serials
    unready: str = ""


NOTHING = Heard()


def hear(state: State, event: e.Event | t.Deadline) -> Heard:
    """Take in what the event tells. A report that nobody waits for, and a deadline that has become idle, tell nothing."""
    match event:
        case e.AttemptDone():
            heard = _report(state, event.worker, event.serial)
            for _, flight in heard.flights:
                if flight.run in state.runs:
                    state.pool.measured(state.runs[flight.run].pipeline, flight.node, event.took_us)
            return heard
        case e.AttemptErrored():
            return _report(state, event.worker, event.serial)
        case e.AttemptsReturned():
            return _returned(state, event)
        case e.WorkerReady():
            worker = state.pool.workers.get(event.worker)
            if worker is not None:
                worker.is_ready, worker.idle_since_us = True, state.mono_us
                state.unready.pop(worker.code, None)
        case e.WorkerDied():
            return _death(state, event)
        case e.Deployed():
            state.projects[event.code] = event.project
        case e.RunRestored():
            state.reviving.pop(event.active.run, None)
            take_in(state, event.active)
        case e.UpdateSeen():
            state.desks.tables.apply(event.published)
            published(state, event.published)
        case e.SlotsRead():
            state.desks.schedules.know(event)
        case e.WatermarksRead():
            state.desks.watermarks = dict(event.through_us)
            state.touched.update((run, None) for run, active in state.runs.items() if active.waits)
        case t.RetryDue():
            _retry(state, event)
        case t.TimeoutDue():
            return _timeout(state, event)
        case _:
            pass
    return NOTHING


def _report(state: State, worker_name: str, serial: int) -> Heard:
    worker = state.pool.workers.get(worker_name)
    flight = worker.take(serial, state.mono_us) if worker is not None else None
    return NOTHING if flight is None else Heard(((serial, flight),))


def _returned(state: State, event: e.AttemptsReturned) -> Heard:
    """What it is in takes longer than was reckoned with, and so may the next of that task."""
    worker = state.pool.workers.get(event.worker)
    if worker is None:
        return NOTHING
    running = worker.lengthen(event.serial, event.running_us)
    if running is not None and running.run in state.runs:
        state.pool.measured(state.runs[running.run].pipeline, running.node, event.running_us)
    back = ((serial, worker.take(serial, state.mono_us)) for serial in event.serials)
    return Heard(tuple((serial, flight) for serial, flight in back if flight is not None))


def _death(state: State, event: e.WorkerDied) -> Heard:
    worker = state.pool.workers.pop(event.worker, None)
    if worker is None:
        return NOTHING
    unready = ""
    if not worker.is_ready and not worker.is_leaving:
        before = state.unready.get(worker.code, 0)
        state.unready[worker.code] = before + (KILLED if event.was_killed else UNLOADED)
        if state.unready[worker.code] // UNREADY_LIMIT > before // UNREADY_LIMIT:
            unready = worker.code
    return Heard(tuple(worker.flights.items()), unready)


def _retry(state: State, due: t.RetryDue) -> None:
    active = state.runs.get(due.run)
    if active is None or active.is_cancelled or active.generation != due.generation:
        return
    if active.progress.groups[due.node, due.path].status[due.item] == WAITING:
        active.progress.again(due.node, due.path, due.item)
        state.touched[due.run] = None


def _timeout(state: State, due: t.TimeoutDue) -> Heard:
    worker = state.pool.workers.get(due.worker)
    flight = worker.flights.get(due.serial) if worker is not None else None
    if worker is None or flight is None or flight.timeout_us is None:
        return NOTHING
    serial, begun_us = state.begun.get(due.worker, (0, 0))
    since_us = begun_us if serial == due.serial else state.mono_us
    if since_us + flight.timeout_us > state.mono_us:  # queued behind others, or begun later than it was sent
        state.timers.add(since_us + flight.timeout_us, due)
        return NOTHING
    return _report(state, due.worker, due.serial)
