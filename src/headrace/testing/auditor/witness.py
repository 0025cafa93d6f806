"""A witness outside the store: which attempts were handed out, were entered, and finished. Tasks cannot lie to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class Begun(NamedTuple):
    run: str
    node: str
    path: str
    item: int
    attempt: int
    epoch: int
    at_us: int

    @property
    def start(self) -> tuple[str, str, str, int, int, int]:
        return self[:6]


@dataclass
class Witness:
    """`sent_log`: handed to a worker; `begun_log`: user code entered; `finished_log`: returned."""

    sent_log: list[Begun] = field(default_factory=list[Begun])
    begun_log: list[Begun] = field(default_factory=list[Begun])
    finished_log: list[Begun] = field(default_factory=list[Begun])

    def sent(self, begun: Begun) -> None:
        self.sent_log.append(begun)

    def begun(self, begun: Begun) -> None:
        self.begun_log.append(begun)

    def finished(self, begun: Begun) -> None:
        self.finished_log.append(begun)
