"""Facts → state. What is applied here is committed with the step, and a restart reads the same from rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headrace.base.facts import Fact
from headrace.data.facts import TablePublished
from headrace.errors import NotFoundError
from headrace.runs import facts as f
from headrace.runs.active import Active
from headrace.runs.group import Because
from headrace.runs.path import Path, path_of
from headrace.runs.plan import make_plan
from headrace.runs.progress import Progress
from headrace.runs.state import State, definition_of
from headrace.runs.timers import PatienceOver, RetryDue


def apply(state: State, fact: Fact) -> None:
    """Change the state as the fact says. Facts that nobody keeps in memory change nothing."""
    change = APPLY.get(type(fact))
    if change is not None:
        change(state, fact)
    state.desks.apply(fact)


def take_in(state: State, active: Active) -> None:
    """An unfinished run, new or from rows."""
    state.runs[active.run] = active
    state.lanes.enter(active)
    state.touched[active.run] = None
    within_us = active.definition.ready_within_us
    if active.waits and within_us is not None:
        left_us = min(max(active.created_us + within_us - state.now_us, 0), within_us)
        state.timers.add(state.mono_us + left_us, PatienceOver(active.run))


def wait_for_retry(state: State, active: Active, node: str, path: Path, item: int, at_us: int) -> None:
    """An item waits for its next attempt at `at_us`, wall time: for as long as a backoff lasts at most."""
    longest_us = active.progress.plan.nodes[node].node.options.backoff_max_us
    wait_us = min(max(at_us - state.now_us, 0), longest_us)
    state.timers.add(state.mono_us + wait_us, RetryDue(active.run, active.generation, node, path, item))


# -- runs ------------------------------------------------------------------------------------------------------------


def _created(state: State, fact: f.RunCreated) -> None:
    definition = definition_of(state.project, fact.pipeline)
    if definition is None:
        raise NotFoundError(f"code {fact.code} has no pipeline {fact.pipeline!r}")
    plan = state.plans.get(definition.name)
    if plan is None:
        plan = state.plans[definition.name] = make_plan(definition.graph)
    params = {p.name: p.default for p in definition.params if p.kind == "value"} | fact.params
    active = Active(
        fact.run, fact.pipeline, fact.code, definition, Progress(plan, params), fact.cause, params, fact.window,
        fact.events, fact.max_lost, fact.waits, created_us=fact.at_us,
        model=state.project.models.get(definition.registers or ""),
    )  # fmt: skip
    state.keys.add(fact.key)
    take_in(state, active)


def _ready(state: State, fact: f.RunReady) -> None:
    state.runs[fact.run].waits = ()
    state.touched[fact.run] = None


def _pinned(state: State, fact: f.InputPinned) -> None:
    state.runs[fact.run].pins[fact.dataset] = fact.pin


def _run_cancelled(state: State, fact: f.RunCancelled) -> None:
    if fact.run in state.reviving:  # its rows will say so
        state.reviving[fact.run] = True
        return
    active = state.runs[fact.run]
    active.is_cancelled, active.cancelled_by = True, fact.by
    state.touched[fact.run] = None


def _ended(state: State, fact: f.RunEnded) -> None:
    active = state.runs.pop(fact.run)
    state.lanes.leave(active)
    following = state.lanes.first_held(active.pipeline)
    if following is not None:
        state.touched[following] = None


def _deployed(state: State, fact: f.CodeDeployed) -> None:
    state.code = fact.code
    state.projects = {fact.code: state.projects[fact.code]}  # unfinished runs of older code hold what they need of it
    state.plans.clear()


# -- attempts and items ----------------------------------------------------------------------------------------------


def _expanded(state: State, fact: f.MapExpanded) -> None:
    _progress(state, fact.run).expanded(fact.scope, path_of(fact.path), fact.n)


def _started(state: State, fact: f.AttemptStarted) -> None:
    active = state.runs[fact.run]
    if not active.has_started:
        active.has_started = True
        state.lanes.begin(active)
    active.progress.started(fact.node, path_of(fact.path), fact.item, fact.attempt, fact.epoch, state.mono_us)


def _succeeded(state: State, fact: f.AttemptSucceeded) -> None:
    _progress(state, fact.run).succeeded(fact.node, path_of(fact.path), fact.item, fact.result)


def _failed(state: State, fact: f.AttemptFailed) -> None:
    path = path_of(fact.path)
    retried = fact.retry_at_us is not None
    _progress(state, fact.run).failed(fact.node, path, fact.item, fact.attempt, fact.epoch, retried=retried)
    if fact.retry_at_us is not None:
        wait_for_retry(state, state.runs[fact.run], fact.node, path, fact.item, fact.retry_at_us)


def _lost(state: State, fact: f.AttemptLost) -> None:
    place = (fact.node, path_of(fact.path), fact.item, fact.attempt, fact.epoch)
    _progress(state, fact.run).lost(*place, ends=fact.ends)


def _returned(state: State, fact: f.AttemptReturned) -> None:
    _progress(state, fact.run).returned(fact.node, path_of(fact.path), fact.item, fact.attempt, fact.epoch)


def _cancelled(state: State, fact: f.AttemptCancelled) -> None:
    _progress(state, fact.run).cancelled(fact.node, path_of(fact.path), fact.item)


def _item_skipped(state: State, fact: f.ItemSkipped) -> None:
    _progress(state, fact.run).item_skipped(
        fact.node, path_of(fact.path), fact.item, Because(fact.why, fact.after_failure)
    )


def _node_skipped(state: State, fact: f.NodeSkipped) -> None:
    _progress(state, fact.run).node_skipped(fact.node, path_of(fact.path), Because(fact.why, fact.after_failure))


def published(state: State, fact: TablePublished) -> None:
    """A version of a table, by this log or another one: the runs that it has replaced are to know it."""
    for run in fact.replaced:
        if run in state.runs:
            state.runs[run].replaced_by[fact.table] = fact.run


def _progress(state: State, run: str) -> Progress:
    state.touched[run] = None
    return state.runs[run].progress


APPLY: dict[type[Fact], Callable[[State, Any], None]] = {
    f.RunCreated: _created,
    f.RunReady: _ready,
    f.InputPinned: _pinned,
    f.RunCancelled: _run_cancelled,
    f.RunEnded: _ended,
    f.CodeDeployed: _deployed,
    f.MapExpanded: _expanded,
    f.AttemptStarted: _started,
    f.AttemptSucceeded: _succeeded,
    f.AttemptFailed: _failed,
    f.AttemptLost: _lost,
    f.AttemptReturned: _returned,
    f.AttemptCancelled: _cancelled,
    f.ItemSkipped: _item_skipped,
    f.NodeSkipped: _node_skipped,
    TablePublished: published,
}
