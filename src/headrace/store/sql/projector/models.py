"""Rows of models: versions, aliases with their history, the retrain controller, judged windows and streaks.

A version is `candidate`, then `champion` and at last `retired`, or `rejected`; a retired one may be champion again.
"""

from __future__ import annotations

from headrace.definitions.project import CHAMPION
from headrace.models.facts import (
    AliasMoved,
    ControllerMoved,
    RetrainAsked,
    StreakMoved,
    VersionRegistered,
    VersionRejected,
    WindowJudged,
)
from headrace.store.sql.projector.work import Group, Work, conflict, text


def version_registered(work: Work, group: Group[VersionRegistered]) -> None:
    for f in group.facts:
        number = f.version_number
        if number == 1:
            is_next = work.is_changed("INSERT OR IGNORE INTO models (name, last_version) VALUES (?, 1)", (f.model,))
        else:
            is_next = work.is_changed(
                "UPDATE models SET last_version = ? WHERE name = ? AND last_version = ?", (number, f.model, number - 1)
            )
        if not is_next:
            raise conflict(group, f"version {number} is not the next of model {f.model!r}")
    work.change(
        "INSERT INTO model_versions (model, version, state, codec, path, digest, size_bytes, run, node, code, predict,"
        " cutoff_us, rows_fit, rows_test, evidence, reference, golden, at_us, log, seq)"
        " VALUES (?, ?, 'candidate', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                f.model, f.version_number, f.codec, f.path, f.digest, f.size_bytes, f.run, f.node, f.code, f.predict,
                f.cutoff_us, f.rows_fit, f.rows_test, text(f.evidence), bytes(f.reference).decode(), f.golden, f.at_us,
                group.log, group.seq + i,
            )
            for i, f in enumerate(group.facts)
        ],
        group,
    )  # fmt: skip


def alias_moved(work: Work, group: Group[AliasMoved]) -> None:
    for i, f in enumerate(group.facts):
        if f.previous == 0:
            is_moved = work.is_changed(
                "INSERT OR IGNORE INTO aliases (model, alias, version, at_us) VALUES (?, ?, ?, ?)",
                (f.model, f.alias, f.version_number, f.at_us),
            )
        else:
            is_moved = work.is_changed(
                "UPDATE aliases SET version = ?, at_us = ? WHERE model = ? AND alias = ? AND version = ?",
                (f.version_number, f.at_us, f.model, f.alias, f.previous),
            )
        if not is_moved:
            raise conflict(group, f"{f.model}@{f.alias} is not version {f.previous}")
        work.change(
            "INSERT INTO alias_history (model, log, seq, alias, version, previous, by, why, event_us, at_us)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    f.model, group.log, group.seq + i, f.alias, f.version_number, f.previous, f.by, f.why, f.event_us,
                    f.at_us,
                )
            ],
            group,
        )  # fmt: skip
        if f.alias == CHAMPION:
            _crown(work, group, f)


def _crown(work: Work, group: Group[AliasMoved], f: AliasMoved) -> None:
    state = "UPDATE model_versions SET state = ?, why = ? WHERE model = ? AND version = ?"
    if f.previous:
        work.change(state, [("retired", f.why, f.model, f.previous)], group)
    work.change(state, [(CHAMPION, f.why, f.model, f.version_number)], group)


def version_rejected(work: Work, group: Group[VersionRejected]) -> None:
    work.change(
        "UPDATE model_versions SET state = 'rejected', why = ? WHERE model = ? AND version = ? AND state = 'candidate'",
        [(f.why, f.model, f.version_number) for f in group.facts],
        group,
    )


def retrain_asked(work: Work, group: Group[RetrainAsked]) -> None:
    work.change(
        "INSERT INTO asks (model, log, seq, by, evidence, event_us, is_accepted, why, at_us, key)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (f.model, group.log, group.seq + i, f.by, f.evidence, f.event_us, f.accepted, f.why, f.at_us, f.key)
            for i, f in enumerate(group.facts)
        ],
        group,
    )


def controller_moved(work: Work, group: Group[ControllerMoved]) -> None:
    work.change(
        "INSERT INTO controllers (model, state, why, at_us) VALUES (?, ?, ?, ?) ON CONFLICT (model)"
        " DO UPDATE SET state = excluded.state, why = excluded.why, at_us = excluded.at_us",
        [(f.model, bytes(f.state).decode(), f.why, f.at_us) for f in group.facts],
        group,
    )


def window_judged(work: Work, group: Group[WindowJudged]) -> None:
    work.change(
        "INSERT INTO windows (monitor, start_us, end_us, model, version, n, is_judged, why, judgement, crossed, run,"
        " at_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                f.monitor, *f.window, f.model, f.version_number, f.n, f.judged, f.why, text(f.judgement),
                text(f.crossed), f.run, f.at_us,
            )
            for f in group.facts
        ],
        group,
    )  # fmt: skip


def streak_moved(work: Work, group: Group[StreakMoved]) -> None:
    work.change(
        "INSERT INTO streaks (asker, length, window_end_us) VALUES (?, ?, ?) ON CONFLICT (asker)"
        " DO UPDATE SET length = excluded.length, window_end_us = excluded.window_end_us"
        " WHERE streaks.window_end_us <= excluded.window_end_us",
        [(f.asker, f.length, f.window_end_us) for f in group.facts],
        group,
    )


CHANGES = {
    VersionRegistered: version_registered,
    AliasMoved: alias_moved,
    VersionRejected: version_rejected,
    RetrainAsked: retrain_asked,
    ControllerMoved: controller_moved,
    WindowJudged: window_judged,
    StreakMoved: streak_moved,
}
