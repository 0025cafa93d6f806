"""The one writer of a log: takes it over, appends at its head, and knows after every error whether it has written.

Engines, stream processes and runs in process all append through here, so there is one answer to "did that commit happen?".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from headrace.base.facts import Fact
from headrace.errors import StoreError, SupersededError
from headrace.ports import Append, LogState, Store
from headrace.runs.facts import LogTaken


class Writer:
    """Owner of one log, from `take` on. `owner` is a word that no other living process uses.

    `state` is the log as this writer has seen or left it: as long as it is the owner nobody else appends, so head,
    epoch and owner together say for certain whose the last facts are.
    """

    def __init__(self, store: Store, log: str, owner: str) -> None:
        self.log, self.owner = log, owner
        self.state = LogState(0)
        self._store = store
        self.is_unsure = False  # what became of the last append

    def look(self) -> None:
        """See where the log is: what is read of the rows from here on may be decided on in `take`.

        Raises SupersededError where it was this writer's and another has taken it.
        """
        found = self._store.log(self.log)
        if self.state.owner == self.owner and (found.epoch, found.owner) != (self.state.epoch, self.owner):
            raise self._superseded(found)
        self.state, self.is_unsure = found, False

    def take(self, now_us: int, facts: Sequence[Fact] = ()) -> None:
        """Take the log over as it was seen, with the first facts: whoever wrote it before is fenced from here on.

        Raises SupersededError where another has written since `look`, StoreError where nothing was written.
        """
        taken = LogTaken(self.state.epoch + 1, self.owner, now_us)
        after = LogState(self.state.head + 1 + len(facts), taken.epoch, self.owner)
        _commit(self._store, [(self, Append(self.log, self.state.head, (taken, *facts)), after)])

    def append(self, facts: Sequence[Fact], bodies: Mapping[int, bytes] | None = None) -> None:
        """Append at the head. Raises SupersededError where another owns the log, StoreError where nothing was written."""
        append_all(self._store, [Addition(self, tuple(facts), bodies or {})])

    def has_written(self, after: LogState) -> bool:
        """What has become of an append that was to lead to `after` and raised.

        Raises SupersededError where another has taken the log, StoreError where it cannot be read.
        """
        found = self._store.log(self.log)
        if found not in (self.state, after):
            raise self._superseded(found)
        return found == after

    def make_sure(self) -> None:
        """Before more is written: where the log could not be read after an error, it is to be as it was before.

        Raises SupersededError where it is not: what was decided meanwhile was decided without what stands there.
        """
        if self.is_unsure:
            found = self._store.log(self.log)
            if found != self.state:
                raise self._superseded(found)
            self.is_unsure = False

    def _superseded(self, found: LogState) -> SupersededError:
        is_own = (found.epoch, found.owner) == (self.state.epoch, self.owner)
        what = (
            "what this process has written last is not what it knows of"
            if is_own
            else "another process has taken this log"
        )
        return SupersededError(
            f"{what}: its last fact is {found.head}, its owner {found.owner or 'nobody'}",
            where=self.log,
            cure="this one must stop acting for it",
        )


@dataclass(frozen=True, slots=True)
class Addition:
    """What one writer adds in a transaction of several. `bodies` as in `ports.Append`."""

    writer: Writer
    facts: tuple[Fact, ...]
    bodies: Mapping[int, bytes] = field(default_factory=dict[int, bytes])


def append_all(store: Store, additions: Sequence[Addition]) -> None:
    """Append to several logs of one process: one transaction, all of it or nothing. Raises as `Writer.append`."""
    steps: list[tuple[Writer, Append, LogState]] = []
    for x in additions:
        state = x.writer.state
        after = LogState(state.head + len(x.facts), state.epoch, state.owner)
        steps.append((x.writer, Append(x.writer.log, state.head, x.facts, x.bodies), after))
    _commit(store, steps)


def _commit(store: Store, steps: Sequence[tuple[Writer, Append, LogState]]) -> None:
    for writer, _, _ in steps:
        writer.make_sure()
    try:
        store.commit([append for _, append, _ in steps])
    except StoreError:
        # The outcome is unknown until a log was read. It was one transaction: what holds for one log holds for all.
        writer, _, after = steps[0]
        for one, _, _ in steps:
            one.is_unsure = True
        is_written = writer.has_written(after)
        for one, _, _ in steps:
            one.is_unsure = False
        if not is_written:
            raise
    for writer, _, after in steps:
        writer.state = after
