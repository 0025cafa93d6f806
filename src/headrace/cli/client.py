"""Asking the engine: a durable row in its inbox, a ring of its doorbell, and the wait for its answer."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import Any

from headrace.cli.foreseen import refuse_early
from headrace.cli.here import Here, now_us, user
from headrace.cli.output import notice
from headrace.errors import (
    EngineUnavailableError,
    HeadraceError,
    NotFoundError,
    ProjectError,
    RefusedError,
    RunFailedError,
    StoreError,
)
from headrace.host.doorbell import doorbell_path, ring
from headrace.host.failpoints import reach

WAITS_UNTIL = "waits_until_us"  # in a request: until then (UTC) its client waits for the answer, and tells it
_POLL_S = 0.02
_BY_CODE: dict[str, type[HeadraceError]] = {
    "HR1": ProjectError,
    "HR2": NotFoundError,
    "HR3": RefusedError,
    "HR4": StoreError,
    "HR5": EngineUnavailableError,
    "HR6": RunFailedError,
}


@dataclass(frozen=True)
class Asked:
    """A request that is stored."""

    id: int
    key: str
    verb: str


def ask(here: Here, verb: str, body: dict[str, Any], *, key: str | None = None, waits_s: float | None = None) -> Asked:
    """Write the request: it survives everything from here on. The same `key` is the same request.

    Who will wait `waits_s` seconds for the answer says so, and what it is told is no news to `headrace why`.

    Raises at once, and writes nothing, where no engine is alive and one would refuse it by what the rows say.
    """
    if here.engine is None:
        refuse_early(here, verb, body)
    chosen = key or f"{verb}:{secrets.token_hex(8)}"
    at_us = now_us()
    waits = {} if waits_s is None or here.engine is None else {WAITS_UNTIL: at_us + int(waits_s * 1_000_000)}
    request = here.store.ask(verb, {**body, **waits, "by": user()}, key=chosen, at_us=at_us)
    ring(doorbell_path(here.settings.home))
    reach("client.after_asking")
    if here.engine is None:
        notice(f"no engine is alive: request {request} is stored; it will be done when `headrace dev` starts")
    return Asked(request, chosen, verb)


def answer(here: Here, asked: Asked, *, timeout_s: float) -> Any:
    """Wait for what the engine answers.

    Raises what the engine refused with, and EngineUnavailableError after `timeout_s` seconds without an answer.
    """
    until = time.monotonic() + timeout_s
    while (found := here.store.answer(asked.id)) is None:
        if time.monotonic() >= until:
            raise EngineUnavailableError(
                f"request {asked.id} ({asked.verb}) is stored, and no engine has answered it for {timeout_s:g} s",
                where=str(here.settings.home),
                cure="headrace dev"
                if here.engine is None
                else "the engine is busy: see headrace why; it is done later",
                code="HR5020",
            )
        time.sleep(_POLL_S)
    status, value = found
    if status == "done":
        return value
    code = str(value.get("code", "HR0000"))
    raise _BY_CODE.get(code[:3], HeadraceError)(str(value.get("message", status)), cure=value.get("cure"), code=code)


def ask_and_wait(
    here: Here, verb: str, body: dict[str, Any], *, no_wait: bool, timeout_s: float
) -> tuple[Asked, Any | None]:
    """The request, and its answer: None with `no_wait`, and where no engine is alive that could give one."""
    asked = ask(here, verb, body, waits_s=None if no_wait else timeout_s)
    is_over = no_wait or here.engine is None
    return asked, None if is_over else answer(here, asked, timeout_s=timeout_s)
