"""Rows → state: an engine goes on where the rows are, with what is unfinished and nothing else.

The one way, after a restart, a lost race and a run that goes again alike.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.definitions import project as definitions
from headrace.definitions.project import Project
from headrace.errors import DamagedError
from headrace.runs.active import Active
from headrace.runs.applying import take_in, wait_for_retry
from headrace.runs.group import Because, ItemHistory
from headrace.runs.path import path_of
from headrace.runs.plan import make_plan
from headrace.runs.pool import Flight, WorkerState
from headrace.runs.progress import Progress
from headrace.runs.rows import ActiveRun, ItemRow, Restored
from headrace.runs.sending import watch_grace
from headrace.runs.state import State, definition_of
from headrace.runs.timers import TimeoutDue

CURE = "headrace doctor shows what is broken; restore a copy:  headrace restore"


def restore(state: State, restored: Restored) -> dict[str, str]:
    """Give a new state what the rows hold. Attempts that were running are still running in it.

    Returns run → why of those whose rows make no sense; the state knows nothing of them. Raises DamagedError where that
    is so of what concerns all of them.
    """
    projects = dict(state.projects)

    def project_of(code: str) -> Project:
        if code not in projects:
            projects[code] = read_project(code, restored.codes.get(code, b""))
        return projects[code]

    state.code = restored.code
    if state.code:
        state.projects = {state.code: project_of(state.code)}
    try:
        state.desks.restore(restored)
    except ValueError as error:
        raise DamagedError(f"what the policies know cannot be read: {error}", cure=CURE) from error
    unusable = dict(restored.unreadable)
    for rows in restored.runs:
        try:
            take_in(state, restore_run(state, rows, project_of(rows.run.code)))
        except DamagedError as error:
            unusable[rows.run.run] = error.message
    return unusable


def read_project(code: str, body: bytes) -> Project:
    """The definitions of a code version. Raises DamagedError where they are not what was deployed."""
    try:
        return definitions.decode(body)
    except ValueError as error:
        what = f"the definitions of the code version {code} cannot be read: {error}"
        raise DamagedError(what, cure=CURE) from error


def restore_run(state: State, rows: ActiveRun, project: Project) -> Active:
    """One unfinished run as it stands in its rows; `project` is that of its code.

    What it had running its workers hold, and for its retries there are timers. Raises DamagedError where the rows make no
    sense; then nothing of it is in the state.
    """
    try:
        active = _read(state, rows, project)
        flights = [_flight(state, active, row) for row in rows.items if row.state == "running"]
    except Exception as error:  # rows that are not what was written can make anything of it
        raise DamagedError(f"{type(error).__name__}: {error}", where=f"run {rows.run.run}") from error
    for worker, serial, flight in flights:
        state.pool.workers.setdefault(worker, WorkerState(worker, active.code, is_leaving=True)).hold(serial, flight)
    for row in rows.items:
        if row.state == "waiting_retry":
            wait_for_retry(state, active, row.node, path_of(row.path), row.item, row.retry_at_us or 0)
    return active


def _read(state: State, rows: ActiveRun, project: Project) -> Active:
    run = rows.run
    definition = definition_of(project, run.pipeline)
    if definition is None:
        raise KeyError(f"code {run.code} has no pipeline {run.pipeline!r}")
    params = {p.name: p.default for p in definition.params if p.kind == "value"} | run.params
    plan = make_plan(definition.graph)
    progress = Progress(plan, params)
    items: dict[str, list[tuple[str, int, ItemHistory]]] = {}
    for row in rows.items:
        because = Because(row.why or "", row.after_failure) if row.state == "skipped" else None
        was = ItemHistory(row.state, row.attempt, row.epoch, row.failures, row.losses, because, row.result)
        items.setdefault(row.node, []).append((row.path, row.item, was))
    skipped = {(c.node, c.path): Because(c.why or "", c.after_failure) for c in rows.cells if c.is_skipped}
    expanded: set[str] = set()
    for node in definition.graph.nodes:
        # Outer scopes before inner ones, and each before the items in it: as it happened.
        for scope in node.scope:
            if scope not in expanded:
                expanded.add(scope)
                for row in rows.scopes:
                    if row.scope == scope:
                        progress.expanded(scope, path_of(row.path), row.n)
        for (name, path), because in skipped.items():
            if name == node.name and (name, path_of(path)) in progress.groups:
                progress.node_skipped(name, path_of(path), because)
        for path, item, was in sorted(items.get(node.name, []), key=lambda x: (x[0], x[1])):
            progress.restored(node.name, path_of(path), item, was)
    for row in sorted(rows.scopes, key=lambda row: len(path_of(row.path))):
        if row.scope not in expanded:  # no node stands in it
            progress.expanded(row.scope, path_of(row.path), row.n)
    progress.settle_queues()
    _recall_starts(state, progress, rows.items)
    active = Active(
        run.run,
        run.pipeline,
        run.code,
        definition,
        progress,
        run.cause,
        params,
        run.window,
        run.events,
        run.max_lost,
        waits=run.waits if run.state == "waiting" else (),
        has_started=run.started_us is not None,
        pins=dict(rows.pins),
        replaced_by=dict(rows.replaced_by),
        generation=run.generation,
        created_us=run.created_us,
        model=project.models.get(definition.registers or ""),
    )
    if run.state == "cancelling":
        active.is_cancelled, active.cancelled_by = True, run.cancelled_by or ""
    return active


def _recall_starts(state: State, progress: Progress, items: Sequence[ItemRow]) -> None:
    """The starts that a `rate` still counts, by the wall clock. Rows have the last one of each item and how many it had:
    those before count as if they had been no earlier, so that what is tried again soon is never too often.
    """
    for row in sorted(items, key=lambda row: row.started_us or 0):
        options = progress.plan.nodes[row.node].node.options
        ago_us = max(0, state.now_us - (row.started_us or 0))
        if options.rate is not None and ago_us < options.rate_us:
            progress.started_at_us[row.node] += [state.mono_us - ago_us] * min(row.epoch, options.rate)


def keep_crew(state: State, before: State, crew: Sequence[WorkerState]) -> None:
    """The workers of `crew` live: what the rows say that they run they go on with, under their deadlines.

    What was known `before` and stands in no row is kept: how long things take, which names were given, which code cannot
    be loaded, what a `rate` counts. Raises DamagedError where the rows speak of workers that are not of the crew.
    """
    if strangers := state.pool.workers.keys() - {worker.name for worker in crew}:
        raise DamagedError(f"attempts run on workers that nobody knows: {', '.join(sorted(strangers))}")
    for worker in crew:
        held = state.pool.workers.get(worker.name)
        if held is not None:
            worker.flights, worker.load_us = held.flights, held.load_us
        state.pool.workers[worker.name] = worker
        for serial, flight in worker.flights.items():
            if flight.timeout_us is not None:
                state.timers.add(state.mono_us, TimeoutDue(worker.name, serial))
            if state.runs[flight.run].is_cancelled:
                watch_grace(state, worker.name, serial)
    for run in state.runs.keys() & before.runs.keys():
        _keep_starts(state.runs[run].progress, before.runs[run].progress, before.mono_us)
    state.pool.follow(before.pool)
    state.unready.update(before.unready)


def _keep_starts(progress: Progress, before: Progress, since_us: int) -> None:
    """Rows have the last start of an item only. What started `since_us` may not have been committed: the rows say it."""
    for node, known in before.started_at_us.items():
        anew = progress.started_at_us[node]
        progress.started_at_us[node] = [at for at in known if at < since_us] + [at for at in anew if at >= since_us]


def _flight(state: State, active: Active, row: ItemRow) -> tuple[str, int, Flight]:
    """A running attempt, with its worker and serial: that one holds it until the shell says what has become of it."""
    name, _, serial = (row.worker or "").partition("#")
    return (
        name,
        int(serial or 0),
        Flight(
            row.run,
            row.node,
            path_of(row.path),
            row.item,
            row.attempt,
            row.epoch,
            state.pool.expected_us(active.pipeline, row.node),
            active.progress.plan.nodes[row.node].node.options.timeout_us,
        ),
    )
