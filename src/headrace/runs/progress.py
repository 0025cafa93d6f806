"""How far one run has come: its task runs and items, what is ready, and what follows from each ending.

The state is changed in place (copying it would cost a map of 100,000 items 50 seconds): by facts, and by a deadline in
one case, the end of an item's wait for its retry, which a fact told. Nothing here scans all unfinished work: every
ending moves counters, and a counter at zero makes its consumers ready. What must be decided next (an expansion, a skip,
the end of the run) is left in `todo` for the machine, which turns it into facts.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from typing import Any

from headrace.runs.facts import Value
from headrace.runs.group import (
    CANCELLED,
    ENDED,
    FAILED,
    PENDING,
    RUNNING,
    SKIPPED,
    SUCCEEDED,
    WAITING,
    Because,
    End,
    Expand,
    Group,
    ItemHistory,
    ScopeState,
    Skip,
    Todo,
    Tries,
)
from headrace.runs.lengths import Lengths, mapped_levels
from headrace.runs.path import Path
from headrace.runs.plan import GraphPlan, NodePlan
from headrace.runs.verdict import Verdicts


class Progress:
    """The state of one run's graph, made at the start or from rows and changed by the methods named after facts."""

    def __init__(self, plan: GraphPlan, params: dict[str, Any]) -> None:
        self.plan = plan
        self.params = params
        self.groups: dict[tuple[str, Path], Group] = {}
        self.scopes: dict[tuple[str, Path], ScopeState] = {}
        self.values: dict[tuple[str, Path], Value] = {}
        self.ready: deque[Group] = deque()
        self.todo: deque[Todo] = deque()
        self.open_nodes = len(plan.nodes)
        self.running = 0
        self.started_at_us: defaultdict[str, list[int]] = defaultdict(list)  # by node, of the last starts, for `rate`
        self.has_failed = False
        self._verdicts = Verdicts(self)
        self._lengths = Lengths(self)
        self._mapped = mapped_levels(plan.graph)
        for name, scope in plan.scopes.items():
            if scope.depth == 1:
                self._open_scope(name, ())
        for node in plan.nodes.values():
            self._open_group(node, ())
        if not plan.nodes:
            self.todo.append(End())

    # -- facts ---------------------------------------------------------------------------------------------------

    def expanded(self, scope_name: str, path: Path, n: int) -> None:
        """MapExpanded: the items of the scope are known."""
        scope = self.scopes[scope_name, path]
        scope.n = n
        for name in scope.plan.nodes:
            group = self.groups[name, path]
            self._size(group, n)
        for name in scope.plan.below:
            self.groups[name, path].n = n
        for child in scope.plan.children:
            for index in range(n):
                self._open_scope(child, (*path, index))
        for name in scope.plan.below:
            for index in range(n):
                self._open_group(self.plan.nodes[name], (*path, index))
        for name in scope.plan.nodes:
            group = self.groups[name, path]
            group.waiting -= 1
            if n == 0:
                self._group_done(group)
            elif group.waiting == 0:
                self._consider_group(group)
        if n == 0:
            for name in scope.plan.below:
                self._group_done(self.groups[name, path])

    def started(self, node: str, path: Path, item: int, attempt: int, epoch: int, at_us: int) -> None:
        group = self.groups[node, path]
        group.status[item] = RUNNING
        group.running += 1
        self.running += 1
        if attempt > 1 or epoch > 1:
            tries = group.tried(item)
            tries.attempt, tries.epoch = attempt, epoch
        if group.plan.node.options.rate is not None:
            self.started_at_us[node].append(at_us)

    def succeeded(self, node: str, path: Path, item: int, value: Value) -> None:
        group = self._stopped(node, path)
        if group.plan.keeps_value or node in self._mapped:
            self.values[node, (*path, item) if group.plan.depth else path] = value
        group.succeeded += 1
        self._item_done(group, item, SUCCEEDED)

    def failed(self, node: str, path: Path, item: int, attempt: int, epoch: int, *, retried: bool) -> None:
        group = self._stopped(node, path)
        tries = group.tried(item)
        tries.attempt, tries.epoch = attempt, epoch
        tries.failed += 1
        if retried:
            group.status[item] = WAITING
        else:
            self._fail(group, item)

    def lost(self, node: str, path: Path, item: int, attempt: int, epoch: int, *, ends: bool) -> None:
        group = self._stopped(node, path)
        tries = group.tried(item)
        tries.attempt, tries.epoch = attempt, epoch
        tries.lost += 1
        if ends:
            self._fail(group, item)
        else:
            self.again(node, path, item)

    def returned(self, node: str, path: Path, item: int, attempt: int, epoch: int) -> None:
        group = self._stopped(node, path)
        tries = group.tried(item)
        tries.attempt, tries.epoch = attempt - 1, epoch  # the number was not used up
        self.again(node, path, item)

    def cancelled(self, node: str, path: Path, item: int) -> None:
        group = self._stopped(node, path)
        group.status[item] = CANCELLED

    def again(self, node: str, path: Path, item: int) -> None:
        """The item may start again: it came back, or its wait for a retry is over."""
        group = self.groups[node, path]
        group.status[item] = PENDING
        group.queue.append(item)
        self._mark_ready(group)

    def item_skipped(self, node: str, path: Path, item: int, because: Because) -> None:
        group = self.groups[node, path]
        group.skipped += 1
        if because.after_failure:
            group.after_failure += 1
            group.skipped_after_failure.add(item)
        self._item_done(group, item, SKIPPED)

    def node_skipped(self, node: str, path: Path, because: Because) -> None:
        group = self.groups[node, path]
        group.because = because
        group.skipped += 1
        group.after_failure += because.after_failure
        if group.is_leaf and group.plan.depth:
            for item in range(max(group.n, 0)):
                self._notify(node, (*path, item))
        self._group_done(group)

    def restored(self, node: str, path: Path, item: int, row: ItemHistory) -> None:
        """An item as its row says, at a restart. Call in topological order of the nodes, then `settle_queues`."""
        group = self.groups[node, path]
        group.next = max(group.next, item + 1)
        if row.state not in ("succeeded", "skipped") and (row.attempt or row.epoch):
            # A start that came back did not use its number up.
            attempt = row.attempt - (row.state == "returned")
            group.tries[item] = Tries(attempt, row.epoch, row.failed, row.lost)
        match row.state:
            case "succeeded":
                if (group.plan.keeps_value or node in self._mapped) and row.value is not None:
                    self.values[node, self.key_of(node, path, item)] = row.value
                group.succeeded += 1
                self._item_done(group, item, SUCCEEDED)
            case "failed":
                self._fail(group, item)
            case "skipped":
                self.item_skipped(node, path, item, row.because or Because(""))
            case "running":
                group.status[item] = RUNNING
                group.running += 1
                self.running += 1
            case "waiting_retry":
                group.status[item] = WAITING
            case "cancelled":
                group.status[item] = CANCELLED
            case _:
                pass  # it is to start again, as soon as its needs are met

    def settle_queues(self) -> None:
        """After rows were restored: what was queued while they were read and has a row by now is not ready."""
        for group in self.groups.values():
            if group.item_waiting is not None:
                group.queue = deque(item for item in group.queue if group.status[item] == PENDING)
            elif group.is_open:
                self._queue_returned(group)

    # -- questions -----------------------------------------------------------------------------------------------

    def due(self, todo: Todo) -> tuple[Todo, ...]:
        """What of a decision is still due. Rows read at a restart may already hold it, and of a map that goes again some
        items may have ended: then only the others are skipped.
        """
        match todo:
            case Skip(node=node, path=path, item=None, because=because):
                group = self.groups[node, path]
                if group.done == 0 and not group.is_done:
                    return (todo,)
                pending = (item for item, status in enumerate(group.status) if status == PENDING)
                return () if group.is_done else tuple(Skip(node, path, item, because) for item in pending)
            case Skip(node=node, path=path, item=item):
                is_due = self.groups[node, path].status[item or 0] == PENDING
            case Expand(scope=scope, path=path):
                is_due = self.scopes[scope, path].n < 0
            case End():
                is_due = True
        return (todo,) if is_due else ()

    def key_of(self, node: str, path: Path, item: int) -> Path:
        return (*path, item) if self.plan.nodes[node].depth else ()

    def counts(self, node: str, key: Path) -> tuple[int, int, int, int]:
        """(total, succeeded, failed, skipped) of everything below the key."""
        plan = self.plan.nodes[node]
        if len(key) == plan.depth > 0:
            group = self.groups[node, key[:-1]]
            status = SKIPPED if group.because is not None else group.status[key[-1]]
            return (1, status == SUCCEEDED, status in (FAILED, CANCELLED), status == SKIPPED)
        group = self.groups[node, key]
        return (max(group.n, 1 if group.because else 0), group.succeeded, group.failed, group.skipped)

    def is_beyond(self, node: str, key: Path) -> bool:
        """Whether more than is allowed has failed below the key: of a single instance, whether it has."""
        if len(key) == self.plan.nodes[node].depth:
            return self.counts(node, key)[2] > 0
        return self.groups[node, key].beyond > 0

    # -- inside --------------------------------------------------------------------------------------------------

    def _open_scope(self, name: str, path: Path) -> None:
        plan = self.plan.scopes[name]
        scope = self.scopes[name, path] = ScopeState(plan, path)
        scope.waiting = sum(not self._is_key_done(n.upstream, path[: n.shared]) for n in plan.needs)
        if scope.waiting == 0:
            self._consider_scope(scope)

    def _open_group(self, plan: NodePlan, path: Path) -> None:
        group = self.groups[plan.name, path] = Group(plan, path)
        if not group.is_leaf:
            return
        group.waiting = sum(not self._is_key_done(n.upstream, path[: n.shared]) for n in plan.group_needs)
        if plan.depth == 0:
            self._size(group, 1)
            if group.waiting == 0:
                self._consider_group(group)
        else:
            group.waiting += 1  # its scope must expand

    def _size(self, group: Group, n: int) -> None:
        group.n = n
        group.status = bytearray(n)
        if group.plan.item_needs:
            group.item_waiting = bytearray(
                sum(not self._is_key_done(need.upstream, (*group.path, item)) for need in group.plan.item_needs)
                for item in range(n)
            )

    def _stopped(self, node: str, path: Path) -> Group:
        group = self.groups[node, path]
        group.running -= 1
        self.running -= 1
        return group

    def _fail(self, group: Group, item: int) -> None:
        group.failed += 1
        if group.failed > group.plan.node.options.allow_failed:
            group.beyond = group.failed
            self.has_failed = True
        self._item_done(group, item, FAILED)

    def _item_done(self, group: Group, item: int, status: int) -> None:
        group.status[item] = status
        group.done += 1
        if group.plan.depth:
            self._notify(group.plan.name, (*group.path, item))
        if group.done == group.n:
            self._group_done(group)

    def _group_done(self, group: Group) -> None:
        self._notify(group.plan.name, group.path)
        if not group.path:
            self.open_nodes -= 1
            if self.open_nodes == 0:
                self.todo.append(End())
            return
        above = self.groups[group.plan.name, group.path[:-1]]
        above.succeeded += group.succeeded
        above.failed += group.failed
        above.skipped += group.skipped
        above.beyond += group.beyond
        above.after_failure += group.after_failure
        above.done += 1
        if above.done == above.n:
            self._group_done(above)

    def _notify(self, node: str, key: Path) -> None:
        for name, shared in self.plan.consumers.get(node, ()):
            if shared != len(key):
                continue
            plan = self.plan.nodes[name]
            if plan.depth == shared > 0:
                group = self.groups.get((name, key[:-1]))
                if group is not None and group.item_waiting is not None and group.because is None:
                    group.item_waiting[key[-1]] -= 1
                    if group.item_waiting[key[-1]] == 0 and group.is_open:
                        self._consider_item(group, key[-1])
            else:
                for group in self._groups_below(plan, key):
                    group.waiting -= 1
                    if group.waiting == 0:
                        self._consider_group(group)
        for name, shared in self.plan.openers.get(node, ()):
            if shared == len(key):
                for scope in self._scopes_below(name, key):
                    scope.waiting -= 1
                    if scope.waiting == 0:
                        self._consider_scope(scope)

    def _groups_below(self, plan: NodePlan, key: Path) -> Iterator[Group]:
        level = max(plan.depth - 1, 0)
        if level == len(key):
            exact = self.groups.get((plan.name, key))
            yield from (exact,) if exact is not None and exact.because is None else ()
            return
        for (name, path), group in tuple(self.groups.items()):
            if name == plan.name and len(path) == level and path[: len(key)] == key and group.because is None:
                yield group

    def _scopes_below(self, name: str, key: Path) -> Iterator[ScopeState]:
        if (exact := self.scopes.get((name, key))) is not None:
            yield exact
            return
        for (other, path), scope in tuple(self.scopes.items()):
            if other == name and path[: len(key)] == key:
                yield scope

    def _consider_scope(self, scope: ScopeState) -> None:
        if scope.n >= 0:
            return
        because = self._verdicts.missing(scope.plan.scope.over, scope.path, scope.plan.needs)
        n = self._lengths.of(scope.plan.scope, scope.path) if because is None else None
        if because is None and n is None:
            because = Because("upstream value cannot be mapped: it is neither a list nor a frame", after_failure=True)
            self.has_failed = True
        if because is not None:
            for name in (*scope.plan.nodes, *scope.plan.below):
                self.todo.append(Skip(name, scope.path, None, because))
        elif n is not None:
            self.todo.append(Expand(scope.plan.scope.name, scope.path, n))

    def _consider_group(self, group: Group) -> None:
        if group.is_done:
            return
        plan = group.plan
        if plan.item_needs:
            group.is_open = True
            for item in range(group.n):
                if group.item_waiting is not None and group.item_waiting[item] == 0 and group.status[item] == PENDING:
                    self._consider_item(group, item)
            return
        because = self._verdicts.verdict(plan, group.path)
        if because is None:
            group.is_open = True
            self._queue_returned(group)
        else:
            self.todo.append(Skip(plan.name, group.path, None, because))

    def _queue_returned(self, group: Group) -> None:
        """Queue the items that were started before and wait again: after a retry of the run, or a restart."""
        group.queue = deque(item for item in range(group.next) if group.status[item] == PENDING)
        self._mark_ready(group)

    def _consider_item(self, group: Group, item: int) -> None:
        because = self._verdicts.verdict(group.plan, (*group.path, item))
        if because is None:
            group.queue.append(item)
            self._mark_ready(group)
        else:
            self.todo.append(Skip(group.plan.name, group.path, item, because))

    def _mark_ready(self, group: Group) -> None:
        if not group.in_ready and group.has_ready():
            group.in_ready = True
            self.ready.append(group)

    def _is_key_done(self, node: str, key: Path) -> bool:
        plan = self.plan.nodes[node]
        if len(key) == plan.depth > 0:
            group = self.groups.get((node, key[:-1]))
            return group is not None and (
                group.because is not None or (group.n > key[-1] and group.status[key[-1]] in ENDED)
            )
        group = self.groups.get((node, key))
        return group is not None and group.is_done
