"""What an engine tells whoever runs it, and what it asks of them."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.base.facts import Fact
from headrace.errors import RefusedError
from headrace.ports import Request
from headrace.runs.events import Event
from headrace.runs.refusal import Refusal


class Listener:
    """Whoever runs an engine overrides what concerns them. As it is, nothing is deployed and the first trouble ends it."""

    def heard(self, facts: Sequence[Fact]) -> None:
        """Facts were committed: for display."""

    def woken(self) -> None:
        """Somebody has written to the store."""

    def refused(self, refusal: Refusal) -> None:
        """What came from no client, and so waits for no answer in a row, was refused: for display."""

    def asked(self, request: Request) -> list[Event]:
        """A client asks for what is not the machine's: the event, or none yet where it comes later (a deploy is loaded).

        Raises HeadraceError where it is refused.
        """
        raise RefusedError(f"this engine does not know the request {request.verb!r}", code="HR3002")

    def troubled(self, error: Exception, then: str) -> None:
        """The store or a decision failed; `then` says what the engine does next. Raising ends it instead."""
        raise error
