"""What is known of workers that have ended while no row tells it yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from headrace.runs.events import ALL_BEGUN, Event, WorkerDied

STRANGER = "the engine that had started it died"
ABANDONED = "the store refused, and the engine ended its workers to go on from what is committed"


class Deaths:
    """Kept until an engine has begun from its rows: nobody else can say later how far a worker was when it ended."""

    def __init__(self) -> None:
        self._known: dict[str, WorkerDied] = {}

    def heard(self, events: Sequence[Event]) -> None:
        """The deaths among events that were taken from the workers, and what was decided on them is not committed."""
        self._known.update((event.worker, event) for event in events if isinstance(event, WorkerDied))

    def abandoned(self, begun: Mapping[str, int]) -> None:
        """The engine itself has ended them, because the store refused. Worker → the last serial that it had begun."""
        self._take(begun, ABANDONED)

    def strangers(self, begun: Mapping[str, int]) -> None:
        """They were still there when the engine began: of one before it, or some that did not end when they should."""
        self._take(begun, STRANGER)

    def of(self, workers: Iterable[str]) -> list[Event]:
        """Their deaths; of one that nobody knows more of, each attempt may have begun."""
        return [self._known.get(name) or WorkerDied(name, ALL_BEGUN, STRANGER) for name in workers]

    def forget(self) -> None:
        self._known.clear()

    def _take(self, begun: Mapping[str, int], why: str) -> None:
        for name, serial in begun.items():
            known = self._known.get(name)
            # What was said first is why; how far it came is only certain now.
            self._known[name] = WorkerDied(name, serial, why if known is None else known.why)
