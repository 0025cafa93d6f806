"""`headrace dev`: the engine in the foreground, loading changed files as they are saved."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from types import FrameType
from typing import Annotated

from cyclopts import Parameter

from headrace.base.facts import Fact
from headrace.cli.here import now_us, project_settings
from headrace.cli.news import line_of, still_waiting
from headrace.cli.output import Unread, show_json, show_line
from headrace.cli.parser import PLAIN, Common, make_app, within
from headrace.cli.telling import Telling
from headrace.cli.watch import watching
from headrace.cli.words import clock
from headrace.errors import SettingsError
from headrace.host.doorbell import doorbell_path, ring

app = make_app("dev", "Start the engine here; it reloads when you save.")


@app.default
def dev(
    *,
    workers: Annotated[int | None, Parameter(validator=within("--workers", 0))] = None,
    no_reload: bool = False,
    moved: bool = False,
    copied: bool = False,
    common: Common = PLAIN,
) -> None:
    """Start the engine here; it reloads when you save. Ctrl-C ends it; what was running goes on at the next start.

    With --json each line is an object: {"at_us", "kind", "fact"} or {"at_us", "notice"}.

    Parameters
    ----------
    workers
        How many worker processes at most.
    no_reload
        Do not watch the files: load them once.
    moved
        The project's folder was moved or restored: the store goes on here.
    copied
        The project's folder is a copy: its store gets an identity of its own, and pipelines with triggers are paused.
    """
    from headrace.app.serving import serve_engine

    if moved and copied:
        raise SettingsError(
            "a folder is moved or copied, not both",
            where="--moved --copied",
            cure="--moved where the old folder is gone, --copied where both go on",
        )
    settings = project_settings(common)
    if workers is not None:
        settings = replace(settings, workers=workers)
    if settings.env is not None:
        os.environ["HEADRACE_ENV"] = settings.env  # the processes that the engine starts read it
    show = _Lines(as_json=common.json)
    env = f", env {settings.env}" if settings.env else ""
    with (
        redirect_stdout(Unread(sys.stdout)),
        stopping(lambda: ring(doorbell_path(settings.home))) as should_stop,  # before a word invites anybody to stop it
    ):
        show.notice(f"{settings.name}{env}: {settings.root}, {settings.workers} workers, store {settings.home}")
        if not settings.workers:
            show.notice("no run is worked on: there are no workers (workers = 0)")
        if not settings.schedules:
            show.notice("schedules do not fire: schedules = true in headrace.toml lets them")
        with watching(settings.database, show.notice):
            serve_engine(
                settings, on_facts=show.facts, notice=show.notice, should_stop=should_stop, watch=not no_reload,
                claim="moved" if moved else "copied" if copied else None,
            )  # fmt: skip
    show.notice("stopped")


@contextmanager
def stopping(wake: Callable[[], object] = lambda: None) -> Generator[Callable[[], bool]]:
    """True from the first SIGINT or SIGTERM on; the second one ends the process as if nobody listened.

    `wake` rouses whoever asks from its sleep.
    """
    told = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        told.set()
        signal.signal(number, signal.SIG_DFL)
        wake()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield told.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Lines:
    """Prints what the engine says, one line each. That one cannot be printed ends nothing."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._telling = Telling(self._say)

    def facts(self, facts: Sequence[Fact]) -> None:
        for fact in facts:
            self._telling.tell(self._show, fact)
        if not self._as_json:
            self._telling.tell(self._show_waiting, facts)

    def notice(self, text: str) -> None:
        self._telling.tell(self._say, text)

    def _show(self, fact: Fact) -> None:
        if self._as_json:
            show_json({"at_us": now_us(), "kind": fact.kind, "fact": fact})
        elif (line := line_of(fact)) is not None:
            show_line(f"{clock(now_us())} {line[0]}", line[1])

    def _show_waiting(self, facts: Sequence[Fact]) -> None:
        for line in still_waiting(facts):
            show_line(f"{clock(now_us())} {line}", "waiting")

    def _say(self, text: str) -> None:
        if self._as_json:
            show_json({"at_us": now_us(), "notice": text})
        else:
            show_line(f"{clock(now_us())} {text}")
