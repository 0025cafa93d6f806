"""Handing out work: which ready item goes to which worker next, and how many workers there are."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator

from headrace.runs.active import Active
from headrace.runs.commands import SpawnWorker, StartAttempt, StopWorker
from headrace.runs.facts import AttemptStarted, Value
from headrace.runs.group import PENDING, Group
from headrace.runs.outcome import Outcome
from headrace.runs.path import path_text
from headrace.runs.pool import CREDIT_US, WorkerState
from headrace.runs.progress import Progress
from headrace.runs.state import State

IDLE_WORKER_US = 60_000_000


class Handout:
    """The queue of runs with ready work. It takes from the queues of ready items, which are its agenda."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._pool = state.pool
        self._queue: deque[str] = deque()

    def consider(self, active: Active) -> None:
        """Queue a run that has something ready and may be at work."""
        if active.is_cancelled or active.waits or not active.progress.ready or active.run not in self._state.runs:
            return
        if not active.is_queued and self._state.lanes.admit(active):
            active.is_queued = True
            self._queue.append(active.run)
            following = self._state.lanes.first_held(active.pipeline)
            if following is not None:
                self._state.touched[following] = None

    def hand_out(self) -> Iterator[Outcome]:
        """Fill workers, idle ones first; runs take turns, so a long map does not hold up a small run."""
        stuck = 0
        while self._queue and stuck < len(self._queue):
            active = self._state.runs.get(self._queue[0])
            if active is None or active.is_cancelled or not active.progress.ready:
                self._queue.popleft()
                if active is not None:
                    active.is_queued = False
                continue
            stuck = 0 if (yield from self._hand_out_one(active)) else stuck + 1
            self._queue.rotate(-1)

    def tend_workers(self) -> Iterator[Outcome]:
        """Let workers leave that were idle for a minute; one of the current code stays warm."""
        idle = self._pool.idle()
        warm = next((w for w in idle if w.code == self._state.code), None)
        for worker in idle:
            if worker is warm:
                continue
            if self._state.mono_us - worker.idle_since_us >= IDLE_WORKER_US or worker.code != self._state.code:
                yield StopWorker(worker.name)
            else:
                self._state.timers.wake_at(worker.idle_since_us + IDLE_WORKER_US)

    def _hand_out_one(self, active: Active) -> Generator[Outcome, None, bool]:
        """Hand out a handful of one group's items. False where nothing could be handed out now."""
        ready = active.progress.ready
        for _ in range(len(ready)):
            if not ready:
                return False
            group = ready[0]
            if not group.has_ready():
                ready.popleft()
                group.in_ready = False
                continue
            allowed = self._allowed(active, group)
            if allowed > 0:
                expected_us = self._pool.expected_us(active.pipeline, group.plan.name)
                if group.plan.node.options.rate is not None:  # none waits in a worker, and comes back uncalled-for
                    expected_us = max(expected_us, CREDIT_US)
                best = self._pool.least_loaded(active.code, expected_us, self._state.mono_us)
                if best is None:
                    yield from self._want_worker(active.code)
                    return False
                worker, room = best
                # Half of the room at a time: two idle workers share what is there instead of one taking all.
                for _ in range(min(max(room // 2, 1), allowed)):
                    if not group.has_ready():
                        break
                    yield from self._start(active, group, worker)
                return True
            ready.rotate(-1)
        return False

    def _allowed(self, active: Active, group: Group) -> int:
        options = group.plan.node.options
        allowed = 1_000_000
        if options.concurrency is not None:
            running = sum(g.running for (name, _), g in active.progress.groups.items() if name == group.plan.name)
            allowed = options.concurrency - running
        if options.rate is not None:
            started_at_us = active.progress.started_at_us[group.plan.name]
            since_us = self._state.mono_us - options.rate_us
            started_at_us[:] = [at for at in started_at_us if at > since_us]
            left = options.rate - len(started_at_us)
            if left <= 0:
                self._state.timers.wake_at(started_at_us[0] + options.rate_us)
            allowed = min(allowed, left)
        return allowed

    def _start(self, active: Active, group: Group, worker: WorkerState) -> Iterator[Outcome]:
        item = group.take()
        if group.status[item] != PENDING:
            return
        node = group.plan.node
        tries = group.tries.get(item)
        attempt, epoch = (tries.attempt + 1, tries.epoch + 1) if tries is not None else (1, 1)
        serial = worker.serial + 1
        place = (active.run, node.name, path_text(group.path), item, attempt, epoch)
        yield AttemptStarted(*place, f"{worker.name}#{serial}", self._state.now_us)
        upstream = _upstream_values(active.progress, group, item)
        yield StartAttempt(
            worker.name,
            serial,
            active.run,
            active.pipeline,
            active.code,
            node,
            group.path,
            item,
            attempt,
            epoch,
            upstream,
        )

    def _want_worker(self, code: str) -> Iterator[Outcome]:
        if not self._pool.wants_worker(code):
            return
        if len(self._pool.workers) >= self._pool.size:
            other = next((w for w in self._pool.idle() if w.code != code), None)
            if other is None:
                return
            yield StopWorker(other.name)
        yield SpawnWorker(self._pool.next_name(), code)


def _upstream_values(progress: Progress, group: Group, item: int) -> dict[tuple[str, tuple[int, ...]], Value]:
    plan = group.plan
    where = (*group.path, item) if plan.depth else ()
    values: dict[tuple[str, tuple[int, ...]], Value] = {}
    for need in (*plan.group_needs, *plan.item_needs):
        key = where[: need.shared]
        value = progress.values.get((need.upstream, key))
        if value is not None:
            values[need.upstream, key] = value
    return values
