"""D8: details go of runs that have ended, nothing else goes with them, and what has gone stays away."""

from __future__ import annotations

from collections.abc import Iterator, Set

import xxhash

from headrace.base.facts import encode
from headrace.data.facts import TablePublished, TopicAppended, TopicCompleted, TopicShaped
from headrace.runs import facts as f
from headrace.store.sql.connection import Database
from headrace.testing.auditor.evidence import Evidence, Place, Violation

PROMISE = "only details of runs that ended long ago are dropped"
_DETAILS = (
    f.MapExpanded, f.AttemptStarted, f.AttemptSucceeded, f.AttemptFailed, f.AttemptLost, f.AttemptReturned,
    f.AttemptCancelled, f.ItemSkipped,
)  # fmt: skip


class RetentionCheck:
    """`unseen`: runs whose details had gone before the auditor came; of those it cannot say what it was."""

    def __init__(self, database: Database, unseen: Set[str]) -> None:
        self.database, self._unseen = database, unseen
        self.ended_us: dict[str, int] = {}
        self.dropped: dict[str, tuple[int, int]] = {}  # run → its row: when, and whether files may be left
        self.keys: dict[str, str] = {}
        self._details: dict[tuple[str, int], tuple[str, bytes]] = {}
        self._left: dict[str, set[tuple[str, int]]] = {}  # run → its details that are there
        self._accepted: dict[str, int] = {}  # log → the accepted attempt that what follows is the output of
        self._traced: set[tuple[str, int]] = set()  # those that appended rows to a topic

    def take(self, place: Place) -> Iterator[Violation]:
        self._trace(place)
        match place.fact:
            case f.RunCreated() as run:
                self.keys[run.run] = run.key
            case f.RunEnded() as ended:
                self.ended_us[ended.run] = ended.at_us
            case f.RunRetried() as again:
                self.ended_us.pop(again.run, None)
                if again.run in self.dropped:
                    yield Violation("D8", "a run without details does not go again", str(place))
            case f.DetailsDropped() as fact:
                yield from self._dropped(place, fact)
            case f.FilesDropped() as fact:
                for run in fact.runs:
                    if self.dropped.get(run, (0, 0))[1] != 1:
                        yield Violation("D8", "files go after the details, once", f"{place}: {run}")
                    self.dropped[run] = (self.dropped.get(run, (0, 0))[0], 0)
            case fact if isinstance(fact, _DETAILS):
                self._details[place.log, place.seq] = fact.run, encode(fact)
                self._left.setdefault(fact.run, set()).add((place.log, place.seq))
            case _:
                pass

    def compare(self) -> Iterator[Violation]:
        rows = self.database.read("SELECT run, dropped_us, has_files FROM runs WHERE dropped_us IS NOT NULL")
        found = {run: (dropped_us, has_files) for run, dropped_us, has_files in rows}
        for run in sorted(found.keys() | self.dropped.keys()):
            if found.get(run) != self.dropped.get(run):
                what = f"run {run}: row {found.get(run)}, facts {self.dropped.get(run)}"
                yield Violation("D2", "rows are the fold of the facts", what)

    def close(self, end: Evidence) -> Iterator[Violation]:
        keys = dict(self.database.read("SELECT run, key FROM runs"))
        for run, key in self.keys.items():
            if keys.get(run) != key:
                yield Violation("D8", "the key of a run is kept for ever", f"run {run}: {keys.get(run)} for {key}")

    def _trace(self, place: Place) -> None:
        match place.fact:
            case f.AttemptSucceeded():
                self._accepted[place.log] = place.seq
            case TopicAppended():
                if place.log in self._accepted:
                    self._traced.add((place.log, self._accepted[place.log]))
            case TopicShaped() | TopicCompleted() | TablePublished():
                pass
            case _:
                self._accepted.pop(place.log, None)

    def _dropped(self, place: Place, fact: f.DetailsDropped) -> Iterator[Violation]:
        for run in fact.runs:
            if self.ended_us.get(run, fact.before_us) >= fact.before_us or run in self.dropped:
                yield Violation("D8", PROMISE, f"{place}: run {run}, which ended {self.ended_us.get(run)}")
            self.dropped[run] = (fact.at_us, 1)
        is_seen = self._unseen.isdisjoint(fact.runs)
        for gone in fact.gone:
            digest = xxhash.xxh3_128()
            for first, last in gone.spans():
                for seq in range(first, last + 1):
                    run, body = self._details.pop((gone.log, seq), ("", b""))
                    digest.update(body)
                    self._left.get(run, set()).discard((gone.log, seq))
                    if is_seen and run not in fact.runs:
                        yield Violation("D8", PROMISE, f"{place}: {gone.log} {seq} of run {run or 'nobody'}")
                    if (gone.log, seq) in self._traced:
                        yield Violation("D8", "rows of topics are traced to their attempt", f"{place}: {seq}")
            if is_seen and digest.hexdigest() != gone.digest:
                yield Violation("D8", "what goes is told by its digest", str(place))
        for run in fact.runs:
            for log, seq in sorted(self._left.get(run, ())):
                if (log, seq) not in self._traced:
                    yield Violation("D8", "no detail is left behind", f"{place}: {log} {seq} of run {run}")
