"""How far topics are complete in event time: one rule, for whoever decides by it and for whoever tells of it."""

from __future__ import annotations

from collections import defaultdict

from headrace.definitions.project import Project
from headrace.store.sql.connection import Database


def watermarks(db: Database, definitions: Project) -> dict[str, int]:
    """Declared completeness; for the output of a stream the least watermark of its shards; else the newest rows.

    Event times in UTC microseconds, by topic. A topic of which nothing is known is not in it.
    """
    with db.reading(is_snapshot=True) as connection:
        ask = connection.execute
        newest = ask("SELECT topic, min(max_time_us) FROM topic_parts WHERE max_time_us NOT NULL GROUP BY topic")
        marks: dict[str, int] = dict(newest)
        for name, through_us in ask("SELECT name, complete_through_us FROM topics"):
            if through_us is not None:
                marks[name] = through_us
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
