"""What is left when the year has been played: all that telling the story starts from."""

from __future__ import annotations

from dataclasses import dataclass

from headrace.definitions.project import Project
from headrace.demo.record import Record
from headrace.settings import Settings


@dataclass(frozen=True)
class Played:
    """A year that was played: where its store is, what the record holds, and what was done to its processes."""

    settings: Settings
    project: Project
    record: Record
    kills: int
    pauses: int
