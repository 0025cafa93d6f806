"""A run that has not ended, as the engine holds it in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from headrace.definitions.project import ModelDef, PipelineDef
from headrace.runs.progress import Progress


@dataclass(slots=True)
class Active:
    """`waits` are topics whose watermark must pass the window's end before anything starts.

    `model` is what it registers, with the policy of its own code version. `replaced_by`: table → the run that has
    replaced there what this one had written.
    """

    run: str
    pipeline: str
    code: str
    definition: PipelineDef
    progress: Progress
    cause: str
    params: dict[str, Any]
    window: tuple[int, int] | None
    events: tuple[tuple[str, int, int, int], ...]
    max_lost: int
    waits: tuple[str, ...] = ()
    pins: dict[str, Any] = field(default_factory=dict[str, Any])
    replaced_by: dict[str, str] = field(default_factory=dict[str, str])
    is_cancelled: bool = False
    cancelled_by: str = ""
    is_queued: bool = False
    has_started: bool = False
    generation: int = 1
    created_us: int = 0
    model: ModelDef | None = None
    number: int = 0  # in which order this engine took it in

    def behind(self, watermarks: dict[str, int]) -> tuple[str, ...]:
        """The topics that it still waits for."""
        end_us = self.window[1] if self.window is not None else 0
        return tuple(topic for topic in self.waits if watermarks.get(topic, 0) < end_us)
