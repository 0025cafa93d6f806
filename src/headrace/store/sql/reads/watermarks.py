"""How far topics are complete in event time: one rule, for whoever decides by it and for whoever tells of it."""

from __future__ import annotations

from collections import defaultdict

from headrace.definitions.project import Project
from headrace.runs.reach import Reach
from headrace.store.sql.connection import Database


def watermarks(db: Database, definitions: Project) -> dict[str, int]:
    """Declared completeness; for the output of a stream the least watermark of its shards; else the newest rows that do
    not lie ahead of the clock.

    Event times in UTC microseconds, by topic. A topic of which nothing is known is not in it. None falls: where a
    partition begins with older rows, or less is declared, the topic stays as far as it was, and these rows are late.
    """
    with db.reading(is_snapshot=True) as connection:
        ask = connection.execute
        newest = ask("SELECT topic, min(reaches_us) FROM topic_parts WHERE reaches_us NOT NULL GROUP BY topic")
        marks: dict[str, int] = dict(newest)
        for name, through_us, floor_us in ask("SELECT name, complete_through_us, floor_us FROM topics"):
            if through_us is not None:
                marks[name] = through_us
            if floor_us is not None:
                marks[name] = max(marks[name], floor_us)
        shards: dict[str, list[int | None]] = defaultdict(list)
        for stream, watermark_us in ask("SELECT stream, watermark_us FROM shards"):
            shards[stream].append(watermark_us)
    for stream in definitions.streams.values():
        found = shards.get(stream.name, [])
        source = definitions.topics.get(stream.source.topic)
        if source is not None and (len(found) < source.partitions or None in found):
            marks.pop(stream.to, None)
        elif known := [mark for mark in found if mark is not None]:
            marks[stream.to] = min(known)
    return marks


def reaches(db: Database, definitions: Project) -> dict[str, Reach]:
    """The same, with what it rests on: for whoever tells why something waits."""
    marks = watermarks(db, definitions)
    declared = {name for (name,) in db.read("SELECT name FROM topics WHERE complete_through_us IS NOT NULL")}
    parts: dict[str, dict[int, int]] = defaultdict(dict)
    sql = "SELECT topic, partition, reaches_us FROM topic_parts WHERE reaches_us NOT NULL ORDER BY topic, partition"
    for topic, partition, newest_us in db.read(sql):
        parts[topic][partition] = newest_us
    streams = {stream.to: stream.name for stream in definitions.streams.values()}
    ahead = {name for (name,) in db.read(_AHEAD)} - marks.keys()
    return {
        topic: Reach(
            marks.get(topic), streams.get(topic), {} if topic in declared else parts.get(topic, {}), topic in ahead
        )
        for topic in {*marks, *streams, *ahead}
    }


_AHEAD = """
    SELECT DISTINCT topic FROM topic_parts AS part WHERE reaches_us IS NULL AND EXISTS (
        SELECT 1 FROM topic_blobs AS blob
        WHERE blob.topic = part.topic AND blob.partition = part.partition AND max_time_us NOT NULL
    )
"""  # rows without an event time are no sign of a clock
