"""D2: every small table is the fold of the facts; this fold is the auditor's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from headrace.data.facts import TablePublished, TopicAppended, TopicCompleted
from headrace.models.facts import AliasMoved, ControllerMoved, StreakMoved, VersionRegistered, WindowJudged
from headrace.runs import facts as f
from headrace.store.sql.connection import Database
from headrace.streams.facts import (
    BatchCommitted,
    DeadLettered,
    ShardDied,
    ShardHeld,
    ShardStarted,
    TriggerProgressed,
)
from headrace.testing.auditor.evidence import Evidence, Place, Violation

_QUERIES = {
    "tables": "SELECT name, version FROM tables",
    "topic heads": "SELECT topic, partition, next FROM topic_parts",
    "complete": "SELECT name, complete_through_us FROM topics WHERE complete_through_us IS NOT NULL",
    "schedules": "SELECT pipeline, slug, last_us FROM schedules",
    "paused": "SELECT pipeline, is_paused FROM paused",
    "cursors": "SELECT owner, log, seq FROM cursors",
    "models": "SELECT name, last_version FROM models",
    "aliases": "SELECT model, alias, version FROM aliases",
    "controllers": "SELECT model, state FROM controllers",
    "windows": "SELECT monitor, end_us, run FROM windows",
    "streaks": "SELECT asker, length, window_end_us FROM streaks",
    "pins": "SELECT run, dataset, pin FROM pins",
    "scopes": "SELECT run, scope, path, n FROM scopes",
    "code": "SELECT id, code FROM current_code",
    "offsets": "SELECT stream, shard, next_batch, next_offset FROM shards WHERE next_offset IS NOT NULL",
    "deaths": "SELECT stream, shard, deaths FROM shards WHERE deaths > 0",
    "stopped": "SELECT stream, shard, is_stopped FROM shards WHERE is_stopped > 0",
    "dead letters": "SELECT stream, topic, partition, offset, reason FROM dead_letters",
    "triggers": "SELECT pipeline, slug, offsets, expired FROM triggers",
}
_KEYS = {
    "topic heads": 2, "schedules": 2, "cursors": 2, "aliases": 2, "windows": 2, "pins": 2, "scopes": 3,
    "offsets": 2, "deaths": 2, "stopped": 2, "dead letters": 4, "triggers": 2,
}  # fmt: skip

_GROWING = ("tables", "topic heads", "complete", "models")


class StateCheck:
    """`state[table][key]` is what the facts so far say. A table without facts was not changed and is not read."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.state: dict[str, dict[Any, Any]] = {name: {} for name in _QUERIES}
        self._touched: set[str] = set()

    def take(self, place: Place) -> Iterator[Violation]:
        for table, key, value in (*_changes(place), *self._dropped(place)):
            self._touched.add(table)
            if value is None:
                self.state[table].pop(key, None)
            elif table in _GROWING:  # written from several logs, whose facts do not come in the order of their commits
                self.state[table][key] = max(value, self.state[table].get(key, value))
            else:
                self.state[table][key] = value
        yield from ()

    def _dropped(self, place: Place) -> list[tuple[str, tuple[Any, ...], None]]:
        if not isinstance(place.fact, f.DetailsDropped):
            return []
        return [("scopes", key, None) for key in self.state["scopes"] if key[0] in place.fact.runs]

    def compare(self) -> Iterator[Violation]:
        touched, self._touched = self._touched, set()
        for table in sorted(touched):
            yield from self._differences(table)

    def close(self, end: Evidence) -> Iterator[Violation]:
        for table in _QUERIES:
            yield from self._differences(table)

    def _differences(self, table: str) -> Iterator[Violation]:
        width = _KEYS.get(table, 1)
        rows = {row[:width]: row[width:] for row in self.database.read(_QUERIES[table])}
        folded = self.state[table]
        if rows == folded:
            return
        for key in sorted(rows.keys() | folded.keys(), key=str):
            if rows.get(key) != folded.get(key):
                found = f"{table} {key}: row {rows.get(key)}, facts {folded.get(key)}"
                yield Violation("D2", "rows are the fold of the facts", found)


def _changes(place: Place) -> Iterator[tuple[str, tuple[Any, ...], tuple[Any, ...] | None]]:
    """(table, key, value) for each row that the fact changes; value None where the row is gone."""
    fact = place.fact
    match fact:
        case TablePublished():
            yield "tables", (fact.table,), (fact.version_number,)
        case TopicAppended():
            yield "topic heads", (fact.topic, fact.partition), (fact.first + fact.rows,)
        case TopicCompleted():
            yield "complete", (fact.topic,), (fact.through_us,)
        case f.SlotsSkipped():
            yield "schedules", (fact.pipeline, fact.slug), (fact.until_us,)
        case f.SlotsReopened():
            yield "schedules", (fact.pipeline, fact.slug), (fact.after_us,)
        case f.RunCreated(cause="schedule"):
            slug, _, slot = fact.key.removeprefix(f"schedule:{fact.pipeline}:").rpartition(":")
            yield "schedules", (fact.pipeline, slug), (int(slot),)
        case f.PipelinePaused():
            yield "paused", (fact.pipeline,), (int(fact.is_paused),)
        case f.CursorMoved():
            yield "cursors", (place.log, fact.log), (fact.seq,)
        case f.InputPinned():
            yield "pins", (fact.run, fact.dataset), (_text(fact.pin),)
        case f.MapExpanded():
            yield "scopes", (fact.run, fact.scope, fact.path), (fact.n,)
        case f.CodeDeployed():
            yield "code", (1,), (fact.code,)
        case TriggerProgressed():
            yield "triggers", (fact.pipeline, fact.slug), (_text(list(fact.offsets)), fact.expired)
        case VersionRegistered() | AliasMoved() | ControllerMoved() | WindowJudged() | StreakMoved():
            yield from _model_changes(fact)
        case ShardStarted() | BatchCommitted() | ShardDied() | ShardHeld() | DeadLettered():
            yield from _stream_changes(fact)
        case _:
            return


def _model_changes(fact: Any) -> Iterator[tuple[str, tuple[Any, ...], tuple[Any, ...] | None]]:
    match fact:
        case VersionRegistered():
            yield "models", (fact.model,), (fact.version_number,)
        case AliasMoved():
            yield "aliases", (fact.model, fact.alias), (fact.version_number,)
        case ControllerMoved():
            yield "controllers", (fact.model,), (bytes(fact.state).decode(),)
        case WindowJudged():
            yield "windows", (fact.monitor, fact.window[1]), (fact.run,)
        case _:
            yield "streaks", (fact.asker,), (fact.length, fact.window_end_us)


def _stream_changes(fact: Any) -> Iterator[tuple[str, tuple[Any, ...], tuple[Any, ...] | None]]:
    if isinstance(fact, DeadLettered):
        yield "dead letters", (fact.stream, fact.topic, fact.partition, fact.offset), (fact.reason,)
        return
    shard = (fact.stream, fact.shard)
    match fact:
        case ShardStarted():
            yield "offsets", shard, (0, fact.offset)
        case BatchCommitted():
            yield "offsets", shard, (fact.n + 1, fact.end)
            yield "deaths", shard, None
            yield "stopped", shard, None
        case ShardDied():
            yield "deaths", shard, (fact.deaths,)
        case _:
            yield "stopped", shard, (1,) if fact.stopped else None


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
