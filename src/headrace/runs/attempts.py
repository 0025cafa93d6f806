"""Attempts: what their ends mean. A result with all that it publishes, a failure, a loss, a start that goes back."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.base.facts import Fact
from headrace.data.facts import TopicAppended, TopicShaped
from headrace.runs import events as e
from headrace.runs import facts as f
from headrace.runs.active import Active
from headrace.runs.commands import AnswerPin, KillWorker
from headrace.runs.following import ending
from headrace.runs.hearing import Heard
from headrace.runs.outcome import Filed, Outcome
from headrace.runs.path import item_key, path_text
from headrace.runs.pool import Flight
from headrace.runs.retry import retry_delay_us
from headrace.runs.state import State
from headrace.runs.timers import GraceOver, TimeoutDue


def on_done(state: State, event: e.AttemptDone, heard: Heard) -> Iterator[Outcome]:
    for active, flight, _ in _of_open_runs(state, heard):
        shapes = [TopicShaped(w.topic, w.schema, state.now_us) for w in event.effects.topics if w.schema is not None]
        unfit = next((shape.topic for shape in shapes if not shape.fits(state.desks.columns.get(shape.topic))), None)
        if unfit is not None:  # its rows are to be fitted to those columns, and only the task can make them again
            yield loss(state, active, flight, f"another writer gave the topic {unfit} its columns meanwhile")
            continue
        overlap = state.desks.tables.unfit(active, event.effects.tables)
        if overlap is not None:
            error = f"RefusedError {overlap.code}: {overlap.message}; {overlap.cure}"
            yield failure(state, active, flight, error, "", event.log, retryable=False)
            continue
        yield f.AttemptSucceeded(
            *_place(flight), state.now_us, event.took_us, event.result, log=event.log, reads=event.reads
        )
        yield from shapes
        yield from (Filed(appended(write, state.now_us), write.path) for write in event.effects.topics)
        yield from state.desks.on_effects(state, active.run, active.code, flight, event.effects)


def on_errored(state: State, event: e.AttemptErrored, heard: Heard) -> Iterator[Outcome]:
    for active, flight, _ in _of_open_runs(state, heard):
        if active.is_cancelled:
            yield f.AttemptCancelled(*_place(flight), state.now_us)
        else:
            yield failure(state, active, flight, event.error, event.detail, event.log, retryable=event.retryable)


def on_returned(state: State, heard: Heard) -> Iterator[Outcome]:
    for active, flight, _ in _of_open_runs(state, heard):
        if active.is_cancelled:
            yield f.AttemptCancelled(*_place(flight), state.now_us)
        else:
            yield f.AttemptReturned(*_place(flight))


def on_timeout(state: State, due: TimeoutDue, heard: Heard) -> Iterator[Outcome]:
    for active, flight, _ in _of_open_runs(state, heard):
        error = f"TimeoutError: the attempt took longer than its timeout of {(flight.timeout_us or 0) / 1e6:g} s"
        yield failure(state, active, flight, error, "", None)
        yield KillWorker(due.worker, "an attempt timed out")


def on_grace_over(state: State, due: GraceOver) -> Iterator[Outcome]:
    """An attempt that was told to stop and has not: its worker is ended."""
    worker = state.pool.workers.get(due.worker)
    if worker is not None and due.serial in worker.flights:
        yield KillWorker(due.worker, "an attempt of a cancelled run did not stop")


def on_died(state: State, event: e.WorkerDied, heard: Heard) -> Iterator[Outcome]:
    for active, flight, serial in _of_open_runs(state, heard):
        if active.is_cancelled:
            yield f.AttemptCancelled(*_place(flight), state.now_us)
        elif serial <= event.begun:
            yield loss(state, active, flight, event.why)
        else:
            yield f.AttemptReturned(*_place(flight))
    if heard.unready:  # the code is to blame, and its runs end
        why = f"no worker can load code version {heard.unready}: {event.why}"
        for active in tuple(state.runs.values()):
            if active.code == heard.unready and active.progress.running == 0:
                yield from ending(state, active, "failed", why, by="code")


def on_pin(state: State, event: e.PinAsked) -> Iterator[Outcome]:
    worker = state.pool.workers.get(event.worker)
    flight = worker.flights.get(event.serial) if worker is not None else None
    active = state.runs.get(flight.run) if flight is not None else None
    if active is None:
        return
    pin = active.pins.get(event.dataset, event.pin)
    if event.dataset not in active.pins:
        yield f.InputPinned(active.run, event.dataset, event.pin)
    yield AnswerPin(event.worker, event.serial, event.dataset, pin)


def failure(
    state: State,
    active: Active,
    flight: Flight,
    error: str,
    detail: str,
    log: f.LogSpan | None,
    *,
    retryable: bool = True,
) -> Fact:
    """The attempt's code raised or timed out: tried again, or failed for good."""
    group = active.progress.groups[flight.node, flight.path]
    tries = group.tries.get(flight.item)
    failures = (tries.failed if tries is not None else 0) + 1
    retry_at_us = None
    if retryable and not active.is_cancelled:
        key = item_key(active.run, flight.node, flight.path, flight.item)
        delay_us = retry_delay_us(group.plan.node.options, failures, key)
        retry_at_us = None if delay_us is None else state.now_us + delay_us
    return f.AttemptFailed(*_place(flight), state.now_us, error, detail, retry_at_us, log)


def loss(state: State, active: Active, flight: Flight, why: str) -> f.AttemptLost:
    """The attempt's process died: it starts again, until `max_lost` is used up."""
    group = active.progress.groups[flight.node, flight.path]
    tries = group.tries.get(flight.item)
    lost = (tries.lost if tries is not None else 0) + 1
    limit = group.plan.node.options.max_lost
    limit = active.max_lost if limit is None else limit
    return f.AttemptLost(*_place(flight), state.now_us, why, ends=lost > limit)


def appended(write: f.TopicWrite, now_us: int) -> TopicAppended:
    """What is appended when the attempt is accepted."""
    return TopicAppended(
        write.topic,
        write.partition,
        write.rows,
        now_us,
        min_time_us=write.min_time_us if write.is_timed else now_us,
        max_time_us=write.max_time_us if write.is_timed else now_us,
        min_known_us=write.min_known_us if write.is_known else now_us,
        max_known_us=write.max_known_us if write.is_known else now_us,
        partitions=write.partitions,
        settled_us=write.settled_us,
    )


def _of_open_runs(state: State, heard: Heard) -> Iterator[tuple[Active, Flight, int]]:
    for serial, flight in heard.flights:
        active = state.runs.get(flight.run)
        if active is not None:
            yield active, flight, serial


def _place(flight: Flight) -> tuple[str, str, str, int, int, int]:
    return (flight.run, flight.node, path_text(flight.path), flight.item, flight.attempt, flight.epoch)
