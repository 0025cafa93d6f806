"""What follows in a run from the facts so far: it is ready, maps expand, nodes are skipped, it ends."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.base.facts import Fact
from headrace.runs import facts as f
from headrace.runs.active import Active
from headrace.runs.group import End, Expand, Skip
from headrace.runs.path import path_text
from headrace.runs.state import State
from headrace.runs.timers import PatienceOver


def follow(state: State, active: Active) -> Iterator[Fact]:
    """Decide on what is left to do, until only attempts are."""
    progress = active.progress
    if active.waits and not active.behind(state.desks.watermarks):
        yield f.RunReady(active.run, state.now_us)
    while progress.todo and not active.is_cancelled:
        for todo in progress.due(progress.todo.popleft()):
            if isinstance(todo, End):
                yield from ending(state, active, *_end_of(active))
                return
            yield _fact_of(active.run, todo)
    if active.is_cancelled and progress.running == 0:
        yield from ending(state, active, "cancelled", f"by {active.cancelled_by}", by="cancel")


def on_patience_over(state: State, due: PatienceOver) -> Iterator[Fact]:
    """The run has waited for its data for as long as it may: it goes on, and says what was missing."""
    active = state.runs.get(due.run)
    if active is not None and active.waits:
        yield f.RunReady(active.run, state.now_us, active.behind(state.desks.watermarks))


def ending(state: State, active: Active, run_state: str, why: str, by: str) -> Iterator[Fact]:
    """The run's end, and what its pipeline's model makes of it."""
    ended = f.RunEnded(active.run, run_state, state.now_us, why, by=by)
    yield ended
    yield from state.desks.on_run_ended(state, active.model, ended)


def _fact_of(run: str, todo: Expand | Skip) -> Fact:
    match todo:
        case Expand(scope=scope, path=path, n=n):
            return f.MapExpanded(run, scope, path_text(path), n)
        case Skip(node=node, path=path, item=int(item), because=because):
            return f.ItemSkipped(run, node, path_text(path), item, because.why, because.after_failure)
        case Skip(node=node, path=path, because=because):
            return f.NodeSkipped(run, node, path_text(path), because.why, because.after_failure)


def _end_of(active: Active) -> tuple[str, str, str]:
    """State and reason of a run, and what decided, whose task runs have all ended: a function of their counts alone."""
    if not active.progress.has_failed:
        return "succeeded", "", "tasks"
    failed = sorted({name for (name, _), g in active.progress.groups.items() if g.is_leaf and g.failed})
    if not failed:
        return "failed", "a map could not expand", "map"
    return "failed", ", ".join(failed), "tasks"
