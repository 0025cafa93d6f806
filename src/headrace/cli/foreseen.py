"""What an engine would refuse by what the rows say already: refused at once where no engine is alive to say so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headrace.cli.here import Here
    from headrace.store.sql.reads.inbox import RequestRow


def subject_of(body: dict[str, Any]) -> str:
    """What a request is about: a pipeline, a run or a model; "" for none."""
    return str(next((body[name] for name in ("pipeline", "run", "model") if name in body), ""))


def refuse_early(here: Here, verb: str, body: dict[str, Any]) -> None:
    """Raises what an engine would answer; nothing where requests about the same wait already, which may change it."""
    from headrace.store.sql.reads import inbox

    waiting: list[RequestRow] = [row for row in inbox.requests(here.db) if row.status is None]
    if any(subject_of(row.body) == subject_of(body) for row in waiting):
        return
    match verb:
        case "cancel":
            _cancel(here, body["run"])
        case "retry":
            _retry(here, body)
        case "alias":
            _alias(here, body["model"], body["alias"], body.get("version"))
        case _:
            pass


def _cancel(here: Here, run: str) -> None:
    from headrace.runs.asking import not_running
    from headrace.store.sql.reads import runs

    row = runs.run(here.db, run)
    if row is not None and row.ended_us is not None:
        raise not_running(run, row.state)


def _retry(here: Here, body: dict[str, Any]) -> None:
    from headrace.engine.requests import request_event
    from headrace.ports import Request
    from headrace.runs.asking import check_retry
    from headrace.runs.events import RetryAsked
    from headrace.store.sql.engine_store import EngineSqlStore
    from headrace.store.sql.reads.project import current_code

    code = current_code(here.db)
    store = here.store
    assert isinstance(store, EngineSqlStore), "whoever asks has opened the store for writing"
    event = request_event(Request(0, "", "retry", body, 0), store, "" if code is None else code.code)
    assert isinstance(event, RetryAsked)
    check_retry(event)


def _alias(here: Here, model: str, alias: str, version: int | None) -> None:
    from headrace.runs.events import AliasAsked
    from headrace.runs.training import alias_target
    from headrace.store.sql.reads import models

    newest = models.versions(here.db, model, limit=1)
    alias_target(
        AliasAsked(model, alias, version, by=""),
        last=newest[0].version if newest else 0,
        current=models.alias(here.db, model, alias) or 0,
        served=models.champions(here.db, model),
    )
