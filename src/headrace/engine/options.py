"""What an engine is told when it is made."""

from __future__ import annotations

from dataclasses import dataclass

from headrace.definitions.project import Project


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """`name` is who owns the log, for people. One that `serves` takes requests, fires triggers and follows other logs.

    `local` is the code of a run in process, which is never deployed: (version, project).
    """

    log: str = "engine"
    name: str = "engine"
    pool_size: int = 2
    max_lost: int = 5
    serves: bool = True
    fires_schedules: bool = True
    local: tuple[str, Project] | None = None
