"""What a scenario works with: how often and how large, the machine's limits, and a project that an engine serves."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.machine import Limits
from benchmarks.project import Project


@dataclass(frozen=True, slots=True)
class Bench:
    """`served` is the project that the scenario's `SOURCE` names; None where it names none.

    `is_quick` only sees whether a scenario works.
    """

    runs: int
    is_quick: bool
    limits: Limits
    served: Project | None

    @property
    def project(self) -> Project:
        assert self.served is not None, "the scenario names no SOURCE"
        return self.served

    def sized(self, full: int, quick: int) -> int:
        return quick if self.is_quick else full
