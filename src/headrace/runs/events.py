"""What can happen to the engine from outside. Times and ids are in the events, so a simulation repeats."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from headrace.data.facts import TablePublished
from headrace.definitions.nodes import Graph
from headrace.definitions.project import Project
from headrace.runs.active import Active
from headrace.runs.effects import NO_EFFECTS, Effects
from headrace.runs.facts import Gone, LogSpan, Read, Value
from headrace.runs.rows import RunRow

ALL_BEGUN = 1 << 62  # as `WorkerDied.begun`, of a worker that nobody knows more of: each of its attempts may have begun


@dataclass(frozen=True, slots=True)
class Deployed:
    """A code version was loaded and is the one that new runs use."""

    code: str
    project: Project
    body: bytes
    request: int | None = None


@dataclass(frozen=True, slots=True)
class RunAsked:
    """A client asks for a run of a pipeline. `key` is its idempotency key."""

    pipeline: str
    key: str
    cause: str = "person"
    params: dict[str, Any] = field(default_factory=dict[str, Any])
    window: tuple[int, int] | None = None
    events: tuple[tuple[str, int, int, int], ...] = ()
    why: str = ""
    request: int | None = None
    at_us: int | None = None  # the event time that it is about, where it is not the window's end


@dataclass(frozen=True, slots=True)
class CancelAsked:
    run: str
    by: str
    request: int | None = None


@dataclass(frozen=True, slots=True)
class RetryAsked:
    """An ended run goes again from where it failed.

    `row` is the run as it was when the request was read, None where there is none. `graphs` are those of its pipeline in
    its own code and, where it is to go on with another `code`, in that one; None where there is none.
    """

    run: str
    by: str
    row: RunRow | None
    code: str | None = None
    graphs: tuple[Graph | None, Graph | None] = (None, None)
    request: int | None = None


@dataclass(frozen=True, slots=True)
class RunRestored:
    """A run that goes again was read from its rows."""

    active: Active


@dataclass(frozen=True, slots=True)
class PauseAsked:
    pipeline: str
    is_paused: bool
    by: str
    request: int | None = None


@dataclass(frozen=True, slots=True)
class AliasAsked:
    """A person moves an alias (promote), or moves it back (`version` None: rollback)."""

    model: str
    alias: str
    version: int | None
    by: str
    request: int | None = None


@dataclass(frozen=True, slots=True)
class RequestSettled:
    """A request that is answered without being decided on: refused, malformed, or done before."""

    request: int
    status: str
    answer: Any


@dataclass(frozen=True, slots=True)
class WorkerReady:
    worker: str


@dataclass(frozen=True, slots=True)
class WorkerDied:
    """The process is gone. `begun` is the serial of the last attempt whose user code it had entered.

    `was_killed`: by a SIGKILL, which says nothing about the code that it ran.
    """

    worker: str
    begun: int
    why: str
    was_killed: bool = False


@dataclass(frozen=True, slots=True)
class AttemptDone:
    worker: str
    serial: int
    result: Value
    took_us: int
    log: LogSpan | None = None
    reads: tuple[Read, ...] = ()
    effects: Effects = NO_EFFECTS


@dataclass(frozen=True, slots=True)
class AttemptErrored:
    worker: str
    serial: int
    error: str
    detail: str = ""
    log: LogSpan | None = None
    retryable: bool = True


@dataclass(frozen=True, slots=True)
class AttemptsReturned:
    """A worker gives back what it has not begun, since the attempt `serial` runs for `running_us` already."""

    worker: str
    serials: tuple[int, ...]
    serial: int
    running_us: int


@dataclass(frozen=True, slots=True)
class PinAsked:
    """An attempt reads a dataset for the first time; `pin` is what it would be now."""

    worker: str
    serial: int
    dataset: str
    pin: Any


@dataclass(frozen=True, slots=True)
class TriggerSeen:
    """A followed log holds a `TriggerFired` at `seq`."""

    log: str
    seq: int
    pipeline: str
    key: str
    ranges: tuple[tuple[str, int, int, int], ...]
    event_time_us: int


@dataclass(frozen=True, slots=True)
class UpdateSeen:
    """A table got a new version through another log (a run in process)."""

    log: str
    seq: int
    published: TablePublished


@dataclass(frozen=True, slots=True)
class NewsRejected:
    """Acting on a fact of another log has failed, and failed again when it was tried alone: nothing comes of it."""

    log: str
    seq: int
    event: str
    error: str


@dataclass(frozen=True, slots=True)
class SlotsRead:
    """The slots of a schedule after `after_us` that have a run."""

    pipeline: str
    slug: str
    after_us: int
    ran: frozenset[int]


@dataclass(frozen=True, slots=True)
class WatermarksRead:
    """How far each topic is complete in event time."""

    through_us: dict[str, int]


@dataclass(frozen=True, slots=True)
class DetailsOld:
    """Runs that ended before `before_us` still have their details; `gone` are the facts that go with these."""

    runs: tuple[str, ...]
    before_us: int
    gone: tuple[Gone, ...]


@dataclass(frozen=True, slots=True)
class FilesGone:
    """The files of runs without details were deleted."""

    runs: tuple[str, ...]


Event = (
    Deployed
    | RunAsked
    | CancelAsked
    | RetryAsked
    | RunRestored
    | PauseAsked
    | AliasAsked
    | RequestSettled
    | WorkerReady
    | WorkerDied
    | AttemptDone
    | AttemptErrored
    | AttemptsReturned
    | PinAsked
    | TriggerSeen
    | UpdateSeen
    | NewsRejected
    | SlotsRead
    | WatermarksRead
    | DetailsOld
    | FilesGone
)
