"""E13: what may run is not skipped. Only of tasks about which that is certain from the states of what comes before them."""

from __future__ import annotations

from headrace.definitions.nodes import AnyInput, Choice, Graph, Mapping, Node, Sequence
from headrace.testing.auditor.evidence import Place
from headrace.testing.auditor.fold import COUNTED, Path, RunFold
from headrace.testing.auditor.graphs import names_in, shared, upstreams

FAILED, CANCELLED = COUNTED.index("failed"), COUNTED.index("cancelled")


def note(place: Place, run: RunFold, name: str, where: Path) -> None:
    """Remember a skip without a cause. That a list could not be mapped may be one, which the end of the run tells.

    `where`: of a single item its whole place, of a whole task run that of the maps around it."""
    graph, node = run.graph, run.node(name)
    if graph is None or node is None or run.state != "running" or not _is_plain(node, graph) or _is_beyond(run):
        return
    needs = {above for scope in node.scope for above in names_in(_over(scope, graph), graph)}
    if node.options.trigger_rule == "all_success":
        needs |= upstreams(node, graph)
    above = [upstream for upstream in map(run.node, needs) if upstream is not None]
    if all(_is_had(run, node, upstream, where) for upstream in above):
        run.idle.append(f"{place}")


def _is_plain(node: Node, graph: Graph) -> bool:
    """No branch bears on it, and its rule is one of those that need no counting."""
    inputs = [*node.inputs.values(), *(_over(scope, graph) for scope in node.scope)]
    is_known = node.options.trigger_rule in ("all_success", "all_done")
    return is_known and not node.when and not any(map(_has_choice, inputs))


def _has_choice(value: AnyInput) -> bool:
    match value:
        case Choice():
            return True
        case Sequence(items=items):
            return any(map(_has_choice, items))
        case Mapping(items=items):
            return any(map(_has_choice, items.values()))
        case _:
            return False


def _is_beyond(run: RunFold) -> bool:
    """Whether anything in the run has failed beyond what is forgiven: then it takes more to say what that bears on."""
    for (name, _), cell in run.cells.items():
        node = run.node(name)
        if cell[CANCELLED] or node is None or cell[FAILED] > (node.options.allow_failed if node.scope else 0):
            return True
    return False


def _is_had(run: RunFold, node: Node, above: Node, where: Path) -> bool:
    level = shared(node.scope, above.scope)
    if level > len(where):
        return True  # what single items need is no cause to skip them all
    states = list(run.states(above, where[:level]))
    if level == len(above.scope):
        return states == ["succeeded"]
    return not states or any(state != "skipped" for state in states)


def _over(scope: str, graph: Graph) -> AnyInput:
    return next(s.over for s in graph.scopes if s.name == scope)
