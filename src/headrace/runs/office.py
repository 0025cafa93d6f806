"""What a desk may ask of the machine that it works for."""

from __future__ import annotations

from typing import Protocol

from headrace.definitions.project import Project


class Office(Protocol):
    """What a desk may ask of the machine."""

    max_lost: int

    @property
    def now_us(self) -> int: ...
    @property
    def project(self) -> Project: ...
    @property
    def code(self) -> str: ...
    def new_id(self) -> str: ...
    def wake_in(self, delay_us: int) -> None: ...
    def is_active(self, pipeline: str) -> bool: ...
    def window_of(self, run: str) -> tuple[int, int] | None: ...
