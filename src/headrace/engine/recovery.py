"""From rows to a machine: an engine goes on where the last one stopped, with what is unfinished and nothing else."""

from __future__ import annotations

import msgspec

from headrace.base.facts import Fact
from headrace.definitions import project as definitions
from headrace.drift.policy import Streak
from headrace.models.controller import ControllerState
from headrace.runs.active import Active
from headrace.runs.facts import AttemptLost, RunEnded
from headrace.runs.machine import Machine, definition_of
from headrace.runs.plan import make_plan
from headrace.runs.pool import Flight, Pool, WorkerState
from headrace.runs.progress import ItemRow as ItemState
from headrace.runs.progress import Progress, path_of
from headrace.runs.rows import ActiveRun, ItemRow, Restored


def fill_machine(machine: Machine, restored: Restored) -> None:
    """Give a new machine the state that the rows hold. Attempts that were running are still running in it."""
    for code, body in restored.codes.items():
        machine.projects[code] = definitions.decode(body)
    machine.code = restored.code
    desks = machine.desks
    desks.paused = set(restored.paused)
    desks.schedules.last_us = dict(restored.schedules)
    desks.tables.newest = dict(restored.tables)
    desks.models.last_version = dict(restored.models)
    desks.models.aliases = dict(restored.aliases)
    desks.models.served = {model: list(versions) for model, versions in restored.served.items()}
    desks.models.champion_since_us = dict(restored.champion_since_us)
    desks.models.states = {
        model: msgspec.json.decode(body, type=ControllerState) for model, body in restored.controllers.items()
    }
    desks.monitors.streaks = {a: Streak(length, 0, end_us) for a, (length, end_us) in restored.streaks.items()}
    desks.monitors.last_end_us = dict(restored.monitored_us)
    for run in restored.runs:
        machine.activate(restore_run(machine, run))


def restore_run(machine: Machine, rows: ActiveRun) -> Active:
    """One unfinished run as it stands in its rows."""
    run = rows.run
    definition = definition_of(machine.projects[run.code], run.pipeline)
    if definition is None:
        raise KeyError(f"code {run.code} has no pipeline {run.pipeline!r}")
    params = {p.name: p.default for p in definition.params if p.kind == "value"} | run.params
    plan = make_plan(definition.graph)
    progress = Progress(plan, params)
    items: dict[str, list[tuple[str, int, ItemState]]] = {}
    for row in rows.items:
        state = ItemState(row.state, row.attempt, row.epoch, row.failures, row.losses, row.why or "", row.result)
        items.setdefault(row.node, []).append((row.path, row.item, state))
    skipped = {(cell.node, cell.path): cell.why or "" for cell in rows.cells if cell.is_skipped}
    expanded: set[str] = set()
    for node in definition.graph.nodes:
        # Outer scopes before inner ones, and each before the items in it: as it happened.
        for scope in node.scope:
            if scope not in expanded:
                expanded.add(scope)
                for row in rows.scopes:
                    if row.scope == scope:
                        progress.expanded(scope, path_of(row.path), row.n)
        for (name, path), why in skipped.items():
            if name == node.name and (name, path_of(path)) in progress.groups:
                progress.node_skipped(name, path_of(path), why)
        for path, item, state in sorted(items.get(node.name, []), key=lambda x: (x[0], x[1])):
            progress.restored(node.name, path_of(path), item, state)
    for row in sorted(rows.scopes, key=lambda row: len(path_of(row.path))):
        if row.scope not in expanded:  # no node stands in it
            progress.expanded(row.scope, path_of(row.path), row.n)
    progress.settle_queues()
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
        generation=run.generation,
    )
    if run.state == "cancelling":
        active.is_cancelled, active.cancelled_by = True, run.cancelled_by or ""
    for row in rows.items:
        if row.state == "waiting_retry":
            machine.retry_at(row.retry_at_us or 0, active, row.node, path_of(row.path), row.item)
        elif row.state == "running":
            _orphan(machine.pool, row, run.code)
    return active


def closing_facts(rows: ActiveRun, state: str, why: str, now_us: int) -> tuple[Fact, ...]:
    """End a run from the outside: its running attempts are lost and not tried again."""
    lost = [
        AttemptLost(x.run, x.node, x.path, x.item, x.attempt, x.epoch, now_us, why, ends=True)
        for x in rows.items
        if x.state == "running"
    ]
    return (*lost, RunEnded(rows.run.run, state, now_us, why))


def _orphan(pool: Pool, row: ItemRow, code: str) -> None:
    """A running attempt of a dead engine: held for its worker until the shell says how far that one came."""
    name, _, serial = (row.worker or "").partition("#")
    worker = pool.workers.setdefault(name, WorkerState(name, code, is_leaving=True))
    worker.flights[int(serial or 0)] = Flight(row.run, row.node, path_of(row.path), row.item, row.attempt, row.epoch, 0)
