"""T1, T4, T8: a stream's output is the function of the input prefix that its offset names, in order; the rest is dead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from headrace.testing.auditor import Violation
from headrace.testing.simulator.store import MemoryStore
from headrace.testing.simulator.stream import OUTPUT, STREAM, bodies, kinds_of

REASON = {"poison": "error", "killer": "crashed"}


def check_output(store: MemoryStore, blamed: Mapping[tuple[int, int], int]) -> Iterator[Violation]:
    """`blamed`: how often a process died with the row in hand. An innocent row may be given up for it."""
    shards = store.database.read("SELECT shard, coalesce(next_offset, 0) FROM shards WHERE stream = ?", (STREAM,))
    for partition, end in shards:
        kinds = kinds_of(store, partition)[:end]
        sql = "SELECT offset, reason FROM dead_letters WHERE stream = ? AND partition = ?"
        dead: dict[int, str] = dict(store.database.read(sql, (STREAM, partition)))
        for offset, kind in enumerate(kinds):
            reason = dead.get(offset)
            is_given_up = reason == "crashed" and (partition, offset) in blamed
            if reason != REASON.get(kind) and not is_given_up:
                found = f"{partition}: row {offset} is {kind}, its dead letter {reason}"
                yield Violation("T8", "each poison row is one dead letter, and no other is", found)
        found = [n for body in bodies(store, OUTPUT, partition) for n in msgspec.json.decode(body, type=list[int])]
        wanted = [n for n, kind in enumerate(kinds) if kind in ("ok", "away") and n not in dead]
        if found != wanted:
            yield Violation("T1", "output is the function of the input prefix, in order", f"{found}, not {wanted}")
