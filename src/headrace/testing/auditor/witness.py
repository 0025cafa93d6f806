"""A witness outside the store: which attempts were handed out, were entered, and finished. Tasks cannot lie to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Begun(NamedTuple):
    """`crew` is the engine that handed it out, `at_us` monotonic time."""

    run: str
    node: str
    path: str
    item: int
    attempt: int
    epoch: int
    at_us: int
    crew: str = ""

    @property
    def start(self) -> tuple[str, str, str, int, int, int]:
        return self[:6]


class Appended(NamedTuple):
    """Rows that a client was told are durable."""

    topic: str
    partition: int
    first: int
    rows: int
    body: bytes


@dataclass
class Witness:
    """`sent_log`: handed to a worker; `begun_log`: user code entered; `finished_log`: returned.

    `told_log`: told to stop. `acknowledged`: request → (key, verb, body) as a client was told; `appended`: rows as a
    client was told. `leapt_us`: when the wall clock last jumped ahead, in monotonic time: who begins after that cannot
    know how long ago things happened.
    """

    sent_log: list[Begun] = field(default_factory=list[Begun])
    begun_log: list[Begun] = field(default_factory=list[Begun])
    finished_log: list[Begun] = field(default_factory=list[Begun])
    told_log: set[tuple[str, str, str, int, int, int]] = field(default_factory=set[tuple[str, str, str, int, int, int]])
    acknowledged: dict[int, tuple[str, str, Any]] = field(default_factory=dict[int, tuple[str, str, Any]])
    appended: list[Appended] = field(default_factory=list[Appended])
    leapt_us: int = -1

    def sent(self, begun: Begun) -> None:
        self.sent_log.append(begun)

    def begun(self, begun: Begun) -> None:
        self.begun_log.append(begun)

    def finished(self, begun: Begun) -> None:
        self.finished_log.append(begun)

    def told(self, begun: Begun) -> None:
        self.told_log.add(begun.start)
