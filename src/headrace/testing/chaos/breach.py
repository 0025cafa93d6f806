"""A promise that was not kept."""

from __future__ import annotations

from dataclasses import dataclass

LOST, DOUBLED, STUCK, WRONG = "lost", "doubled", "stuck", "wrong"


@dataclass(frozen=True)
class Breach:
    """`kind`: lost, doubled, stuck, or wrong for all else. `key` is what it is about, `where` where to look."""

    kind: str
    key: str
    text: str
    where: str = ""

    def __str__(self) -> str:
        return f"{self.kind.upper()} {self.key}: {self.text}" + (f"\n    see {self.where}" if self.where else "")
