"""What happens to runs, task runs and attempts.

A task run's item is named by (run, node, path, item): `path` is the indices of the enclosing maps ("" or "3" or "3.0"),
`item` the index in the innermost one (0 outside maps). `attempt` numbers tries, `epoch` numbers starts: a start that
never began goes back with the same attempt and the next epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import msgspec

from headrace.base.facts import Fact


class Value(msgspec.Struct, frozen=True, array_like=True):
    """A stored result: inline (`body`, JSON text up to 8 KiB) or an artifact (`path` below the artifact root)."""

    codec: str
    body: str | None = None
    path: str | None = None
    size_bytes: int = 0
    digest: str = ""
    length: int | None = None  # of a list, tuple or frame: what a map over it expands to
    # Of its elements, as deep as maps go over it: a length, a list of the lengths inside, None where it has no elements.
    lengths: tuple[int | list[Any] | None, ...] | None = None


class Read(msgspec.Struct, frozen=True, array_like=True):
    """A dataset that an attempt read, and exactly what of it: a version, or offset ranges as JSON."""

    kind: str  # "table" | "topic" | "model"
    name: str
    pin: Any


class TableWrite(msgspec.Struct, frozen=True, array_like=True):
    """A Parquet part, written by an attempt and published when the attempt is accepted."""

    table: str
    mode: str  # "whole" | "window" | "key"
    path: str
    rows: int
    size_bytes: int
    digest: str
    window: tuple[int, int] | None = None
    columns: dict[str, str] | None = None


class TopicWrite(msgspec.Struct, frozen=True, array_like=True):
    """Rows for one partition, written by an attempt to a file and appended when the attempt is accepted.

    `schema` holds the columns that a topic without `schema=` takes from them; None where it has its columns. Rows without
    a time of their own (`is_timed`, `is_known` False) get that of the acceptance. `settled_us` as in `TopicAppended`.
    """

    topic: str
    partition: int
    rows: int
    path: str
    min_time_us: int | None = None
    max_time_us: int | None = None
    min_known_us: int | None = None
    max_known_us: int | None = None
    schema: dict[str, str] | None = None
    partitions: int = 0  # of the topic, as declared
    settled_us: int | None = None
    is_timed: bool = True
    is_known: bool = True


class LogSpan(msgspec.Struct, frozen=True, array_like=True):
    """Where an attempt's output lies: bytes [start, end) of a worker's log file."""

    file: str
    start: int
    end: int


class LogTaken(Fact, frozen=True):
    """A new owner acts for this log from here on; every older one is fenced."""

    epoch: int
    owner: str
    at_us: int


class CodeDeployed(Fact, frozen=True):
    """A code version is the current one. `project` is the canonical JSON of its definitions.

    `heads` are the ends of all topics (partition → offset) at that moment, given by the transaction that commits it:
    what lies beyond them is new to this code, whatever clocks say.
    """

    code: str
    project: msgspec.Raw
    at_us: int
    heads: dict[str, dict[int, int]] | None = None


class RunCreated(Fact, frozen=True):
    """A run exists. `key` is unique for ever: one per slot, event group, monitor window or request."""

    run: str
    pipeline: str
    code: str
    key: str
    cause: str  # "schedule" | "event" | "updated" | "monitor" | "retrain" | "person" | "here" | "backfill"
    at_us: int
    params: dict[str, Any] = {}
    window: tuple[int, int] | None = None
    events: tuple[tuple[str, int, int, int], ...] = ()  # (topic, partition, first, end)
    why: str = ""
    waits: tuple[str, ...] = ()  # topics whose watermark must pass the window's end
    max_lost: int = 5


class RunReady(Fact, frozen=True):
    """What the run waited for has come (or `ready_within` ran out: then `missing` names what had not)."""

    run: str
    at_us: int
    missing: tuple[str, ...] = ()


class MapExpanded(Fact, frozen=True):
    """A map scope has `n` items at this path."""

    lasting: ClassVar[bool] = False
    run: str
    scope: str
    path: str
    n: int


class AttemptStarted(Fact, frozen=True):
    lasting: ClassVar[bool] = False
    run: str
    node: str
    path: str
    item: int
    attempt: int
    epoch: int
    worker: str
    at_us: int


class AttemptSucceeded(Fact, frozen=True):
    """The one accepted result of the item."""

    lasting: ClassVar[bool] = False
    run: str
    node: str
    path: str
    item: int
    attempt: int
    epoch: int
    at_us: int
    took_us: int
    result: Value
    log: LogSpan | None = None
    reads: tuple[Read, ...] = ()


class AttemptFailed(Fact, frozen=True):
    """The attempt's code raised or timed out. `retry_at_us` is set where it will be tried again."""

    lasting: ClassVar[bool] = False
    run: str
    node: str
    path: str
    item: int
    attempt: int
    epoch: int
    at_us: int
    error: str  # one line: "ValueError: could not …"
    detail: str = ""  # the traceback, cut to the user's frames
    retry_at_us: int | None = None
    log: LogSpan | None = None


class AttemptLost(Fact, frozen=True):
    """The attempt's process, engine or host died. `ends` is true where `max_lost` is used up: the item is failed."""

    lasting: ClassVar[bool] = False
    run: str
    node: str
    path: str
    item: int
    attempt: int
    epoch: int
    at_us: int
    why: str
    ends: bool = False
    log: LogSpan | None = None
    with_run: bool = False  # the run was ended from the outside: whatever is left of `max_lost`


class AttemptReturned(Fact, frozen=True):
    """The attempt was handed over but not begun, and its worker went or is long in another: it keeps its number."""

    lasting: ClassVar[bool] = False
    run: str
    node: str
    path: str
    item: int
    attempt: int
    epoch: int


class AttemptCancelled(Fact, frozen=True):
    """The attempt was told to stop, because its run was cancelled, and has."""

    lasting: ClassVar[bool] = False
    run: str
    node: str
    path: str
    item: int
    attempt: int
    epoch: int
    at_us: int


class ItemSkipped(Fact, frozen=True):
    """One item of a map will not run, and why; `after_failure` where something before it failed."""

    lasting: ClassVar[bool] = False
    run: str
    node: str
    path: str
    item: int
    why: str
    after_failure: bool = False


class NodeSkipped(Fact, frozen=True):
    """A whole task run (all items at this path) will not run, and why; `after_failure` as for `ItemSkipped`."""

    run: str
    node: str
    path: str
    why: str
    after_failure: bool = False


class InputPinned(Fact, frozen=True):
    """The first read of a dataset in this run: everyone else in the run reads the same."""

    run: str
    dataset: str  # "topic:departures"
    pin: Any


class RunCancelled(Fact, frozen=True):
    """A person or a policy asked the run to stop: no new attempt starts after this."""

    run: str
    at_us: int
    by: str
    why: str = ""


class RunRetried(Fact, frozen=True):
    """Failed and skipped task runs of an ended run go again as the next generation.

    `forgives`: task → how many items of one of its maps may fail. Where no more than that have, they stay failed.
    """

    run: str
    generation: int
    at_us: int
    by: str
    code: str = ""
    forgives: dict[str, int] = {}


class RunEnded(Fact, frozen=True):
    run: str
    state: str  # "succeeded" | "failed" | "cancelled" | "lost"
    at_us: int
    why: str = ""
    result: Value | None = None
    by: str = "tasks"  # what decided: "tasks" | "map" (cannot expand) | "cancel" | "code" | "rows" | "process"


class Gone(msgspec.Struct, frozen=True, array_like=True):
    """Which facts of a log are dropped: from `first` on, `lengths` says in turn how many go and how many stay.

    `digest` is the xxh3 (128 bits) of the bodies that go, in their order: what is kept elsewhere can be told to be theirs.
    """

    log: str
    first: int
    lengths: tuple[int, ...]
    digest: str

    @property
    def count(self) -> int:
        """How many facts go.

        >>> Gone("engine", 5, (3, 2, 1), "").count
        4
        """
        return sum(self.lengths[::2])

    def spans(self) -> Iterator[tuple[int, int]]:
        """The first and the last seq of each stretch that goes.

        >>> list(Gone("engine", 5, (3, 2, 1), "").spans())
        [(5, 7), (10, 10)]
        """
        seq = self.first
        for i, length in enumerate(self.lengths):
            if i % 2 == 0:
                yield seq, seq + length - 1
            seq += length


class DetailsDropped(Fact, frozen=True):
    """The details of runs that ended before `before_us` are gone: their attempts, their items, and these facts."""

    runs: tuple[str, ...]
    before_us: int
    gone: tuple[Gone, ...]
    at_us: int


class FilesDropped(Fact, frozen=True):
    """What runs without details had left in the folder of artifacts is gone, but for what rows still name."""

    runs: tuple[str, ...]
    at_us: int


class SlotsSkipped(Fact, frozen=True):
    """Schedule slots up to `until_us` that get no run, and why. Together with runs they cover every slot once."""

    pipeline: str
    slug: str
    after_us: int
    until_us: int
    count: int
    why: str
    at_us: int
    because: str = ""  # "begin" | "catchup_off" | "has_run" | "paused" | "asked"


class SlotsReopened(Fact, frozen=True):
    """The clock was ahead and was set back: slots from `after_us` to `until_us` are due when their time really comes.

    Those that have run do not run again.
    """

    pipeline: str
    slug: str
    after_us: int
    until_us: int
    at_us: int


class TriggerSuppressed(Fact, frozen=True):
    """A trigger fired and no run follows, and why."""

    pipeline: str
    key: str
    why: str
    at_us: int


class PipelinePaused(Fact, frozen=True):
    pipeline: str
    is_paused: bool
    by: str
    at_us: int


class CursorMoved(Fact, frozen=True):
    """This log has acted on everything of `log` up to and including `seq`."""

    lasting: ClassVar[bool] = False
    log: str
    seq: int


class RequestAnswered(Fact, frozen=True):
    """The answer to a row of the inbox; the same idempotency key gets the same answer."""

    request: int
    status: str  # "done" | "refused" | "error"
    answer: Any
    at_us: int


class EventRejected(Fact, frozen=True):
    """Deciding on an event raised: it is stored and not tried again, so it cannot stop the engine twice.

    `log` and `seq` name the fact that it was about, where another process had written one.
    """

    event: str
    error: str
    at_us: int
    log: str = ""
    seq: int = 0
