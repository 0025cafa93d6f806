"""Plays the recorded year into the topics: one New York day at a time, and waits until all that it caused is done."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import polars as pl

from headrace.base.facts import Fact
from headrace.base.instants import to_us
from headrace.connectors.appends import prepare
from headrace.data.facts import PlaybackAdvanced, TopicCompleted
from headrace.definitions.project import Project, TopicDef
from headrace.demo.record import EVENT_TIMES, Record, days, step
from headrace.engine.settling import unsettled
from headrace.errors import EngineUnavailableError
from headrace.host.doorbell import ring
from headrace.host.writer import Writer
from headrace.store.sql.engine_store import EngineSqlStore
from headrace.store.sql.reads import project as project_rows

LOG = "player"
PATIENCE_S = 60.0


class Player:
    """Appends steps in order and exactly once: the step number is committed with the rows, and whoever played before is
    fenced."""

    def __init__(self, store: EngineSqlStore, project: Project, record: Record, bell: Path) -> None:
        self._store, self._project, self._record, self._bell = store, project, record, bell
        self.steps: Sequence[datetime] = days()
        self._writer = Writer(store, LOG, f"player {secrets.token_hex(4)}")
        self._writer.look()
        self._writer.take(_now_us())

    @property
    def done(self) -> int:
        """How many steps have been appended."""
        at = project_rows.playback(self._store.database)
        return 0 if at is None else at[0]

    def append_next(self) -> datetime:
        """Append the next step: all rows of all topics with event time before its end, in one transaction."""
        number = self.done
        until = self.steps[number]
        rows = step(self._record, self.steps[number - 1] if number else None, until)
        now_us = _now_us()
        facts: list[Fact] = []
        bodies: dict[int, bytes] = {}
        for name in EVENT_TIMES:
            frame: pl.DataFrame = getattr(rows, name)
            for fact, body in prepare(self._topic(name), frame, now_us):
                bodies[len(facts)] = body
                facts.append(fact)
            facts.append(TopicCompleted(name, to_us(until), now_us))
        facts.append(PlaybackAdvanced(number + 1, to_us(until), now_us))
        self._writer.append(facts, bodies)
        ring(self._bell)
        return until

    def settle(self, tend: Callable[[], None]) -> None:
        """Wait until nothing that the rows caused is left to do. `tend` is called while waiting.

        Raises EngineUnavailableError, naming what it waits for, when nothing has moved for a minute.
        """
        waits: list[str] = []
        seen = -1
        since = time.monotonic()
        while True:
            changes = self._store.change_count()
            if changes != seen:  # only a commit can have changed the answer
                seen = changes
                left = unsettled(self._store, self._project)
                if not left:
                    return
                if left != waits:
                    waits, since = left, time.monotonic()
            tend()
            if time.monotonic() - since > PATIENCE_S:
                raise EngineUnavailableError(
                    f"the playback waits for: {'; '.join(waits[:5])}",
                    cure="headrace why, with the run or stream that is named",
                    code="HR5040",
                )
            time.sleep(0.002)

    def _topic(self, name: str) -> TopicDef:
        return self._project.topics[name]


def _now_us() -> int:
    return time.time_ns() // 1000
