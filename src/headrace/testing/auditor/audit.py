"""The audit as a whole: what it looks at, and every check in turn, at any moment or at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from headrace.definitions.project import Project
from headrace.runs.facts import DetailsDropped
from headrace.store.sql import kinds
from headrace.store.sql.connection import Database
from headrace.testing.auditor.data import DataCheck
from headrace.testing.auditor.evidence import Evidence, Place, Violation
from headrace.testing.auditor.logs import LogCheck
from headrace.testing.auditor.models import ModelCheck
from headrace.testing.auditor.requests import RequestCheck
from headrace.testing.auditor.retention import RetentionCheck
from headrace.testing.auditor.runs import RunCheck
from headrace.testing.auditor.schedules import ScheduleCheck
from headrace.testing.auditor.state import StateCheck
from headrace.testing.auditor.streams import StreamCheck
from headrace.testing.auditor.triggers import TriggerCheck
from headrace.testing.auditor.waits import WaitCheck
from headrace.testing.auditor.witness import Witness

MOST = 20  # a broken promise breaks others: the first few tell the story


class Check(Protocol):
    """One group of promises. Facts come log by log in their order; logs come in any order, but that those which tell
    of details that were dropped come last: other logs have the runs that these were of."""

    def take(self, place: Place) -> Iterable[Violation]: ...
    def compare(self) -> Iterable[Violation]:
        """What must hold at every commit, once all facts so far were taken."""
        ...

    def close(self, end: Evidence) -> Iterable[Violation]:
        """What must hold when all is over."""
        ...


class Auditor:
    """Follows one store: each fact is read once, whenever somebody looks."""

    def __init__(self, database: Database, projects: Mapping[str, Project], witness: Witness) -> None:
        self.database = database
        self._read_to: dict[str, int] = {}
        self._unseen: set[str] = set()  # runs whose details had gone when they were to be read
        self._checks: tuple[Check, ...] = (
            LogCheck(database),
            RetentionCheck(database, self._unseen),
            RunCheck(database, projects, witness, self._unseen),
            ScheduleCheck(projects),
            TriggerCheck(database, projects),
            DataCheck(database, projects, witness, self._unseen),
            ModelCheck(database, projects),
            StreamCheck(),
            StateCheck(database),
            RequestCheck(database, witness),
            WaitCheck(projects),
        )

    def look(self) -> list[Violation]:
        """What the facts since the last look break, and what the rows of this moment do not say as they should."""
        found: list[Violation] = []
        for place in self._news():
            for check in self._checks:
                for violation in check.take(place):  # to the end of the log: all facts are known before they compare
                    if len(found) <= MOST:
                        found.append(violation)
        for check in self._checks:
            found.extend(_some(check.compare()))
        return found

    def close(self, end: Evidence) -> list[Violation]:
        """The last look, and what must hold when all is over."""
        return [*self.look(), *(v for check in self._checks for v in _some(check.close(end)))]

    def _news(self) -> Iterator[Place]:
        with self.database.reading(is_snapshot=True) as connection:
            ask = connection.execute
            rows: list[tuple[str, int, str, int, bytes]] = []
            for log, head in ask("SELECT name, head FROM logs ORDER BY name").fetchall():
                if head > self._read_to.get(log, 0):
                    sql = "SELECT log, seq, kind, version, body FROM facts WHERE log = ? AND seq > ? ORDER BY seq"
                    rows += ask(sql, (log, self._read_to.get(log, 0))).fetchall()
        places = [Place(log, seq, kinds.read(kind, version, body)) for log, seq, kind, version, body in rows]
        droppers = {place.log for place in places if isinstance(place.fact, DetailsDropped)}
        places.sort(key=lambda place: place.log in droppers)
        for fact in (place.fact for place in places):
            if isinstance(fact, DetailsDropped):
                had_gone = any(last > self._read_to.get(x.log, 0) for x in fact.gone for _, last in x.spans())
                self._unseen.update(fact.runs if had_gone else ())
        for place in places:
            self._read_to[place.log] = place.seq
            yield place


def audit(evidence: Evidence) -> list[Violation]:
    """All violations found, at most a few of each check; empty where every promise was kept."""
    return Auditor(evidence.database, evidence.projects, evidence.witness).close(evidence)


def _some(found: Iterable[Violation]) -> Iterator[Violation]:
    for _, violation in zip(range(MOST), found, strict=False):
        yield violation
