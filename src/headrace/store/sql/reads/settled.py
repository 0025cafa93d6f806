"""What is not at rest yet: the one question behind "wait until quiet"."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from sqlite3 import Connection

import msgspec

from headrace.store.sql.connection import Database


def unsettled(
    db: Database,
    *,
    sources: Mapping[str, str],
    triggers: Mapping[tuple[str, str], str],
    bound: Mapping[str, str],
    windows: Mapping[str, Sequence[int]],
) -> list[str]:
    """A line for each thing that is still to happen, as of one moment; empty when all is quiet.

    `sources`: stream → source topic. `triggers`: (pipeline, slug) of an event trigger → topic. `bound`: stream → model
    whose champion it scores with. `windows`: monitor → ends (UTC microseconds) of the windows that are due.
    """
    with db.reading(is_snapshot=True) as connection:
        heads = _heads(connection)
        return [
            *_runs(connection),
            *_requests(connection),
            *_news(connection),
            *_shards(connection, sources, heads),
            *_triggers(connection, triggers, heads),
            *_models(connection, bound),
            *_windows(connection, windows),
        ]


def _heads(connection: Connection) -> dict[str, dict[int, int]]:
    heads: dict[str, dict[int, int]] = {}
    for topic, partition, head in connection.execute("SELECT topic, partition, next FROM topic_parts"):
        heads.setdefault(topic, {})[partition] = head
    return heads


def _runs(connection: Connection) -> Iterator[str]:
    sql = "SELECT run, pipeline, state FROM runs WHERE ended_us IS NULL ORDER BY run"
    for run, pipeline, state in connection.execute(sql):
        yield f"run {run} of {pipeline} is {state}"


def _requests(connection: Connection) -> Iterator[str]:
    for request, verb in connection.execute("SELECT id, verb FROM inbox WHERE status IS NULL ORDER BY id"):
        yield f"request {request} ({verb}) is not answered"


def _news(connection: Connection) -> Iterator[str]:
    for log, n in connection.execute("SELECT log, count(*) FROM news GROUP BY log"):
        yield f"the engine has not followed {n} news of {log}"


def _shards(
    connection: Connection, sources: Mapping[str, str], heads: Mapping[str, Mapping[int, int]]
) -> Iterator[str]:
    found = connection.execute("SELECT stream, shard, next_offset, why, watermark_us FROM shards").fetchall()
    at = {(stream, shard): (offset, why) for stream, shard, offset, why, _ in found}
    marks = {(stream, shard): mark for stream, shard, _, _, mark in found}
    complete = dict(connection.execute("SELECT name, complete_through_us FROM topics").fetchall())
    for stream, topic in sources.items():
        through_us = complete.get(topic)
        late = [shard for (name, shard), mark in marks.items() if name == stream and (mark or 0) < (through_us or 0)]
        if late:
            yield f"stream {stream} has not passed what is complete of {topic} in shards {', '.join(map(str, late))}"
        for partition, head in heads.get(topic, {}).items():
            offset, why = at.get((stream, partition), (None, None))
            because = f": {why}" if why else ""
            if offset is None:
                yield f"stream {stream}/{partition} has not started{because}"
            elif offset < head:
                yield f"stream {stream}/{partition} is at {offset} of {head}{because}"


def _triggers(
    connection: Connection, topics: Mapping[tuple[str, str], str], heads: Mapping[str, Mapping[int, int]]
) -> Iterator[str]:
    found = connection.execute("SELECT pipeline, slug, offsets FROM triggers").fetchall()
    at = {(pipeline, slug): msgspec.json.decode(offsets, type=list[int]) for pipeline, slug, offsets in found}
    for (pipeline, slug), topic in topics.items():
        offsets = at.get((pipeline, slug), [])
        for partition, head in heads.get(topic, {}).items():
            offset = offsets[partition] if partition < len(offsets) else 0
            if offset < head:
                yield f"trigger {slug} of {pipeline} is at {offset} of {head} in {topic}/{partition}"


def _models(connection: Connection, bound: Mapping[str, str]) -> Iterator[str]:
    champions = dict(connection.execute("SELECT model, version FROM aliases WHERE alias = 'champion'").fetchall())
    found = connection.execute("SELECT stream, shard, model_version, model_problem FROM shards").fetchall()
    for stream, shard, version, problem in found:
        champion = champions.get(bound.get(stream, ""))
        if champion is not None and version != champion:
            because = f": {problem}" if problem else ""
            yield f"stream {stream}/{shard} scores with version {version}, the champion is {champion}{because}"


def _windows(connection: Connection, due: Mapping[str, Sequence[int]]) -> Iterator[str]:
    for monitor, ends in due.items():
        judged = {end for (end,) in connection.execute("SELECT end_us FROM windows WHERE monitor = ?", (monitor,))}
        missing = [end for end in ends if end not in judged]
        if missing:
            yield f"monitor {monitor} has {len(missing)} due windows that are not judged"
