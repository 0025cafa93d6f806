"""Requests of clients: what is asked for, or why it is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from headrace.definitions.project import OnEvent, PipelineDef
from headrace.errors import RefusedError
from headrace.runs import events as e
from headrace.runs import facts as f
from headrace.runs.commands import CancelAttempt, ReloadRun
from headrace.runs.outcome import Outcome
from headrace.runs.state import State


def on_run_asked(state: State, event: e.RunAsked) -> Iterator[Outcome]:
    definition = state.pipeline(event.pipeline)
    check_params(definition, event.params)
    if not event.events:
        check_events(definition)
    if event.key in state.keys:
        raise RefusedError(
            f"the key {event.key!r} was asked for twice at once", cure="ask again: the answer is then the same run"
        )
    run: str | None = None
    for fact in state.desks.on_run_asked(state, definition, event):
        yield fact
        run = fact.run if isinstance(fact, f.RunCreated) else run
    yield from answered(state, event.request, {"run": run, "pipeline": event.pipeline})


def on_cancel(state: State, event: e.CancelAsked) -> Iterator[Outcome]:
    active = state.runs.get(event.run)
    if active is None:
        raise RefusedError(f"run {event.run} is not running", cure=f"headrace runs show {event.run}", code="HR3010")
    if not active.is_cancelled:
        yield f.RunCancelled(event.run, state.now_us, event.by)
        for worker in state.pool.workers.values():
            for serial, flight in worker.flights.items():
                if flight.run == event.run:
                    yield CancelAttempt(worker.name, serial)
    yield from answered(state, event.request, {"run": event.run})


def on_retry(state: State, event: e.RetryAsked) -> Iterator[Outcome]:
    if event.run in state.runs or event.run in state.reviving:
        raise RefusedError(f"run {event.run} has not ended", cure="wait for it, or cancel it first", code="HR3011")
    yield from state.desks.on_retry(state, event)
    yield f.RunRetried(event.run, event.generation, state.now_us, event.by, event.code or "")
    yield ReloadRun(event.run)
    yield from answered(state, event.request, {"run": event.run})


def on_pause(state: State, event: e.PauseAsked) -> Iterator[Outcome]:
    state.pipeline(event.pipeline)
    yield f.PipelinePaused(event.pipeline, event.is_paused, event.by, state.now_us)
    yield from answered(state, event.request, {"pipeline": event.pipeline, "paused": event.is_paused})


def on_alias(state: State, event: e.AliasAsked) -> Iterator[Outcome]:
    yield from state.desks.on_alias(state, event)
    yield from answered(state, event.request, {"model": event.model, "alias": event.alias})


def on_deployed(state: State, event: e.Deployed) -> Iterator[Outcome]:
    if event.code != state.code:
        yield f.CodeDeployed(event.code, msgspec.Raw(event.body), state.now_us)
    yield from answered(state, event.request, {"code": event.code})


def answered(state: State, request: int | None, answer: dict[str, Any], status: str = "done") -> Iterator[Outcome]:
    """The answer, where somebody waits for one."""
    if request is not None:
        yield f.RequestAnswered(request, status, answer, state.now_us)


def check_events(definition: PipelineDef) -> None:
    """Raises RefusedError for a pipeline that takes rows as its events: only its trigger can give them."""
    if all(p.kind != "events" for p in definition.params):
        return
    topics = [trigger.topic for trigger in definition.triggers if isinstance(trigger, OnEvent)]
    raise RefusedError(
        f"{definition.name} is started by rows of {' or '.join(topics) or 'a topic, and it has no trigger for one'}",
        cure=f"headrace topics append {topics[0]} …" if topics else "give it one: triggers=[hr.event(topic)]",
        code="HR3021",
    )


def check_params(definition: PipelineDef, params: dict[str, Any]) -> None:
    """Raises RefusedError for a parameter that the pipeline does not take, and for one that it needs."""
    known = {p.name: p for p in definition.params if p.kind == "value"}
    for name in params:
        if name not in known:
            raise RefusedError(
                f"{definition.name} has no parameter {name!r}; it takes {', '.join(known) or 'none'}",
                cure=f"headrace trigger {definition.name} --help",
                code="HR3020",
            )
    missing = [p.name for p in known.values() if p.required and p.name not in params]
    if missing:
        raise RefusedError(f"{definition.name} needs {', '.join(missing)}", cure=f"give {missing[0]}=…", code="HR3021")
