"""What the engine forgets, and when: the details of runs that ended long ago, some at a time, between other work."""

from __future__ import annotations

from headrace.ports import Clock, EngineStore, RunFiles
from headrace.runs.events import DetailsOld, Event, FilesGone

LOOK_US = 3_600_000_000  # how often it is looked, at least
BUSY_US = 10_000_000  # between two batches while there is other work
PAUSE_S = 0.05  # between two batches while there is none
AT_ONCE = 200  # runs in a batch


class Retention:
    """Finds what is older than `keep_us`, a batch at a time. What was begun before a crash comes first.

    The rows of a batch go first, in a commit of their own; then its files; then it is noted that these are gone.
    """

    def __init__(self, store: EngineStore, files: RunFiles, clock: Clock, keep_us: int) -> None:
        self._store, self.files, self._clock, self._keep_us = store, files, clock, keep_us
        self._look_us = min(LOOK_US, keep_us // 10)
        self._due_us = clock.monotonic_us()
        self.has_more = False  # the last batch was done, and another one may be there

    def look(self, *, is_idle: bool) -> Event | None:
        """What there is to decide on, now or at the next look; None for nothing yet.

        Deletes the files of runs whose rows are gone already. Raises StoreError; then it is looked again later.
        """
        now_us = self._clock.monotonic_us()
        if now_us < self._due_us and not (is_idle and self.has_more):
            return None
        self._due_us, self.has_more = now_us + self._look_us, False
        left = self._store.left_files(AT_ONCE)
        if left and self.files.drop(left):
            return FilesGone(tuple(one.run for one in left))
        before_us = self._clock.now_us() - self._keep_us
        old = self._store.old_details(before_us, AT_ONCE)
        if old is not None:
            return DetailsOld(old.runs, before_us, old.gone)
        self.files.drop_logs(min(before_us, self._store.oldest_details_us() or before_us))
        return None

    def committed(self) -> None:
        """What was found is done: there may be more of it."""
        self._due_us, self.has_more = self._clock.monotonic_us() + min(self._look_us, BUSY_US), True
