"""What clients ask, as events: a row of the inbox is checked here, and decided on by the machine."""

from __future__ import annotations

from typing import Any

from headrace.base.instants import iso
from headrace.definitions import project as definitions
from headrace.errors import NotFoundError, RefusedError
from headrace.ports import EngineStore, Request
from headrace.runs.events import AliasAsked, CancelAsked, Event, PauseAsked, RequestSettled, RetryAsked, RunAsked
from headrace.runs.rows import RunRow


def request_event(request: Request, store: EngineStore, current: str = "") -> Event | None:
    """A row of the inbox as an event; None for a verb that is not the machine's. `current` is the deployed code.

    Raises HeadraceError, KeyError.
    """
    body: dict[str, Any] = request.body
    match request.verb:
        case "trigger":
            return _trigger(request, store)
        case "cancel":
            return CancelAsked(body["run"], body.get("by", "somebody"), request.id)
        case "retry":
            return _retry(request, store, current)
        case "pause":
            return PauseAsked(body["pipeline"], body["paused"], body.get("by", "somebody"), request.id)
        case "alias":
            return AliasAsked(body["model"], body["alias"], body.get("version"), body.get("by", "somebody"), request.id)
        case _:
            return None


def _trigger(request: Request, store: EngineStore) -> Event:
    body, key = request.body, _run_key(request)
    run = store.run_of_key(key)
    if run is not None:
        return RequestSettled(request.id, "done", {"run": run, "pipeline": body["pipeline"]})
    window, cause = body.get("window"), body.get("cause") or "person"
    if cause not in ("person", "backfill"):
        raise ValueError(f"a client asks as a person or for a backfill, not as {cause!r}")
    return RunAsked(
        body["pipeline"],
        key,
        cause,
        body.get("params") or {},
        None if window is None else (window[0], window[1]),
        why=body.get("why") or f"asked by {body.get('by', 'somebody')}",
        request=request.id,
        at_us=body.get("at_us"),
    )


def _run_key(request: Request) -> str:
    """The key of the run that a `trigger` asks for: the same request, or the same key for the pipeline, is the same run.

    A key that is given is never that of a slot, of an event or of another pipeline, whatever it says.
    """
    given = request.body.get("key")
    return f"client:{request.body['pipeline']}:{given}" if given else f"person:{request.key}"


def _retry(request: Request, store: EngineStore, current: str) -> RetryAsked:
    name, by = request.body["run"], request.body.get("by", "somebody")
    row = store.run_row(name)
    if row is None:
        raise NotFoundError(f"there is no run {name!r}", cure="headrace runs ls", code="HR2020")
    if row.ended_us is None:
        raise RefusedError(f"run {name} has not ended", cure="wait for it, or cancel it first", code="HR3011")
    if row.state == "succeeded":
        raise RefusedError(f"run {name} succeeded: there is nothing to retry", code="HR3012")
    if row.log.startswith("run:"):
        cure = f"start it in the engine:  headrace trigger {row.pipeline}"
        raise RefusedError(f"run {name} ran in a process of its own", cure=cure, code="HR3013")
    if row.dropped_us is not None:
        raise RefusedError(
            f"the details of run {name} were dropped {iso(row.dropped_us)}: what it had done cannot be carried over",
            cure=f"start a new run:  headrace trigger {row.pipeline}",
            code="HR3015",
        )
    code = request.body.get("code")
    if code is not None:
        code = current if code == "current" else code
        _check_same_graph(row, code, store)
    return RetryAsked(name, by, row.generation + 1, code, request.id, row.key)


def _check_same_graph(row: RunRow, code: str, store: EngineStore) -> None:
    """Results are carried over by the names and maps of the graph, so another graph needs a new run."""
    then = definitions.decode(store.project_of(row.code)).pipelines.get(row.pipeline)
    now = definitions.decode(store.project_of(code)).pipelines.get(row.pipeline)
    if now is None or then is None or then.graph != now.graph:
        raise RefusedError(
            f"the graph of {row.pipeline} is another in code version {code}: results cannot be carried over",
            cure=f"start a new run:  headrace trigger {row.pipeline}",
            code="HR3014",
        )
