"""The audit as a whole: what it looks at, and every check in turn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

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


def audit(evidence: Evidence) -> list[Violation]:
    """All violations found, at most a few of each check; empty where every promise was kept."""
    from headrace.testing.auditor.attempts import check_runs
    from headrace.testing.auditor.logs import check_ends, check_logs
    from headrace.testing.auditor.models import check_models
    from headrace.testing.auditor.schedules import check_schedules
    from headrace.testing.auditor.streams import check_streams
    from headrace.testing.auditor.triggers import check_triggers

    places = read_facts(evidence.database)
    checks = (check_logs, check_runs, check_schedules, check_triggers, check_models, check_streams, check_ends)
    return [violation for check in checks for violation in _some(check(evidence, places))]


def read_facts(database: Database) -> list[Place]:
    """Every fact, log by log."""
    rows = database.read("SELECT log, seq, kind, version, body FROM facts ORDER BY log, seq")
    return [Place(log, seq, kinds.read(kind, version, body)) for log, seq, kind, version, body in rows]


def _some(found: Iterator[Violation]) -> Iterator[Violation]:
    for _, violation in zip(range(MOST), found, strict=False):
        yield violation
