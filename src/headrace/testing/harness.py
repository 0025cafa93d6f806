"""Streams in a test: lists in, lists out, with the real shard owner on the test's own store, and no process started."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import msgspec
import polars as pl

from headrace.app.opening import current_settings, make_holdings, open_store
from headrace.connectors.appends import append
from headrace.data.model import Model
from headrace.data.table import Table
from headrace.data.topic import Topic
from headrace.definitions import project as definitions
from headrace.definitions.project import CHAMPION
from headrace.errors import EngineUnavailableError, HeadraceError
from headrace.graph.loaded import freeze
from headrace.graph.pipeline import pipeline
from headrace.graph.stream import Stream
from headrace.graph.task import task
from headrace.host.clock import SystemClock
from headrace.host.writer import Writer
from headrace.models.facts import AliasMoved, VersionRegistered
from headrace.ports import Clock
from headrace.runs import facts as f
from headrace.shards.project import Opened, ProjectParts
from headrace.shards.runner import POLL_S, QUIET_US, StreamRunner
from headrace.store.sql.reads import streams as stream_rows
from headrace.streams.place import Place
from headrace.testing.auditor import audit
from headrace.testing.auditor.evidence import Evidence

PATIENCE_S = 60.0
_LOG = "test"


@dataclass(frozen=True)
class DeadLetter:
    """An input row that has no output: its offset, the reason, the error, and the row."""

    offset: int
    reason: str
    error: str
    row: Any


@dataclass(frozen=True)
class StreamResult:
    """What came out. `frame` holds the output with its types, `rows` the same as plain dicts, in the order of offsets."""

    frame: pl.DataFrame
    dead: tuple[DeadLetter, ...]

    @property
    def rows(self) -> list[dict[str, Any]]:
        return self.frame.to_dicts()


class _TestClock:
    """Wall time as given; monotonic time that the harness may move on, so that nothing sleeps."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._passed_us = 0

    def now_us(self) -> int:
        return self._clock.now_us()

    def monotonic_us(self) -> int:
        return self._clock.monotonic_us() + self._passed_us

    def skip(self, us: int) -> None:
        self._passed_us += us


class StreamHarness:
    """Runs all shards of some streams in this process, one step at a time. Use it with `with`.

    `models` gives the object that a bound model is, instead of a registered version. `clock` is the time that appended
    rows and batches get (default: the system's). Appending and reading datasets directly works on the same store.
    """

    def __init__(
        self, *streams: Stream[..., Any], models: Mapping[Model[Any], Any] | None = None, clock: Clock | None = None
    ) -> None:
        self.loaded = freeze("test", streams)
        if self.loaded.problems:
            first = self.loaded.problems[0]
            raise HeadraceError(first.message, where=first.where, cure=first.cure or None, code=first.code)
        self._settings = current_settings()
        self._clock = _TestClock(clock or SystemClock())
        self._models = {model.name: value for model, value in (models or {}).items()}
        self.store = open_store(self._settings)
        self._holdings = make_holdings(self._settings, self.store, self.loaded.project, "test")
        for model in self._models:
            self._register(model)
        self._runner = self._started()

    def append(self, topic: Topic, rows: Sequence[Mapping[str, Any]] | pl.DataFrame) -> None:
        """Append rows to a topic, durably, as a client would."""
        given = rows if isinstance(rows, pl.DataFrame) else [dict(row) for row in rows]
        append(self.store, _LOG, topic.definition, given, self._clock.now_us())

    def publish(self, table: Table, rows: pl.DataFrame) -> None:
        """A new version of a table, published by a run in this process."""

        def given() -> pl.DataFrame:
            return rows

        writes = task(to=table, name="given")(given)

        def publishing() -> None:
            writes()

        pipeline(name=f"publish_{table.name}")(publishing).run().result()

    def settle(self) -> None:
        """Go on until every shard has read what there is and committed what it made.

        Raises EngineUnavailableError where a shard waits for something after a minute, and says for what.
        """
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            if self._runner.tick():
                continue
            waits = self._waits()
            if self._runner.patience_s == POLL_S and not waits:
                return
            if waits:
                time.sleep(0.001)  # a model is loaded in a thread
            self._clock.skip(QUIET_US)
        raise EngineUnavailableError(f"the streams do not come to rest: {self._waits() or 'there is always more'}")

    def restart(self) -> None:
        """The process ends and another goes on from what is committed."""
        self._runner.close()
        self._runner = self._started()

    def read(self, topic: Topic) -> pl.DataFrame:
        """All rows of a topic, in the order of event time."""
        return self._holdings.log.read(topic.definition)

    def dead(self, stream: Stream[..., Any]) -> tuple[DeadLetter, ...]:
        """The stream's dead letters, in the order of their offsets."""
        letters = stream_rows.dead_letters(self.store.database, stream.name)
        found = [DeadLetter(x.offset, x.reason, x.error, _plain(x.payload)) for x in letters]
        return tuple(sorted(found, key=lambda letter: letter.offset))

    def close(self) -> None:
        self._runner.close()
        self.store.close()

    def __enter__(self) -> StreamHarness:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- inside --------------------------------------------------------------------------------------------------

    def _started(self) -> StreamRunner:
        opened = Opened(self.store, self._holdings, self.loaded, self._settings.locks, heads={})
        parts = ProjectParts(opened, self._clock, load=self._load if self._models else None)
        runner = StreamRunner(self.store, parts, self._clock, name="test")
        runner.want(
            [
                Place(stream.name, number)
                for stream in self.loaded.project.streams.values()
                for number in range(self.loaded.project.topics[stream.source.topic].partitions)
            ]
        )
        return runner

    def _waits(self) -> str:
        waits: set[str] = set()
        for stream in self.loaded.streams:
            for shard in stream_rows.shards(self.store.database, stream):
                if shard.next_offset is None and shard.why:
                    waits.add(f"{stream} {shard.why}")
        return "; ".join(sorted(waits))

    def _load(self, model: str, _version: int) -> Any:
        return self._models[model]

    def _register(self, model: str) -> None:
        """Its first version and champion, as if a run of one task had made it."""
        now_us = self._clock.now_us()
        log = f"run:given-{model}"
        attempt = (log, "given", "", 0, 1, 1)
        writer = Writer(self.store, log, "test")
        writer.look()
        if writer.state.head:  # an earlier harness of this test has given one
            return
        writer.take(
            now_us,
            (
                f.RunCreated(log, f"given_{model}", "test", log, "here", now_us),
                f.AttemptStarted(*attempt, "test#1", now_us),
                f.AttemptSucceeded(*attempt, now_us, 0, f.Value("json", "null")),
                VersionRegistered(
                    model, 1, codec="given", path="", digest="", size_bytes=0, run=log, node="given", code="test",
                    predict="", cutoff_us=0, at_us=now_us,
                ),
                AliasMoved(model, CHAMPION, 1, 0, log, "given to the test", now_us),
                f.RunEnded(log, "succeeded", now_us),
            ),
        )  # fmt: skip


def run_stream(
    stream: Stream[..., Any],
    rows: Sequence[Mapping[str, Any]] | pl.DataFrame,
    *,
    tables: Mapping[Table, pl.DataFrame] | None = None,
    models: Mapping[Model[Any], Any] | None = None,
    history: Mapping[Topic, Sequence[Mapping[str, Any]] | pl.DataFrame] | None = None,
    clock: Clock | None = None,
) -> StreamResult:
    """Rows in, rows and dead letters out: the stream runs over them as it would in production, then stops.

    `tables` and `models` are what it binds; `history` are rows of topics that it joins, appended before the rows. It
    writes to the store of the test. Raises SchemaError where the rows do not fit the topic, EngineUnavailableError
    where the stream waits for something that was not given.
    """
    with StreamHarness(stream, models=models, clock=clock) as harness:
        for table, content in (tables or {}).items():
            harness.publish(table, content)
        for topic, past in (history or {}).items():
            harness.append(topic, past)
        harness.append(harness.loaded.topics[stream.definition.source.topic], rows)
        harness.settle()
        name = stream.definition.to
        output = harness.loaded.topics.get(name)
        frame = pl.DataFrame() if output is None else harness.read(output)
        return StreamResult(frame, harness.dead(stream))


def audit_store() -> list[str]:
    """Audit the store of this test: what was promised and not kept, in words. Empty where all was kept."""
    store = open_store(current_settings())
    try:
        codes = store.database.read("SELECT code, project FROM codes")
        projects = {code: definitions.decode(body.encode()) for code, body in codes}
        return [str(violation) for violation in audit(Evidence(store.database, projects))]
    finally:
        store.close()


def _plain(payload: str) -> Any:
    try:
        return msgspec.json.decode(payload)
    except msgspec.DecodeError:
        return payload
