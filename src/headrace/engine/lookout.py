"""What others have written since the last look, as events: requests, news of other logs, watermarks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from headrace.base.facts import Stored
from headrace.data.facts import TablePublished
from headrace.engine.listener import Listener
from headrace.engine.requests import request_event
from headrace.errors import HeadraceError
from headrace.ports import EngineStore, Request
from headrace.runs.events import Event, RequestSettled, TriggerSeen, UpdateSeen, WatermarksRead
from headrace.runs.state import State
from headrace.streams.facts import TriggerFired


class Bell(Protocol):
    """The doorbell's listening end."""

    def fileno(self) -> int: ...
    def drain(self) -> None: ...


class Lookout:
    """Reads the store when somebody has written. What it gives is in the rows until it is acted on, so it keeps nothing.

    But for deploys: those are answered later, and must not be begun again at each look.
    """

    def __init__(self, store: EngineStore, listener: Listener, bell: Bell | None, *, serves: bool) -> None:
        self._store, self._listener, self._bell, self._serves = store, listener, bell, serves
        self._changes: int | None = None
        self._deploying: set[int] = set()
        self._suspects: set[int] = set()
        self._given_up: dict[int, str] = {}

    @property
    def has_looked(self) -> bool:
        return self._changes is not None

    def look(self, state: State) -> list[Event]:
        """The news, where there is any. Whoever drops the events calls `forget`, and gets them again."""
        if self._bell is not None:
            self._bell.drain()
        changes = self._store.change_count()
        if changes == self._changes:
            return []
        self._changes = changes
        self._listener.woken()
        events: list[Event] = []
        if self._serves:
            events += self._requests(state)
            events += [_seen(stored) for stored in self._store.news()]
        marks = self._store.watermarks(state.project)
        if marks != state.desks.watermarks:
            events.append(WatermarksRead(marks))
        return events

    def forget(self) -> None:
        """What was given is given again at the next look."""
        self._changes = None

    def failed(self, events: Sequence[Event], error: Exception) -> None:
        """Acting on the events failed: each request among them is tried once more, alone, and then answered."""
        for event in events:
            request = getattr(event, "request", None)
            if request in self._suspects:
                self._given_up[request] = f"{type(error).__name__}: {error}"
            elif request is not None:
                self._suspects.add(request)
                self._deploying.discard(request)

    def _requests(self, state: State) -> list[Event]:
        waiting = self._store.requests()
        open_ones = {request.id for request in waiting}
        self._deploying &= open_ones
        self._suspects &= open_ones
        self._given_up = {request: why for request, why in self._given_up.items() if request in open_ones}
        events: list[Event] = []
        for request in waiting:
            if request.id in self._deploying:
                continue
            events += self._request(request, state)
            if request.id in self._suspects:
                break  # alone, so that only its own decision fails if it fails again
        return events

    def _request(self, request: Request, state: State) -> list[Event]:
        if request.id in self._given_up:
            answer = {"code": "HR0001", "message": self._given_up[request.id], "cure": None}
            return [RequestSettled(request.id, "error", answer)]
        try:
            event = request_event(request, self._store, state.code)
            if event is not None:
                return [event]
            events = self._listener.deploy(request)
        except HeadraceError as error:
            answer = {"code": error.code, "message": error.message, "cure": error.cure}
            return [RequestSettled(request.id, "refused", answer)]
        except (KeyError, TypeError, ValueError) as error:
            answer = {"code": "HR3001", "message": f"the request {request.verb!r} is malformed: {error!r}"}
            return [RequestSettled(request.id, "refused", answer)]
        if not events:
            self._deploying.add(request.id)
        return events


def _seen(stored: Stored) -> Event:
    match stored.fact:
        case TriggerFired() as fired:
            return TriggerSeen(
                stored.log, stored.seq, fired.pipeline, f"event:{fired.pipeline}:{fired.slug}:{fired.key}",
                fired.ranges, fired.event_time_us,
            )  # fmt: skip
        case TablePublished() as published:
            return UpdateSeen(stored.log, stored.seq, published)
        case fact:
            raise AssertionError(f"nobody acts on {fact.kind} of another log")
