"""Rows of shards and their dead letters, and the progress of event triggers."""

from __future__ import annotations

import msgspec

from headrace.store.sql.projector import news
from headrace.store.sql.projector.work import Group, Work, disagreement, text
from headrace.streams.facts import (
    BatchCommitted,
    DeadLettered,
    ModelHeld,
    ProgressMade,
    ShardDied,
    ShardHeld,
    ShardStarted,
    TriggerFired,
    TriggerHeld,
    TriggerProgressed,
)


def shard_started(work: Work, group: Group[ShardStarted]) -> None:
    """Sets the offset once; a shard that had to wait before has a row already."""
    work.change(
        "INSERT INTO shards (stream, shard, next_offset, start_offset, start_why, at_us) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (stream, shard) DO UPDATE SET next_offset = excluded.next_offset,"
        " start_offset = excluded.start_offset, start_why = excluded.start_why, at_us = excluded.at_us, why = NULL,"
        " is_stopped = 0, until_us = NULL WHERE shards.next_offset IS NULL",
        [(f.stream, f.shard, f.offset, f.offset, f.why, f.at_us) for f in group.facts],
        group,
    )


def batch_committed(work: Work, group: Group[BatchCommitted]) -> None:
    """Begins where the last one ended, has the next number, and its watermark does not fall.

    It has no row of its own: the fact says it all, and the log of the shard has its batches in order.
    """
    work.change(
        "UPDATE shards SET next_batch = next_batch + 1, next_offset = ?, watermark_us = coalesce(?, watermark_us),"
        " why = NULL, is_stopped = 0, until_us = NULL, deaths = 0, rows_in = rows_in + ?, rows_out = rows_out + ?,"
        " filtered = filtered + ?, dead = dead + ?, code = ?, at_us = ?"
        " WHERE stream = ? AND shard = ? AND next_batch = ? AND next_offset = ?"
        " AND coalesce(watermark_us <= ?, 1)",
        [
            (
                f.end, f.watermark_us, f.rows_in, f.rows_out, f.filtered, f.dead, f.code, f.at_us,
                f.stream, f.shard, f.n, f.first, f.watermark_us,
            )
            for f in group.facts
        ],
        group,
    )  # fmt: skip


def progress_made(work: Work, group: Group[ProgressMade]) -> None:
    work.change(
        "UPDATE shards SET watermark_us = ?, at_us = ?"
        " WHERE stream = ? AND shard = ? AND coalesce(watermark_us <= ?, 1)",
        [(f.watermark_us, f.at_us, f.stream, f.shard, f.watermark_us) for f in group.facts],
        group,
    )


def shard_died(work: Work, group: Group[ShardDied]) -> None:
    work.change(
        "UPDATE shards SET deaths = ?, at_us = ? WHERE stream = ? AND shard = ? AND next_offset = ? AND deaths < ?",
        [(f.deaths, f.at_us, f.stream, f.shard, f.offset, f.deaths) for f in group.facts],
        group,
    )


def shard_held(work: Work, group: Group[ShardHeld]) -> None:
    work.change(
        "INSERT INTO shards (stream, shard, why, is_stopped, until_us, at_us) VALUES (?, ?, nullif(?, ''), ?, ?, ?)"
        " ON CONFLICT (stream, shard) DO UPDATE SET why = excluded.why, is_stopped = excluded.is_stopped,"
        " until_us = excluded.until_us, at_us = excluded.at_us",
        [(f.stream, f.shard, f.why, f.stopped, f.until_us, f.at_us) for f in group.facts],
        group,
    )


def model_held(work: Work, group: Group[ModelHeld]) -> None:
    work.change(
        "INSERT INTO shards (stream, shard, model, model_version, model_problem, at_us)"
        " VALUES (?, ?, ?, ?, nullif(?, ''), ?) ON CONFLICT (stream, shard) DO UPDATE SET model = excluded.model,"
        " model_version = excluded.model_version, model_problem = excluded.model_problem, at_us = excluded.at_us",
        [(f.stream, f.shard, f.model, f.version_number, f.problem, f.at_us) for f in group.facts],
        group,
    )


def dead_lettered(work: Work, group: Group[DeadLettered]) -> None:
    work.change(
        "INSERT INTO dead_letters (stream, shard, n, topic, partition, offset, reason, error, payload, code, at_us)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                f.stream, f.shard, f.n, f.topic, f.partition, f.offset, f.reason, f.error, f.payload, f.code, f.at_us,
            )
            for f in group.facts
        ],
        group,
    )  # fmt: skip


def trigger_progressed(work: Work, group: Group[TriggerProgressed]) -> None:
    for f in group.facts:
        row = work.one("SELECT offsets FROM triggers WHERE pipeline = ? AND slug = ?", (f.pipeline, f.slug))
        if row is not None:
            before = msgspec.json.decode(row[0], type=tuple[int, ...])
            if len(before) != len(f.offsets) or any(old > new for old, new in zip(before, f.offsets, strict=True)):
                raise disagreement(group, f"the trigger has read up to {before} already")
        work.change(
            "INSERT INTO triggers (pipeline, slug, offsets, held, expired, at_us) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (pipeline, slug) DO UPDATE SET offsets = excluded.offsets, held = excluded.held,"
            " expired = excluded.expired, at_us = excluded.at_us, why = NULL",
            [(f.pipeline, f.slug, text(f.offsets), bytes(f.held).decode(), f.expired, f.at_us)],
            group,
        )


def trigger_held(work: Work, group: Group[TriggerHeld]) -> None:
    work.change(
        "UPDATE triggers SET why = ?, at_us = ? WHERE pipeline = ? AND slug = ?",
        [(f.why, f.at_us, f.pipeline, f.slug) for f in group.facts],
        group,
    )


CHANGES = {
    ShardStarted: shard_started,
    BatchCommitted: batch_committed,
    ProgressMade: progress_made,
    ShardDied: shard_died,
    ShardHeld: shard_held,
    ModelHeld: model_held,
    DeadLettered: dead_lettered,
    TriggerFired: news.arrived,
    TriggerProgressed: trigger_progressed,
    TriggerHeld: trigger_held,
}
