"""The audit as a whole: what it looks at, and every check in turn, at any moment or at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from headrace.base.facts import Fact
from headrace.definitions.project import Project
from headrace.store.sql import kinds
from headrace.store.sql.connection import Database
from headrace.testing.auditor.witness import Witness

MOST = 20  # a broken promise breaks others: the first few tell the story


@dataclass(frozen=True)
class Violation:
    """A promise that was not kept: its number in the guarantees, what it says, and which run and facts show it."""

    number: str
    promise: str
    found: str

    def __str__(self) -> str:
        return f"{self.number} ({self.promise}): {self.found}"


@dataclass(frozen=True)
class Evidence:
    """What is audited. `projects` by code version; `has_ended`: whether all work came to an end within its bound.

    `is_quiet`: the faults had stopped and nobody was in the middle of something. `slots_until_us`: schedules must be
    dealt with up to this instant, None where that cannot be asked.
    """

    database: Database
    projects: Mapping[str, Project]
    witness: Witness = field(default_factory=Witness)
    has_ended: bool = True
    is_quiet: bool = True
    slots_until_us: int | None = None
    code: str = ""  # the version that is deployed at the end


@dataclass(frozen=True, slots=True)
class Place:
    """A fact where it lies."""

    log: str
    seq: int
    fact: Fact

    def __str__(self) -> str:
        return f"{self.log} {self.seq} {self.fact!r}"[:400]


class Check(Protocol):
    """One group of promises. Facts come log by log in their order; logs come in any order."""

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
        from headrace.testing.auditor.data import DataCheck
        from headrace.testing.auditor.logs import LogCheck
        from headrace.testing.auditor.models import ModelCheck
        from headrace.testing.auditor.requests import RequestCheck
        from headrace.testing.auditor.runs import RunCheck
        from headrace.testing.auditor.schedules import ScheduleCheck
        from headrace.testing.auditor.state import StateCheck
        from headrace.testing.auditor.streams import StreamCheck
        from headrace.testing.auditor.triggers import TriggerCheck

        self.database = database
        self._read_to: dict[str, int] = {}
        self._checks: tuple[Check, ...] = (
            LogCheck(database),
            RunCheck(database, projects, witness),
            ScheduleCheck(projects),
            TriggerCheck(database, projects),
            DataCheck(database, projects, witness),
            ModelCheck(database, projects),
            StreamCheck(),
            StateCheck(database),
            RequestCheck(database, witness),
        )

    def look(self) -> list[Violation]:
        """What the facts since the last look break, and what the rows of this moment do not say as they should."""
        found: list[Violation] = []
        for place in self._news():
            for check in self._checks:
                for violation in check.take(
                    place
                ):  # to the end of the log: every check knows all facts before it compares
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
        for log, seq, kind, version, body in rows:
            self._read_to[log] = seq
            yield Place(log, seq, kinds.read(kind, version, body))


def audit(evidence: Evidence) -> list[Violation]:
    """All violations found, at most a few of each check; empty where every promise was kept."""
    return Auditor(evidence.database, evidence.projects, evidence.witness).close(evidence)


def _some(found: Iterable[Violation]) -> Iterator[Violation]:
    for _, violation in zip(range(MOST), found, strict=False):
        yield violation
