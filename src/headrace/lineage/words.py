"""How rows of the store are told in a trace: pure functions from a row to the lines and the data of its step."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from headrace.base.instants import iso, to_the_second, to_us
from headrace.runs.reasons import evidence_in_words

if TYPE_CHECKING:
    from headrace.runs.rows import RunRow
    from headrace.store.sql.reads.models import AliasRow, VersionRow
    from headrace.store.sql.reads.streams import BatchRow, DeadLetterRow
    from headrace.store.sql.reads.tables import TableVersionRow

Told = tuple[tuple[str, ...], dict[str, Any]]
_VALUES_SHOWN = 12


def row(values: Mapping[str, Any], *, event_us: int | None, appended_us: int) -> Told:
    """Columns of one row; long rows are cut in the words, never in the data."""
    plain = {name: _plain(value) for name, value in values.items()}
    parts = [f"{name} {_short(value)}" for name, value in plain.items()]
    shown = ", ".join(parts[:_VALUES_SHOWN]) + (
        f", and {len(parts) - _VALUES_SHOWN} more" * (len(parts) > _VALUES_SHOWN)
    )
    about = f"about {iso(event_us)}, " if event_us is not None else ""
    return (shown, f"{about}appended {to_the_second(appended_us)}"), {
        "values": plain,
        "event_us": event_us,
        "appended_us": appended_us,
    }


def batch(found: BatchRow, topic: str) -> Told:
    says = (
        f"read {topic}/{found.shard} at offsets [{found.first:,}, {found.end:,}): {found.rows_in:,} in, "
        f"{found.rows_out:,} out, {found.filtered:,} filtered, {found.dead:,} dead",
        f"committed {to_the_second(found.at_us)} by code {found.code}",
    )
    return says, msgspec.to_builtins(found)


def dead(found: DeadLetterRow) -> str:
    """Why a stream made nothing of a row: it is a dead letter."""
    error = found.error.strip().rpartition("\n")[2]
    return f"{found.stream} made nothing of it: dead letter {found.id} ({found.reason}): {error}"


def unread(stream: str, offset: int, next_offset: int | None, began: int | None) -> str:
    """Why no batch of a stream holds an offset. `began` is the first that it has read.

    >>> unread("score", 3, 10, 5)
    'score made nothing of it: it lies before the stream began, at offset 5'
    >>> unread("score", 12, 10, 5)
    'score has not come to it: it is at offset 10'
    """
    if next_offset is None:
        return f"{stream} has not come to it: it has not started"
    if next_offset <= offset:
        return f"{stream} has not come to it: it is at offset {next_offset:,}"
    first = next_offset if began is None else began
    return f"{stream} made nothing of it: it lies before the stream began, at offset {first:,}"


def version(found: VersionRow, moves: list[AliasRow]) -> Told:
    says = [
        # Why others serve is told by the moves of the alias.
        f"{found.state}: {found.why}" if found.why and found.state == "rejected" else found.state,
        f"fitted on {found.rows_fit:,} rows before {iso(found.cutoff_us)}, tested on {found.rows_test:,} after it",
    ]
    evidence = found.evidence if isinstance(found.evidence, dict) else {}
    metrics: dict[str, float] = evidence.get("metrics") or {}
    if metrics:
        says.append(_metrics(metrics))
    if problem := evidence.get("problem"):
        says.append(str(problem))
    says += [
        f"{move.alias} since {to_the_second(move.at_us)}, by {move.by}" + (f": {move.why}" if move.why else "")
        for move in moves
    ]
    says.append(f"{found.predict} in code {found.code}; {found.digest}")
    data = msgspec.to_builtins(found) | {"moves": msgspec.to_builtins(moves)}
    return tuple(says), data


def run(found: RunRow) -> Told:
    window = "" if found.window is None else f" about {stretch(found.window)}"
    why = f": {evidence_in_words(found.why)}" if found.why else ""
    says = [f"{found.pipeline}{window}, {found.state}", f"{found.cause}{why}"]
    if found.params:
        says.append("with " + ", ".join(f"{name}={value!r}" for name, value in found.params.items()))
    ended = f", ended {to_the_second(found.ended_us)}" if found.ended_us is not None else ""
    says.append(f"created {to_the_second(found.created_us)}{ended}; code {found.code}")
    return tuple(says), msgspec.to_builtins(found)


def stretch(window: tuple[int, int]) -> str:
    """A window of data; one that begins in 1970 is that of all rows up to its end.

    >>> stretch((0, 86_400_000_000))
    'all until 1970-01-02T00:00Z'
    """
    start_us, end_us = window
    return f"{iso(start_us)} to {iso(end_us)}" if start_us else f"all until {iso(end_us)}"


def table(found: TableVersionRow) -> Told:
    says = (f"{found.rows:,} rows in {len(found.parts)} files, published {to_the_second(found.at_us)} by {found.node}",)
    return says, msgspec.to_builtins(found)


def offsets(pin: Any) -> str:
    """A topic's pin in words: `{"0": 120}` ends of partitions, or `[[0, 5, 9]]` exact ranges.

    >>> offsets({"0": 1200, "1": 98}), offsets([[0, 5, 9]])
    ('0 to 1,200, 1 to 98', '0 [5, 9)')
    """
    if isinstance(pin, dict):
        return ", ".join(f"{partition} to {end:,}" for partition, end in sorted(pin.items())) or "nothing yet"
    return ", ".join(f"{partition} [{first:,}, {end:,})" for partition, first, end in pin)


def _metrics(values: dict[str, float]) -> str:
    """ "auc 0.71 ± 0.01, …": an error stands beside its metric."""
    parts: list[str] = []
    for name, value in values.items():
        if name.endswith("_se") and name.removesuffix("_se") in values:
            continue
        se = values.get(f"{name}_se")
        parts.append(f"{name} {value:.4g}" + ("" if se is None else f" ± {se:.2g}"))
    return ", ".join(parts)


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return iso(to_us(value)) if value.tzinfo is not None else value.isoformat()
        case date():
            return value.isoformat()
        case bytes():
            return value.decode("utf-8", "replace")
        case _:
            return value


def _short(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 40 else text[:39] + "…"
