"""Every replaceable part on one page: short Protocols in the words of the domain.

Adapters (`store`, `executors`, `storage`, `connectors`) implement them and know neither the engine nor each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from headrace.base.facts import Fact, Stored
from headrace.definitions.project import Project
from headrace.runs.active import Active
from headrace.runs.commands import StartAttempt
from headrace.runs.events import Event
from headrace.runs.rows import ActiveRun, LeftFiles, OldDetails, OpenRun, Restored, RunRow


@dataclass(frozen=True, slots=True)
class Append:
    """News for one log. `expected_seq` is the seq of the log's last fact as its owner knows it.

    None means "at the head, whatever it is": only for logs with many writers (`clients`).
    `bodies` holds, by index into `facts`, the bytes of a TopicAppended or the payload of another fact that carries one.
    """

    log: str
    expected_seq: int | None
    facts: tuple[Fact, ...]
    bodies: Mapping[int, bytes] = field(default_factory=dict[int, bytes])


@dataclass(frozen=True, slots=True)
class Committed:
    """`heads`: the new last seq per log. `facts`: per log, the facts as stored (offsets of TopicAppended assigned)."""

    heads: Mapping[str, int]
    facts: Mapping[str, tuple[Fact, ...]]


@dataclass(frozen=True, slots=True)
class LogState:
    """How far a log is, and whose it is: `owner` is the word in its last LogTaken, "" (epoch 0) where nobody took it."""

    head: int
    epoch: int = 0
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """A row of the inbox: what a client without a log asks of the engine."""

    id: int
    key: str
    verb: str
    body: Any
    at_us: int


class Store(Protocol):
    """The one place of state. `commit` is the one write verb; everything else reads.

    Raises SupersededError where another writer owns the log, ConflictError where a number that is given out in order
    went to another writer, StoreError where the database refuses (full disk, damage, newer version). After any other
    StoreError of `commit` the outcome is unknown until `log` was read.
    """

    def commit(self, appends: Sequence[Append]) -> Committed: ...
    def log(self, name: str) -> LogState:
        """Head and owner of a log, of one moment."""
        ...

    def ask(self, verb: str, body: Any, *, key: str, at_us: int) -> int:
        """Write a durable request (same key: the same row). Returns its id."""
        ...

    def requests(self, *, limit: int = 200) -> list[Request]:
        """Unanswered requests, oldest first."""
        ...

    def answer(self, request: int) -> tuple[str, Any] | None:
        """(status, answer) once the engine has answered."""
        ...

    def topic_columns(self, topic: str) -> dict[str, str] | None:
        """Column → type word of a topic that took its columns from its first rows; None where it took none."""
        ...

    def close(self) -> None: ...


class LiveStore(Store, Protocol):
    """What a process that follows the others asks again and again."""

    def watermarks(self, definitions: Project) -> dict[str, int]:
        """How far each topic is complete in event time: as declared, or as its stream or its newest rows say."""
        ...

    def change_count(self) -> int:
        """A number that changes when another connection has committed. Cheap: an idle engine asks once a second."""
        ...


class StreamStore(LiveStore, Protocol):
    """What a stream process asks besides."""

    def wal_is_over_limit(self) -> bool:
        """Whether stream writers should wait until the write-ahead log is shorter again."""
        ...


class EngineStore(LiveStore, Protocol):
    """What an engine reads besides: its own state at a start, and what others have done since."""

    def restore(self, log: str) -> Restored:
        """All that an engine on this log goes on from, of one moment.

        Raises DamagedError where it makes no sense; but not for a run that does not.
        """
        ...

    def news(self, *, limit: int = 1000) -> list[Stored]:
        """Facts of other logs that an engine must act on and has not: what has fired, tables that grew elsewhere."""
        ...

    def active_run(self, run: str) -> ActiveRun | None:
        """The rows of one run that has not ended. Raises DamagedError where they make no sense."""
        ...

    def open_run(self, run: str) -> OpenRun | None:
        """The same run, as far as whoever ends it from the outside needs it."""
        ...

    def run_row(self, run: str) -> RunRow | None: ...
    def slots_run(self, pipeline: str, slug: str, after_us: int) -> frozenset[int]:
        """The slots of a schedule after that instant that have a run."""
        ...

    def run_of_key(self, key: str) -> str | None:
        """The run that has this key."""
        ...

    def project_of(self, code: str) -> bytes:
        """Canonical JSON of the definitions of a code version that was deployed once."""
        ...

    def tidy(self) -> None:
        """Bring the database file in order while nothing else is to do."""
        ...

    def old_details(self, before_us: int, limit: int) -> OldDetails | None:
        """At most so many of the runs that ended before that time and have their details, the oldest first."""
        ...

    def left_files(self, limit: int) -> list[LeftFiles]:
        """Runs without details whose files may still be there."""
        ...

    def oldest_details_us(self) -> int | None:
        """When the oldest run was made that has its details."""
        ...


class RunFiles(Protocol):
    """The files that runs leave. Raises StoreError where the disk refuses."""

    def drop(self, runs: Sequence[LeftFiles]) -> bool:
        """Delete what the runs left and no row names. What is gone already is no error. False: not now."""
        ...

    def drop_logs(self, before_us: int) -> None:
        """Delete log files that nobody has written since, and nobody has open for it."""
        ...


class Workers(Protocol):
    """Whoever runs attempts. Calls return at once; what happens comes back as events.

    A command to a worker that is gone is dropped: its death, heard or still to be heard, tells the rest.
    """

    def spawn(self, worker: str, code: str) -> None:
        """One that cannot be started has died before it was ready."""
        ...

    def start(self, worker: str, attempts: Sequence[tuple[StartAttempt, Active]]) -> None: ...
    def answer_pin(self, worker: str, serial: int, dataset: str, pin: Any) -> None: ...
    def stop(self, worker: str) -> None: ...
    def cancel(self, worker: str, serial: int) -> None:
        """Tell one attempt to stop; whether it does is told by its report."""
        ...

    def kill(self, worker: str, why: str) -> None: ...
    def events(self) -> list[Event]: ...
    def begun(self, workers: Sequence[str]) -> dict[str, tuple[int, int]]:
        """(serial, monotonic microseconds since when it runs) of the attempt that each is in."""
        ...

    def wait(self, timeout_s: float, *others: int) -> None:
        """Block until a worker has news, one of the other file descriptors is readable, or the time is over."""
        ...

    def end_strangers(self) -> dict[str, int]:
        """End the workers of a dead engine; returns the last serial that each had begun."""
        ...

    def abandon(self) -> dict[str, int]:
        """End all workers at once and forget them, and the events that were not asked for.

        Returns the last serial that each had begun, which nobody can say later: their attempts are closed from the rows.
        """
        ...

    def close(self) -> None: ...


class Clock(Protocol):
    """Wall time for slots and display, monotonic time for deadlines; both in microseconds."""

    def now_us(self) -> int: ...
    def monotonic_us(self) -> int: ...
