"""Versions of tables: the number is the table's last + 1, in the publishing transaction."""

from __future__ import annotations

from headrace.data.facts import TablePublished
from headrace.runs.rows import RUN_LOGS
from headrace.store.sql.projector import news
from headrace.store.sql.projector.work import Group, Work, conflict, text, text_or_none


def table_published(work: Work, group: Group[TablePublished]) -> None:
    for f in group.facts:
        number = f.version_number
        if number == 1:
            is_next = work.is_changed("INSERT OR IGNORE INTO tables (name, version) VALUES (?, 1)", (f.table,))
        else:
            is_next = work.is_changed(
                "UPDATE tables SET version = ? WHERE name = ? AND version = ?", (number, f.table, number - 1)
            )
        if not is_next:
            raise conflict(group, f"version {number} is not the next of table {f.table!r}")
    work.change(
        "INSERT INTO table_versions (name, version, parts, rows, columns, replaced, run, node, path, item, attempt, at_us,"
        " log, seq) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                f.table, f.version_number, text(f.parts), f.rows, text_or_none(f.columns), text(f.replaced), f.run,
                f.node, f.path, f.item, f.attempt, f.at_us, group.log, group.seq + i,
            )
            for i, f in enumerate(group.facts)
        ],
        group,
    )  # fmt: skip
    if group.log.startswith(RUN_LOGS):  # the engine has still to hear of it
        news.arrived(work, group)


CHANGES = {TablePublished: table_published}
