"""Requests of clients: what is asked for, or why it is refused."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, cast

import msgspec

from headrace.base.instants import iso
from headrace.base.shown import shown
from headrace.definitions.project import OnEvent, ParamDef, PipelineDef
from headrace.errors import NotFoundError, RefusedError
from headrace.runs import events as e
from headrace.runs import facts as f
from headrace.runs.commands import CancelAttempt, ReloadRun
from headrace.runs.outcome import Outcome
from headrace.runs.rows import RUN_LOGS, RunRow
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
    if active is None and event.run not in state.reviving:
        raise not_running(event.run)
    if not (active.is_cancelled if active is not None else state.reviving[event.run]):
        yield f.RunCancelled(event.run, state.now_us, event.by)
        for worker in state.pool.workers.values():
            for serial, flight in worker.flights.items():
                if flight.run == event.run:
                    yield CancelAttempt(worker.name, serial)
    yield from answered(state, event.request, {"run": event.run})


def not_running(run: str, ended: str = "") -> RefusedError:
    """Why it cannot be cancelled; `ended` is the state that it ended in, where that is known."""
    how = f": it has {ended}" if ended in ("succeeded", "failed") else f": it was {ended}" if ended else ""
    return RefusedError(f"run {run} is not running{how}", cure=f"headrace runs show {run}", code="HR3010")


def on_retry(state: State, event: e.RetryAsked) -> Iterator[Outcome]:
    row = check_retry(event, is_open=event.run in state.runs or event.run in state.reviving)
    yield from state.desks.on_retry(state, row)
    yield f.RunRetried(event.run, row.generation + 1, state.now_us, event.by, event.code or "", _forgives(event))
    yield ReloadRun(event.run)
    yield from answered(state, event.request, {"run": event.run})


def _forgives(event: e.RetryAsked) -> dict[str, int]:
    """What a consumer may have taken for final: the list without them, which numbers the items of a map over it."""
    graph = event.graphs[0]
    nodes = () if graph is None else graph.nodes
    return {node.name: node.options.allow_failed for node in nodes if node.scope and node.options.allow_failed}


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


def check_retry(event: e.RetryAsked, *, is_open: bool = False) -> RunRow:
    """The run that goes again. `is_open`: it does already. Raises NotFoundError, RefusedError."""
    name, row = event.run, event.row
    if row is None:
        raise NotFoundError(f"there is no run {shown(name)}", cure="headrace runs ls", code="HR2020")
    if row.ended_us is None or is_open:
        raise RefusedError(f"run {name} has not ended", cure="wait for it, or cancel it first", code="HR3011")
    if row.state == "succeeded":
        raise RefusedError(f"run {name} succeeded: there is nothing to retry", code="HR3012")
    anew = f"headrace trigger {row.pipeline}"
    if row.log.startswith(RUN_LOGS):
        cure = f"start it in the engine:  {anew}"
        raise RefusedError(f"run {name} ran in a process of its own", cure=cure, code="HR3013")
    if row.dropped_us is not None:
        raise RefusedError(
            f"the details of run {name} were dropped {iso(row.dropped_us)}: what it had done cannot be carried over",
            cure=f"start a new run:  {anew}",
            code="HR3015",
        )
    then, now = event.graphs
    # Results are carried over by the names and maps of the graph, so another graph needs a new run.
    if event.code is not None and (now is None or then is None or then != now):
        raise RefusedError(
            f"the graph of {row.pipeline} is another in code version {event.code}: results cannot be carried over",
            cure=f"start a new run:  {anew}",
            code="HR3014",
        )
    return row


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
    """Raises RefusedError for a parameter that the pipeline does not take, one that it needs, and one that does not fit."""
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
    for name, value in params.items():
        wanted = misfit(known[name], value)
        if wanted is not None:
            raise RefusedError(
                f"{name} of {definition.name} is {wanted}, got {value!r:.80}", cure=f"give {wanted}", code="HR3023"
            )


def misfit(param: ParamDef, value: Any) -> str | None:
    """What was wanted instead of the value; None where it fits.

    Parameters are kept as JSON, which has no nan and no infinity: they would come to the task as None.

    >>> misfit(ParamDef("rate", "float"), float("nan")), misfit(ParamDef("sizes", "list"), [1])
    ('a finite number', None)
    """
    if not _is_finite(value):
        return "a finite number" if isinstance(value, float) else "made of finite numbers"
    if value is None and not param.required and param.default is None:
        return None
    if param.type == "list" and not isinstance(value, list | tuple):
        return "a list"
    return "a dict" if param.type == "dict" and not isinstance(value, dict) else None


def _is_finite(value: Any) -> bool:
    match value:
        case float():
            return math.isfinite(value)
        case list() | tuple():
            return all(map(_is_finite, cast("Iterable[Any]", value)))
        case dict():
            return all(map(_is_finite, cast("dict[Any, Any]", value).values()))
        case _:
            return True
