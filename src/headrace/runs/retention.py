"""Details of old runs → the facts that they are gone. Nothing of it is kept in memory: it is about runs that have ended."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.runs import events as e
from headrace.runs import facts as f
from headrace.runs.outcome import Outcome
from headrace.runs.state import State


def on_old(state: State, event: e.DetailsOld) -> Iterator[Outcome]:
    """Nothing where one of them goes again: its facts were counted before, and the rest is found at the next look."""
    if not any(run in state.runs or run in state.reviving for run in event.runs):
        yield f.DetailsDropped(event.runs, event.before_us, event.gone, state.now_us)


def on_files_gone(state: State, event: e.FilesGone) -> Iterator[Outcome]:
    yield f.FilesDropped(event.runs, state.now_us)
