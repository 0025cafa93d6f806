"""Events and deadlines → facts and commands. Each is heard first (`hearing`); here the state is only read.

What is decided is applied as it comes out, so a later part of one decision sees the earlier ones.
"""

from __future__ import annotations

from collections.abc import Iterator

from headrace.runs import asking, attempts, following, retention
from headrace.runs import events as e
from headrace.runs import facts as f
from headrace.runs import timers as t
from headrace.runs.hearing import Heard
from headrace.runs.outcome import Outcome
from headrace.runs.refusal import rejected
from headrace.runs.state import State


def decide(state: State, event: e.Event | t.Deadline, heard: Heard) -> Iterator[Outcome]:
    """Raises HeadraceError before anything came out, where a request is refused."""
    match event:
        case e.AttemptDone():
            yield from attempts.on_done(state, event, heard)
        case e.AttemptErrored():
            yield from attempts.on_errored(state, event, heard)
        case e.AttemptsReturned():
            yield from attempts.on_returned(state, heard)
        case e.PinAsked():
            yield from attempts.on_pin(state, event)
        case e.WorkerDied():
            yield from attempts.on_died(state, event, heard)
        case t.TimeoutDue():
            yield from attempts.on_timeout(state, event, heard)
        case t.GraceOver():
            yield from attempts.on_grace_over(state, event)
        case e.RunAsked():
            yield from asking.on_run_asked(state, event)
        case e.CancelAsked():
            yield from asking.on_cancel(state, event)
        case e.RetryAsked():
            yield from asking.on_retry(state, event)
        case e.PauseAsked():
            yield from asking.on_pause(state, event)
        case e.AliasAsked():
            yield from asking.on_alias(state, event)
        case e.Deployed():
            yield from asking.on_deployed(state, event)
        case e.RequestSettled():
            yield f.RequestAnswered(event.request, event.status, event.answer, state.now_us)
        case e.TriggerSeen():
            yield from state.desks.on_trigger(state, event)
            yield f.CursorMoved(event.log, event.seq)
        case e.UpdateSeen():
            yield from state.desks.on_published(state, event.published.table, event.published.version_number)
            yield f.CursorMoved(event.log, event.seq)
        case e.NewsRejected():
            yield from rejected(event.event, event.error, state.now_us, event.log, event.seq)
        case e.SlotsRead():
            yield from state.desks.schedules.on_read(state, event)
        case e.DetailsOld():
            yield from retention.on_old(state, event)
        case e.FilesGone():
            yield from retention.on_files_gone(state, event)
        case t.PatienceOver():
            yield from following.on_patience_over(state, event)
        case e.WorkerReady() | e.RunRestored() | e.WatermarksRead() | t.RetryDue():
            pass  # all that they tell was heard
