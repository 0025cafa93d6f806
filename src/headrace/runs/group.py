"""The items of one task run at one place of its maps, and what is left to be decided about them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from headrace.runs.facts import Value
from headrace.runs.path import Path
from headrace.runs.plan import NodePlan, ScopePlan

PENDING, RUNNING, WAITING, SUCCEEDED, FAILED, SKIPPED, CANCELLED = range(7)
ENDED = frozenset((SUCCEEDED, FAILED, SKIPPED, CANCELLED))


@dataclass(frozen=True, slots=True)
class Because:
    """Why something does not run. `after_failure`: something before it failed, else its branch was not taken."""

    why: str
    after_failure: bool = False


@dataclass(slots=True)
class Tries:
    """What has been tried of one item: kept only for items that needed more than one start."""

    attempt: int = 0
    epoch: int = 0
    failed: int = 0
    lost: int = 0


class Group:
    """The items of one node at one path; outside maps a single item. Upper levels of nested maps only count."""

    __slots__ = (
        "after_failure", "because", "beyond", "done", "failed", "in_ready", "is_open", "item_waiting", "n", "next", "path", "plan", "queue",
        "running", "skipped", "skipped_after_failure", "status", "succeeded", "tries", "waiting",
    )  # fmt: skip

    def __init__(self, plan: NodePlan, path: Path) -> None:
        self.plan = plan
        self.path = path
        self.n = -1  # unknown until the scope expands
        self.waiting = 0  # needs of the whole group that are not met
        self.next = 0  # items from here on have not been started, and need nothing of their own
        self.is_open = False
        self.in_ready = False
        self.queue: deque[int] = deque()  # items ready out of order: returned, due for a retry, or their needs just met
        self.status = bytearray()
        self.item_waiting: bytearray | None = None
        self.tries: dict[int, Tries] = {}
        self.running = self.done = self.succeeded = self.failed = self.skipped = 0
        self.beyond = 0  # of the failed: those in maps where more have failed than are allowed to
        self.after_failure = 0  # of the skipped: those that something failed before
        self.because: Because | None = None  # of the group as a whole, where it is skipped
        self.skipped_after_failure: set[int] = set()  # of the single items that are skipped

    @property
    def is_leaf(self) -> bool:
        return len(self.path) == max(self.plan.depth - 1, 0)

    @property
    def is_done(self) -> bool:
        return self.because is not None or (self.n >= 0 and self.done == self.n)

    def has_ready(self) -> bool:
        return bool(self.queue) or (self.is_open and self.item_waiting is None and self.next < self.n)

    def take(self) -> int:
        """The next ready item. Only call where `has_ready()`."""
        if self.queue:
            return self.queue.popleft()
        self.next += 1
        return self.next - 1

    def tried(self, item: int) -> Tries:
        return self.tries.get(item) or self.tries.setdefault(item, Tries())


class ScopeState:
    """One map scope at one path: whether it has expanded."""

    __slots__ = ("n", "path", "plan", "waiting")

    def __init__(self, plan: ScopePlan, path: Path) -> None:
        self.plan, self.path, self.n, self.waiting = plan, path, -1, 0


@dataclass(frozen=True, slots=True)
class ItemHistory:
    """What the store keeps of one item, as a restart needs it."""

    state: str
    attempt: int
    epoch: int
    failed: int
    lost: int
    because: Because | None = None
    value: Value | None = None


@dataclass(frozen=True, slots=True)
class Expand:
    scope: str
    path: Path
    n: int


@dataclass(frozen=True, slots=True)
class Skip:
    """`item` None: the whole group, or for a longer-than-path node the whole subtree."""

    node: str
    path: Path
    item: int | None
    because: Because


@dataclass(frozen=True, slots=True)
class End:
    pass


Todo = Expand | Skip | End
