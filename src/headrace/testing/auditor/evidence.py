"""What is audited, and what may come of it: a fact in its place, all that there is at the end, a promise not kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from headrace.base.facts import Fact
from headrace.definitions.project import Project
from headrace.store.sql.connection import Database
from headrace.testing.auditor.witness import Witness


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
