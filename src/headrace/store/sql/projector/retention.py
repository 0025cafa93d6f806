"""What a run keeps once its details are dropped: its row, its counts, its pins and what it read."""

from __future__ import annotations

from headrace.runs.facts import DetailsDropped, FilesDropped, Gone
from headrace.store.sql.kinds import DETAILS
from headrace.store.sql.projector.work import Group, Work, disagreement


def details_dropped(work: Work, group: Group[DetailsDropped]) -> None:
    work.change(
        "UPDATE runs SET dropped_us = ? WHERE run = ? AND ended_us < ? AND dropped_us IS NULL",
        [(f.at_us, run, f.before_us) for f in group.facts for run in f.runs],
        group,
    )
    runs = [(run,) for f in group.facts for run in f.runs]
    for table in ("items", "scopes"):
        work.connection.executemany(f"DELETE FROM {table} WHERE run = ?", runs)
    for f in group.facts:
        for gone in f.gone:
            _drop(work, group, gone)


_DROP = f"DELETE FROM facts WHERE log = ? AND seq BETWEEN ? AND ? AND kind IN ({', '.join(map(repr, DETAILS))})"


def _drop(work: Work, group: Group[DetailsDropped], gone: Gone) -> None:
    stretches = [(gone.log, first, last) for first, last in gone.spans()]
    dropped = work.connection.executemany(_DROP, stretches).rowcount if stretches else 0
    if dropped != gone.count:
        raise disagreement(group, f"{dropped} of {gone.count} facts of {gone.log} were there to be dropped")


def files_dropped(work: Work, group: Group[FilesDropped]) -> None:
    work.change(
        "UPDATE runs SET has_files = 0 WHERE run = ? AND dropped_us IS NOT NULL AND has_files = 1",
        [(run,) for f in group.facts for run in f.runs],
        group,
    )


CHANGES = {
    DetailsDropped: details_dropped,
    FilesDropped: files_dropped,
}
