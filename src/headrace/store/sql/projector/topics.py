"""Rows of topics: their columns, what lies at which offsets, the heads, and how far event time is complete."""

from __future__ import annotations

import msgspec

from headrace.data.facts import AHEAD_US, PlaybackAdvanced, TopicAppended, TopicCompleted, TopicShaped
from headrace.store.sql.projector.work import Group, Work, conflict, disagreement, text


def topic_shaped(work: Work, group: Group[TopicShaped]) -> None:
    for f in group.facts:
        row = work.one("SELECT schema FROM topics WHERE name = ?", (f.topic,))
        known = None if row is None or row[0] is None else msgspec.json.decode(row[0], type=dict[str, str])
        if not f.fits(known):
            raise conflict(group, f"the topic {f.topic} has the columns {known}")
        work.change(
            "INSERT INTO topics (name, schema) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET schema = excluded.schema",
            [(f.topic, text(f.schema))],
            group,
        )


def topic_appended(work: Work, group: Group[TopicAppended]) -> None:
    for seq, f in enumerate(group.facts, group.seq):
        if f.rows < 1 or not _is_moved(work, f, group.log):
            raise disagreement(group, f"{f.rows} rows at offset {f.first} are not the next of {f.topic}/{f.partition}")
        body, body_id = group.bodies.get(seq), None
        if body is not None:
            body_id = work.connection.execute("INSERT INTO topic_bodies (body) VALUES (?)", (body,)).lastrowid
        work.change(
            "INSERT INTO topic_blobs (topic, partition, first, rows, encoding, size_bytes, min_time_us, max_time_us,"
            " settled_us, min_known_us, max_known_us, at_us, log, seq, body_id) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
            [
                (
                    f.topic, f.partition, f.first, f.rows, f.encoding, f.size_bytes, f.min_time_us, f.max_time_us,
                    f.settled_us, f.min_known_us, f.max_known_us, f.at_us, group.log, seq, body_id,
                )
            ],
            group,
        )  # fmt: skip


def _is_moved(work: Work, f: TopicAppended, log: str) -> bool:
    """Move the partition's head from `first` over the rows."""
    moved = (
        f.rows, f.size_bytes, f.at_us, f.reaches_us, f.reaches_us, f.max_known_us, f.max_known_us,
        f.topic, f.partition, f.first,
    )  # fmt: skip
    if f.first > 0 and work.is_changed(_MOVE_ON, (*moved, f.reaches_us)):
        return True
    if _begins_in_time(work, f):
        _keep_floor(work, f.topic, (log, f.at_us))
    if f.first > 0:
        return work.is_changed(_MOVE, moved)
    work.connection.execute(
        "INSERT INTO topics (name, partitions) VALUES (?, ?) ON CONFLICT (name)"
        " DO UPDATE SET partitions = coalesce(topics.partitions, excluded.partitions)",
        (f.topic, f.partitions or None),
    )
    return work.is_changed(
        "INSERT OR IGNORE INTO topic_parts (topic, partition, next, size_bytes, reaches_us, max_known_us, last_us)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (f.topic, f.partition, f.rows, f.size_bytes, f.reaches_us, f.max_known_us, f.at_us),
    )


_MOVE = (
    "UPDATE topic_parts SET next = next + ?, size_bytes = size_bytes + ?, last_us = ?,"
    " reaches_us = max(coalesce(reaches_us, ?), coalesce(?, reaches_us)),"
    " max_known_us = max(coalesce(max_known_us, ?), coalesce(?, max_known_us))"
    " WHERE topic = ? AND partition = ? AND next = ?"
)
_MOVE_ON = f"{_MOVE} AND (reaches_us NOT NULL OR ? IS NULL)"  # nearly always: event time has begun, or does not now


def _begins_in_time(work: Work, f: TopicAppended) -> bool:
    """Whether these are the first rows of their partition that tell how far it is complete."""
    if f.reaches_us is None:
        return False
    row = work.one("SELECT reaches_us FROM topic_parts WHERE topic = ? AND partition = ?", (f.topic, f.partition))
    return row is None or row[0] is None


def _keep_floor(work: Work, topic: str, append: tuple[str, int]) -> None:
    """The watermark stays where it was before this append (its log and time), though it rests on something else now."""
    row = work.one("SELECT complete_through_us FROM topics WHERE name = ?", (topic,))
    if row is not None and row[0] is None:
        work.connection.execute(_KEEP_FLOOR, (topic, *append, AHEAD_US))


_KEEP_FLOOR = """
    UPDATE topics SET floor_us = max(coalesce(floor_us, reached.us), reached.us) FROM (
        SELECT min(newest_us) AS us FROM (
            SELECT max(iif(max_time_us > at_us + ?4, settled_us, max_time_us)) AS newest_us FROM topic_blobs
            WHERE topic = ?1 AND NOT (log = ?2 AND at_us = ?3) GROUP BY partition HAVING newest_us NOT NULL
        )
    ) AS reached WHERE name = ?1 AND reached.us NOT NULL
"""


def topic_completed(work: Work, group: Group[TopicCompleted]) -> None:
    for f in group.facts:
        _keep_floor(work, f.topic, (group.log, f.at_us))
    work.change(
        "INSERT INTO topics (name, complete_through_us) VALUES (?, ?) ON CONFLICT (name)"
        " DO UPDATE SET complete_through_us = excluded.complete_through_us"
        " WHERE coalesce(topics.complete_through_us, excluded.complete_through_us) <= excluded.complete_through_us",
        [(f.topic, f.through_us) for f in group.facts],
        group,
    )


def playback_advanced(work: Work, group: Group[PlaybackAdvanced]) -> None:
    work.change(
        "INSERT INTO playback (id, step, through_us) VALUES (1, ?, ?) ON CONFLICT (id)"
        " DO UPDATE SET step = excluded.step, through_us = excluded.through_us WHERE playback.step < excluded.step",
        [(f.step, f.through_us) for f in group.facts],
        group,
    )


CHANGES = {
    TopicShaped: topic_shaped,
    TopicAppended: topic_appended,
    TopicCompleted: topic_completed,
    PlaybackAdvanced: playback_advanced,
}
