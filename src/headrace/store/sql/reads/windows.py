"""Runs by the windows that they are about: those that failed and have not been made good, and those of a backfill."""

from __future__ import annotations

from headrace.runs.rows import RunRow
from headrace.store.sql.connection import Database
from headrace.store.sql.reads.runs import RUN_COLUMNS, run_row


def failed_windows(db: Database, pipeline: str | None = None) -> list[RunRow]:
    """Of each pipeline the windows whose newest run went wrong, with that run; a cancelled one counts for nothing."""
    chosen, given = ("", ()) if pipeline is None else (" AND pipeline = ?", (pipeline,))
    sql = (
        # With max() SQLite takes the other columns from the row that has it.
        f"SELECT {RUN_COLUMNS}, max(created_us) FROM runs WHERE window_end_us NOT NULL AND state != 'cancelled'"
        f" AND pipeline IN (SELECT pipeline FROM runs WHERE state IN ('failed', 'lost')){chosen}"
        " GROUP BY pipeline, window_start_us, window_end_us HAVING state IN ('failed', 'lost')"
        " ORDER BY pipeline, window_start_us, window_end_us"
    )
    return [run_row(row[:-1]) for row in db.read(sql, given)]


def of_backfill(db: Database, pipeline: str, backfill: str) -> list[RunRow]:
    """The runs that a backfill has made of the pipeline, oldest window first."""
    first = f"client:{pipeline}:backfill:{pipeline}:{backfill}:"
    sql = f"SELECT {RUN_COLUMNS} FROM runs WHERE key >= ? AND key < ? AND cause = 'backfill' ORDER BY window_start_us"
    return [run_row(row) for row in db.read(sql, (first, f"{first[:-1]};"))]


def last_slots(db: Database, pipeline: str) -> dict[str, int]:
    """Schedule of the pipeline, by slug → the last slot (UTC microseconds) that is dealt with."""
    return dict(db.read("SELECT slug, last_us FROM schedules WHERE pipeline = ?", (pipeline,)))
