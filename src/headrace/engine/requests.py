"""What clients ask, as events: a row of the inbox is checked here, and decided on by the machine."""

from __future__ import annotations

from typing import Any

from headrace.definitions import project as definitions
from headrace.definitions.nodes import Graph
from headrace.ports import EngineStore, Request
from headrace.runs.events import AliasAsked, CancelAsked, Event, PauseAsked, RequestSettled, RetryAsked, RunAsked
from headrace.runs.rows import RUN_LOGS, RunRow
from headrace.runs.state import definition_of


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
    row, code = store.run_row(name), request.body.get("code")
    if row is None or row.log.startswith(RUN_LOGS):  # the code of what ran elsewhere need not have been deployed
        return RetryAsked(name, by, row, request=request.id)
    code = current if code == "current" else code
    then, now = _graph(row, row.code, store), None if code is None else _graph(row, code, store)
    return RetryAsked(name, by, row, code, (then, now), request.id)


def _graph(row: RunRow, code: str, store: EngineStore) -> Graph | None:
    definition = definition_of(definitions.decode(store.project_of(code)), row.pipeline)
    return None if definition is None else definition.graph
