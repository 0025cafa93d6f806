"""What others have written since the last look, as events: requests, news of other logs, watermarks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from headrace.base.facts import Stored
from headrace.data.facts import TablePublished
from headrace.engine.listener import Listener
from headrace.engine.requests import request_event
from headrace.engine.suspicion import Key, Suspicion
from headrace.errors import HeadraceError, RefusedError, StoreError
from headrace.ports import EngineStore, Request
from headrace.runs.events import Event, NewsRejected, TriggerSeen, UpdateSeen, WatermarksRead
from headrace.runs.refusal import UNEXPECTED, Refusal
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
        self._suspicion = Suspicion()

    @property
    def bells(self) -> tuple[int, ...]:
        """File descriptors that are readable when somebody has rung."""
        return () if self._bell is None else (self._bell.fileno(),)

    @property
    def has_looked(self) -> bool:
        return self._changes is not None

    def look(self, state: State) -> list[Event]:
        """The news, where there is any. Whoever drops the events calls `forget`, and gets them again.

        Raises StoreError: then the next look finds the same.
        """
        if self._bell is not None:
            self._bell.drain()
        changes = self._store.change_count()
        if changes == self._changes:
            return []
        self._listener.woken()
        marks = self._store.watermarks(state.project)
        heard: list[Event] = [] if marks == state.desks.watermarks else [WatermarksRead(marks)]
        waiting = self._waiting(state) if self._serves else []
        if heard and self._suspicion:
            if not state.desks.watermarks:  # an engine that has just begun: no request is decided without them
                return heard
            heard = []
        self._changes = changes  # only now: what could not be read is looked at again
        return [*heard, *waiting]  # in this order: the window of a training ends where the watermarks stand

    def forget(self) -> None:
        """What was given is given again at the next look."""
        self._changes = None

    def failed(self, events: Sequence[Event], error: Exception) -> None:
        """Acting on the events failed: each of them that waits in the rows is tried once more, alone, and then closed."""
        self._suspicion.failed(
            {key for event in events if (key := _key_of(event)) is not None}, f"{type(error).__name__}: {error}"
        )
        self.dropped(events)

    def dropped(self, events: Sequence[Event]) -> None:
        """Nobody could act on the events, and none of them is to blame: all of them are given again."""
        self._deploying -= {getattr(event, "request", None) for event in events}

    def _waiting(self, state: State) -> list[Event]:
        """Requests, then news of other logs; while one is under suspicion that one alone."""
        requests = {request.id: request for request in self._store.requests()}
        news = {(stored.log, stored.seq): stored for stored in self._store.news()}
        self._deploying &= requests.keys()
        self._suspicion.keep(requests.keys() | news.keys())
        events: list[Event] = []
        for request in requests.values():
            found = [] if request.id in self._deploying else self._request(request, state)
            if found and request.id in self._suspicion:
                return found
            events += found
        for key, stored in news.items():
            seen = self._seen(stored)
            if key in self._suspicion:
                return [seen]
            events.append(seen)
        return events

    def _request(self, request: Request, state: State) -> list[Event]:
        given_up = self._suspicion.given_up(request.id)
        if given_up is not None:
            return [Refusal(UNEXPECTED, given_up).settles(request.id)]
        try:
            event = request_event(request, self._store, state.code)
            if event is not None:
                return [event]
            events = self._listener.asked(request)
        except StoreError:  # no answer to the request: it waits in its row
            raise
        except HeadraceError as error:
            return [Refusal.of(error).settles(request.id)]
        except (KeyError, TypeError, ValueError) as error:
            malformed = RefusedError(f"the request {request.verb!r} is malformed: {error!r}", code="HR3001")
            return [Refusal.of(malformed).settles(request.id)]
        if not events:
            self._deploying.add(request.id)
        return events

    def _seen(self, stored: Stored) -> Event:
        why = self._suspicion.given_up((stored.log, stored.seq))
        return _event_of(stored) if why is None else NewsRejected(stored.log, stored.seq, repr(stored.fact), why)


def _key_of(event: Event) -> Key | None:
    if isinstance(event, TriggerSeen | UpdateSeen):
        return event.log, event.seq
    return getattr(event, "request", None)


def _event_of(stored: Stored) -> Event:
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
