"""What an engine tells whoever runs it, and what it asks of them."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.base.facts import Fact
from headrace.errors import RefusedError
from headrace.ports import Request
from headrace.runs.events import Event


class Listener:
    """Whoever runs an engine overrides what concerns them. As it is, nothing is deployed and the first trouble ends it."""

    def heard(self, facts: Sequence[Fact]) -> None:
        """Facts were committed: for display."""

    def woken(self) -> None:
        """Somebody has written to the store."""

    def deploy(self, request: Request) -> list[Event]:
        """A client asks for a deploy: the event, or none yet where it comes when the code has been loaded.

        Raises HeadraceError where it is refused.
        """
        raise RefusedError(f"this engine does not know the request {request.verb!r}", code="HR3002")

    def troubled(self, error: Exception, then: str) -> None:
        """The store or a decision failed; `then` says what the engine does next. Raising ends it instead."""
        raise error
