"""From the key of a prediction, or the name of a run or version, back to everything that it came from."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Protocol

import polars as pl

from headrace.base.instants import to_the_second
from headrace.base.shown import shown
from headrace.connectors.appends import history_topic, partitions
from headrace.connectors.blob import APPENDED, HIDDEN, OFFSET, TIME, cut, decode, piece, unpack
from headrace.connectors.here import CLIENTS
from headrace.connectors.log import Log
from headrace.definitions.project import Project, StreamDef, TopicDef
from headrace.errors import NotFoundError
from headrace.lineage import words
from headrace.lineage.steps import Step, Trace
from headrace.store.sql.connection import Database
from headrace.store.sql.reads import lineage, models, runs, streams, tables, topics
from headrace.store.sql.reads import project as codes
from headrace.store.sql.reads import trace as origins
from headrace.store.sql.reads.streams import BatchRow
from headrace.store.sql.reads.topics import BlobRow

_PLACE = re.compile(r"(.+)/(\d{1,9})/(\d{1,18})")
_VERSION = re.compile(r"(.+):(\d{1,18})")
_FIRST_LOOK = 4
_LOOK = 64
_WRITERS_TOLD = 5


class HasDatabase(Protocol):
    """A store, as the reads know it."""

    @property
    def database(self) -> Database: ...


def trace(store: HasDatabase | Database, project: Project, key: str) -> Trace:
    """Trace a row by its key or place (TOPIC/PARTITION/OFFSET), a run by its id, or a version (MODEL:VERSION).

    A key is looked for in the outputs of streams first, then in all topics; of several rows the newest is taken.
    Raises `NotFoundError` (HR2060) that says where was looked.
    """
    return Trace(key, _Tracer(store if isinstance(store, Database) else store.database, project).root(key))


def find_row(database: Database, topic: TopicDef, key: str) -> tuple[BlobRow, int] | None:
    """The newest row with this key: its blob and its offset. Looks at one partition, from its newest blob back."""
    if topic.key is None:
        return None
    partition = int(partitions(pl.Series([key]), topic.partitions)[0])
    before, limit = None, _FIRST_LOOK
    while blobs := lineage.blobs_before(database, topic.name, partition, before, limit=limit):
        for blob, body in zip(blobs, topics.bodies(database, blobs), strict=True):
            at = _position(topic, blob, body, key)
            if at is not None:
                return blob, at
        before, limit = blobs[-1].first, _LOOK
    return None


def _position(topic: TopicDef, blob: BlobRow, body: bytes, key: str) -> int | None:
    """The last offset in the blob where the key stands."""
    name = topic.key or ""
    where = f"topic {topic.name}/{blob.partition} at {blob.first}"
    rows = unpack(body, where) if blob.encoding == "arrow" else decode(topic, [piece(topic, blob, body)]).frame
    if name not in rows.columns:
        return None
    column = rows[name] if rows.schema[name] == pl.String else rows[name].cast(pl.String)
    found = (column == key).arg_true()
    if found.is_empty():
        return None
    at = int(found[-1])
    return int(rows[OFFSET][at]) if OFFSET in rows.columns else blob.first + at


class _Tracer:
    """One walk. What it has told is not told again in full, so tables that feed each other end."""

    def __init__(self, database: Database, project: Project) -> None:
        self._db = database
        self._project = project
        self._log = Log(database, topics)
        self._told: set[tuple[str, str]] = set()

    def root(self, key: str) -> Step:
        place = _PLACE.fullmatch(key)
        if place and self._topic(place[1]) is not None:
            return self._row_step(place[1], int(place[2]), int(place[3]))
        named = _VERSION.fullmatch(key)
        if named and models.version(self._db, named[1], int(named[2])) is not None:
            return self._model(named[1], int(named[2]))
        if runs.run(self._db, key) is not None:
            return self._run(key)
        found = self._search(key)
        if found is None:
            looked = ", ".join(topic.name for topic in self._searched()) or "no topic"
            raise NotFoundError(
                f"there is no row with the key {shown(key)}, no run and no version of that name; looked in {looked}",
                cure="give the key's value, TOPIC/PARTITION/OFFSET, a run's id, or MODEL:VERSION",
                code="HR2060",
            )
        blob, offset = found
        return self._row_step(blob.topic, blob.partition, offset)

    # -- rows ----------------------------------------------------------------------------------------------------------

    def _searched(self) -> list[TopicDef]:
        outputs = [stream.to for stream in self._project.streams.values() if stream.to_kind == "topic"]
        names = dict.fromkeys([*outputs, *self._project.topics])
        return [topic for name in names if (topic := self._topic(name)) is not None and topic.key is not None]

    def _search(self, key: str) -> tuple[BlobRow, int] | None:
        for topic in self._searched():
            found = find_row(self._db, topic, key)
            if found is not None:
                return found
        return None

    def _topic(self, name: str) -> TopicDef | None:
        table = self._project.tables.get(name)
        return self._project.topics.get(name) or (history_topic(table) if table is not None and table.known else None)

    def _row_step(self, topic: str, partition: int, offset: int) -> Step:
        origin = origins.origin(self._db, topic, partition, offset)
        definition = self._topic(topic)
        if origin is None or definition is None:
            raise NotFoundError(
                f"there is no row at offset {offset} of {topic}/{partition}",
                cure=f"headrace topics show {topic}",
                code="HR2060",
            )
        step, values = self._row(definition, origin.blob, offset)
        if origin.batch is not None:
            source = self._batch(origin.batch, definition, values)
        elif origin.attempt is not None:
            attempt = origin.attempt
            says = (f"attempt {attempt.attempt} of item {attempt.item}, accepted {to_the_second(attempt.at_us)}",)
            source = Step("task", attempt.node, says, {"run": attempt.run}, (self._run(attempt.run),))
        else:
            who = "outside of runs" if origin.blob.log == CLIENTS else origin.blob.log
            source = Step("client", who, (f"appended {to_the_second(origin.blob.at_us)}",))
        fates = tuple(self._fates(topic, partition, offset))
        return Step(step.kind, step.name, (*step.says, *fates), step.data, (source,))

    def _fates(self, topic: str, partition: int, offset: int) -> Iterable[str]:
        """Why streams that read the topic have made nothing of the row."""
        for stream in self._project.streams.values():
            if stream.source.topic != topic:
                continue
            letter = streams.dead_letter(self._db, stream.name, topic, partition, offset)
            if letter is not None:
                yield words.dead(letter)
                continue
            shard = streams.shard(self._db, stream.name, partition)
            if shard is None:
                yield words.unread(stream.name, offset, None, None)
            elif not shard.has_read(offset):
                yield words.unread(stream.name, offset, shard.next_offset, shard.start_offset)

    def _row(self, topic: TopicDef, blob: BlobRow, offset: int) -> tuple[Step, dict[str, Any]]:
        (body,) = topics.bodies(self._db, [blob]) or (None,)
        name = f"{topic.name}/{blob.partition}/{offset}"
        if body is None:
            return Step("row", name, ("its bytes have been deleted",)), {}
        rows = decode(topic, [cut(piece(topic, blob, body), offset, offset + 1)]).frame
        if rows.is_empty():
            return Step("row", name, ("a record that does not fit the schema: see the dead letters",)), {}
        values = rows.drop(HIDDEN).row(0, named=True)
        event_us = rows[TIME].to_physical()[0] if topic.event_time is not None else None
        says, data = words.row(values, event_us=event_us, appended_us=int(rows[APPENDED].to_physical()[0]))
        return Step("row", name, says, data), values

    # -- batches -------------------------------------------------------------------------------------------------------

    def _batch(self, batch: BatchRow, output: TopicDef, values: dict[str, Any]) -> Step:
        stream = self._project.streams.get(batch.stream)
        source = stream.source.topic if stream is not None else "its source"
        says, data = words.batch(batch, source)
        sources = [] if stream is None else list(self._inputs(stream, batch, output, values))
        sources += self._sides(batch.sides)
        for bound in batch.bound:
            sources.append(
                self._model(bound.name, bound.version_number)
                if bound.kind == "model"
                else self._table(bound.name, bound.version_number)
            )
        sources.append(self._code(batch.code))
        return Step("batch", f"{batch.stream}/{batch.shard}/{batch.n}", says, data, tuple(sources))

    def _inputs(self, stream: StreamDef, batch: BatchRow, output: TopicDef, values: dict[str, Any]) -> Iterable[Step]:
        """The raw rows of the batch with the key of the output row."""
        topic = self._topic(stream.source.topic)
        if topic is None or output.key is None:
            return
        wanted = values.get(output.key)
        rows = self._log.rows(topic, batch.shard, batch.first, batch.end).frame
        if output.key not in rows.columns:
            return
        for offset in rows.filter(pl.col(output.key) == wanted)[OFFSET].to_list():
            blob = topics.blob_at(self._db, topic.name, batch.shard, offset)
            if blob is not None:
                yield self._row(topic, blob, offset)[0]

    def _sides(self, sides: dict[str, int]) -> list[Step]:
        """Joined topics, with the offsets up to which the batch could see them."""
        ends: dict[str, dict[str, int]] = {}
        for place, end in sides.items():
            topic, _, partition = place.rpartition(":")
            ends.setdefault(topic, {})[partition] = end
        return [self._topic_step(topic, pin) for topic, pin in sorted(ends.items())]

    # -- versions, runs, tables ----------------------------------------------------------------------------------------

    def _model(self, model: str, number: int) -> Step:
        name = f"{model}:{number}"
        row = models.version(self._db, model, number)
        if row is None:
            return Step("model", name, ("not in this store",))
        says, data = words.version(row, lineage.moves_of(self._db, model, number))
        if not self._is_new("model", name):
            return Step("model", name, says[:1], {"model": model, "version": number})
        return Step("model", name, says, data, (self._run(row.run), self._code(row.code)))

    def _run(self, run: str) -> Step:
        row = runs.run(self._db, run)
        if row is None:
            return Step("run", run, ("not in this store",))
        says, data = words.run(row)
        if not self._is_new("run", run):
            return Step("run", run, says[:1], {"run": run})
        of_events = {topic for topic, *_ in row.events}  # told below, with the exact rows
        reads = lineage.read_by(self._db, run)
        sources = [self._read(kind, name, pin) for kind, name, pin in reads if kind != "topic" or name not in of_events]
        if row.events:
            ranges = [[partition, first, end] for _, partition, first, end in row.events]
            sources.append(self._topic_step(row.events[0][0], ranges))
        return Step("run", run, says, data, (*sources, self._code(row.code)))

    def _read(self, kind: str, name: str, pin: Any) -> Step:
        if kind == "table" and pin:
            return self._table(name, int(pin))
        if kind == "model" and pin:
            # The champion that a new version was held against: its own past is a trace of its own.
            return Step("model", f"{name}:{pin}", ("compared with, or loaded",), {"model": name, "version": pin})
        if kind == "topic":
            return self._topic_step(name, pin)
        return Step(kind, name, ("there was none yet",))

    def _table(self, table: str, number: int) -> Step:
        name = f"{table}:{number}"
        row = tables.version(self._db, table, number)
        if row is None:
            return Step("table", name, ("not in this store",))
        says, data = words.table(row)
        if not self._is_new("table", name):
            return Step("table", name, says, {"table": table, "version": number})
        # A version by window or key holds parts of many runs.
        writers = list(dict.fromkeys(part.run for part in reversed(row.parts)))
        if len(writers) > _WRITERS_TOLD:
            says = (*says, f"its files are of {len(writers)} runs; the newest {_WRITERS_TOLD} are told")
        return Step("table", name, says, data, tuple(self._run(run) for run in writers[:_WRITERS_TOLD]))

    def _topic_step(self, topic: str, pin: Any) -> Step:
        return Step("topic", topic, (f"read at offsets {words.offsets(pin)}",), {"topic": topic, "offsets": pin})

    def _code(self, code: str) -> Step:
        row = codes.code(self._db, code)
        says = (f"deployed {to_the_second(row.at_us)}",) if row is not None else ("as it was there, never deployed",)
        return Step("code", code, says, {"code": code, "at_us": None if row is None else row.at_us})

    def _is_new(self, kind: str, name: str) -> bool:
        is_new = (kind, name) not in self._told
        self._told.add((kind, name))
        return is_new
