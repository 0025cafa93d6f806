"""What a stream process owns of a project: its streams and triggers as they are in the code, restored from the rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from headrace.connectors.appends import history_topic
from headrace.connectors.holdings import Holdings
from headrace.connectors.log import Log
from headrace.connectors.shapes import Shapes
from headrace.definitions.project import OnEvent, TopicDef
from headrace.errors import NotFoundError
from headrace.graph.loaded import Loaded
from headrace.host.rights import Right, take_right
from headrace.ports import Clock, StreamStore
from headrace.shards.batch import News
from headrace.shards.bound import BoundValues, Loader, load_champion
from headrace.shards.files import shard_file
from headrace.shards.hand import HandFile
from headrace.shards.runner import Owner
from headrace.shards.shard import ShardOwner
from headrace.shards.sides import Sides
from headrace.shards.stream import ProjectStream, StreamCode
from headrace.shards.trigger import TriggerOwner
from headrace.store.sql.reads import streams as stream_rows
from headrace.store.sql.reads import topics
from headrace.streams import trigger as trigger_steps
from headrace.streams.owner import Shard
from headrace.streams.place import Place


class Setup(NamedTuple):
    """What a stream process is told of its project: folder, code version and its copy, name, database."""

    root: Path
    code: str
    code_path: Path
    project: str
    store: Path


class Opened(NamedTuple):
    """A project opened for a stream process. `heads` are the ends of topics at its deploy: what lies beyond is new."""

    store: StreamStore
    holdings: Holdings
    loaded: Loaded
    locks: Path
    heads: Mapping[str, Mapping[int, int]]


class ProjectParts:
    """Implements `shards.runner.Parts`. `wake` is called from threads that have loaded a model."""

    def __init__(
        self, opened: Opened, clock: Clock, *, wake: Callable[[], None] = lambda: None, load: Loader | None = None
    ) -> None:
        self._store, self._holdings, self._loaded, self._locks, self._deployed = opened
        self._clock = clock
        self._log: Log = self._holdings.log
        self._sides = Sides(self._log)
        self._shapes = Shapes(self._holdings.topic_columns)
        self._bound = BoundValues(
            self._holdings,
            load or (lambda model, number: load_champion(self._holdings, model, number)),
            clock.monotonic_us,
            wake,
        )
        self._streams: dict[str, ProjectStream] = {}
        self._topics: set[str] = set()

    def right(self, place: Place) -> Right | None:
        return take_right(self._file(place, "lock"))

    def owner(self, place: Place) -> Owner:
        return self._trigger(place) if place.number is None else self._shard(place, place.number)

    def look(self) -> News:
        self._bound.look()
        # Completeness first: rows that it speaks of are then certainly below the heads.
        marks = self._store.watermarks(self._loaded.project)
        complete_us = {topic: us for topic, us in marks.items() if topic in self._topics}
        return News(topics.all_heads(self._holdings.database, self._topics), complete_us, self._bound.tables())

    def adopt(self) -> None:
        self._bound.adopt()

    def settle(self, is_committed: bool) -> None:
        if is_committed:
            self._shapes.settle()
        else:
            self._shapes.forget()

    def _file(self, place: Place, kind: str) -> Path:
        return shard_file(self._locks, place.log, kind)

    # -- shards ----------------------------------------------------------------------------------------------------

    def _shard(self, place: Place, number: int) -> Owner:
        stream = self._stream(place.name)
        hand = HandFile(self._file(place, "hand"))
        return ShardOwner(self._restored(place.name, number), stream, hand, self._clock)

    def _restored(self, name: str, number: int) -> Shard:
        shard = Shard(name, number, self._object(name).definition.source.topic, self._holdings.code)
        row = stream_rows.shard(self._holdings.database, name, number)
        if row is None:
            return shard
        return Shard(
            stream=name,
            shard=number,
            topic=shard.topic,
            code=shard.code,
            n=row.next_batch,
            offset=row.next_offset,
            watermark_us=row.watermark_us,
            deaths=row.deaths,
            why=row.why or "",
            is_stopped=row.is_stopped,
            models=() if row.model is None else ((row.model, row.model_version or 0, row.model_problem or ""),),
        )

    def _stream(self, name: str) -> ProjectStream:
        if name not in self._streams:
            code = self._code(name)
            for reference in code.definition.bind.values():
                self._bound.want(reference)
            self._topics.update(code.sides)
            self._streams[name] = ProjectStream(
                code, self._log, self._sides, self._shapes, self._bound, self._clock.now_us, self._deployed
            )
        return self._streams[name]

    def _code(self, name: str) -> StreamCode:
        stream = self._object(name)
        definition = stream.definition
        sides = self._holdings.topics_of(definition.source)
        return StreamCode(
            definition=definition,
            fn=stream.fn,
            holds=tuple(stream.retry_on),
            source=sides[definition.source.topic],
            to=self._output(definition.to, definition.to_kind),
            sides=sides,
        )

    def _object(self, name: str) -> Any:
        stream = self._loaded.streams.get(name)
        if stream is None:
            raise NotFoundError(f"this code has no stream {name!r}", cure="headrace check", code="HR2060")
        return stream

    def _output(self, name: str, kind: str) -> TopicDef:
        return history_topic(self._loaded.project.tables[name]) if kind == "table" else self._holdings.topic(name)

    # -- triggers --------------------------------------------------------------------------------------------------

    def _trigger(self, place: Place) -> TriggerOwner:
        definition = self._trigger_definition(place)
        topic = self._holdings.topic(definition.topic)
        self._topics.add(topic.name)
        row = stream_rows.trigger(self._holdings.database, place.name, definition.slug)
        if row is not None:
            state = trigger_steps.restored(place.name, definition, row.offsets, row.held, row.expired, topic.partitions)
        else:
            heads = self._deployed.get(topic.name, {})
            offsets = tuple(heads.get(partition, 0) for partition in range(topic.partitions))
            state = trigger_steps.fresh(place.name, definition, offsets)
        return TriggerOwner(state, topic, self._log, self._clock)

    def _trigger_definition(self, place: Place) -> OnEvent:
        pipeline = self._loaded.project.pipelines.get(place.name)
        for found in pipeline.triggers if pipeline is not None else ():
            if isinstance(found, OnEvent) and found.slug == place.slug:
                return found
        raise NotFoundError(f"the pipeline {place.name!r} has no trigger {place.slug!r}", cure="headrace check")
