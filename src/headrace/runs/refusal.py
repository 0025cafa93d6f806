"""Why something that was asked or seen comes to nothing: the one way from an error to an answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from headrace.base.facts import Fact
from headrace.errors import HeadraceError
from headrace.runs.events import RequestSettled
from headrace.runs.facts import CursorMoved, EventRejected

UNEXPECTED = "HR0001"
WORDS_MOST = 2000  # what is kept of the event itself


@dataclass(frozen=True, slots=True)
class Refusal:
    """`code` and `cure` are those of the error that a user meets; `is_expected` unless it is a fault of the program."""

    code: str
    message: str
    cure: str | None = None

    @classmethod
    def of(cls, error: Exception) -> Refusal:
        """
        >>> from headrace.errors import RefusedError
        >>> Refusal.of(RefusedError("not now", cure="wait", code="HR3011"))
        Refusal(code='HR3011', message='not now', cure='wait')
        >>> Refusal.of(KeyError("a")).message
        "KeyError: 'a'"
        """
        if isinstance(error, HeadraceError):
            return cls(error.code, error.message, error.cure)
        return cls(UNEXPECTED, f"{type(error).__name__}: {error}")

    @property
    def is_expected(self) -> bool:
        return self.code != UNEXPECTED

    @property
    def status(self) -> str:
        return "refused" if self.is_expected else "error"

    @property
    def answer(self) -> dict[str, Any]:
        return {"code": self.code, "message": self.message, "cure": self.cure}

    def settles(self, request: int) -> RequestSettled:
        """The answer to a request that is not decided on any further."""
        return RequestSettled(request, self.status, self.answer)

    def __str__(self) -> str:
        return f"{self.code} {self.message}" if self.is_expected else self.message


def rejected(event: str, why: str, now_us: int, log: str = "", seq: int = 0) -> Iterator[Fact]:
    """What is kept of an event that comes to nothing. One that stands at a place in another log is passed there."""
    yield EventRejected(event[:WORDS_MOST], why, now_us, log, seq)
    if log:  # else it would be seen again at every look
        yield CursorMoved(log, seq)
