"""The rules of attempts: E2, E3, E6, E7, E9, E14, E15, fact by fact."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from headrace.definitions.nodes import Node, Ref
from headrace.runs import facts as f
from headrace.testing.auditor import skips
from headrace.testing.auditor.evidence import Place, Violation
from headrace.testing.auditor.fold import ENDED, Book, Item, Path, RunFold, path_of
from headrace.testing.auditor.graphs import shared, upstreams

WAITING = ("pending", "waiting_retry", "returned")


def started(book: Book, place: Place, run: RunFold, fact: f.AttemptStarted) -> Iterator[Violation]:
    path = path_of(fact.path)
    if run.state == "cancelling":
        yield Violation("E8", "after a cancel nothing starts", str(place))
    elif run.state != "running":
        yield Violation("E5", "attempts start in running runs", f"{place} while it is {run.state}")
    item = run.item(fact)
    if item.state not in WAITING:
        yield Violation("E6", "attempts of one item never overlap", f"{place} while it is {item.state}")
    if fact.attempt != item.attempt + (item.state != "returned") or fact.epoch <= item.epoch:
        found = f"{place} after attempt {item.attempt} epoch {item.epoch} {item.state}"
        yield Violation("E6", "attempts are 1 to n without gaps, epochs grow", found)
    item.state, item.attempt, item.epoch = "running", fact.attempt, fact.epoch
    yield from _at_once(book, place, run)
    run.has_started = True
    book.started.add((fact.run, fact.node, fact.path, fact.item, fact.attempt, fact.epoch))
    run.count(fact.node, path, running=1)
    node = run.node(fact.node)
    if node is not None:
        yield from _allowed(place, run, node, item)
        where = (*path, fact.item) if node.scope else ()
        yield from _upstream(place, run, node, where)
        yield from _elements(place, run, node, where)


def _allowed(place: Place, run: RunFold, node: Node, item: Item) -> Iterator[Violation]:
    if item.failures > node.options.retries:
        yield Violation("E6", "attempts stay within the retries", str(place))
    if item.losses > _max_lost(run, node):
        yield Violation("E14", "a task that kills its worker ends failed", str(place))
    if node.options.concurrency is not None:
        running = sum(i.state == "running" for (name, _, _), i in run.items.items() if name == node.name)
        if running > node.options.concurrency:
            yield Violation("E9", "limits hold at every commit", f"{place}: {running} at once")


def _max_lost(run: RunFold, node: Node) -> int:
    return run.created.max_lost if node.options.max_lost is None else node.options.max_lost


def _at_once(book: Book, place: Place, run: RunFold) -> Iterator[Violation]:
    """E9: no run begins while as many of its pipeline as may are at work."""
    if run.most is None or run.has_started:
        return
    others = [
        other.created.run
        for other in book.runs.values()
        if other.created.pipeline == run.created.pipeline
        and other.log == run.log
        and other is not run
        and other.has_started
        and not other.is_ended
    ]
    if len(others) >= run.most:
        yield Violation("E9", "limits hold at every commit", f"{place}: {others} are at work")


def _upstream(place: Place, run: RunFold, node: Node, where: Path) -> Iterator[Violation]:
    """E7: everything it needs has ended, as committed; by default with success."""
    graph = run.graph
    assert graph is not None
    if node.scope and (n := run.scopes.get((node.scope[-1], where[:-1]))) is not None and where[-1] >= n:
        yield Violation("E7", "no item beyond its map starts", str(place))
    for name in sorted(upstreams(node, graph)):
        above = run.node(name)
        if above is None:
            continue
        level = shared(node.scope, above.scope)
        states = list(run.states(above, where[:level]))
        if any(state not in ENDED for state in states):
            yield Violation("E7", "nothing starts before its upstreams have ended", f"{place}: {name} is {states}")
        is_input = any(value == Ref(above.name) for value in node.inputs.values())
        if node.options.trigger_rule == "all_success" and is_input:
            yield from _rule(place, run, above, where[:level], states)
            if level < len(above.scope):
                path, item = (where[:-1], where[-1]) if where else ((), 0)
                run.heard[node.name, path, item, above.name] = states.count("succeeded")


def _rule(place: Place, run: RunFold, above: Node, key: Path, states: list[str]) -> Iterator[Violation]:
    # What may fail may be missing from a join; a single result cannot be had without success.
    is_join = len(key) < len(above.scope)
    is_bad = run.failed_beyond(above, key) if is_join else any(state in ("failed", "cancelled") for state in states)
    is_cut = is_join and "skipped" in states and _may_come(run, above, key)
    if is_bad or is_cut or (states and all(state == "skipped" for state in states)):
        yield Violation("E7", "by default upstreams have succeeded", f"{place}: {above.name} is {states}")


def _may_come(run: RunFold, above: Node, key: Path) -> bool:
    """Whether what is missing from a list failed to run because of what a retry tries again."""
    if above.when:
        return False
    missing = [
        (*path, number)
        for (name, path, number), item in run.items.items()
        if name == above.name and item.state == "skipped" and (*path, number)[: len(key)] == key
    ]
    for before in map(run.node, (value.node for value in above.inputs.values() if isinstance(value, Ref))):
        if before is not None and run.failed_beyond(before, key):
            level = shared(above.scope, before.scope)
            if level > len(key) and any("failed" in run.states(before, where[:level]) for where in missing):
                return True
    return False


def _elements(place: Place, run: RunFold, node: Node, where: Path) -> Iterator[Violation]:
    """E15: a map over what another map has made goes over the same list for as long as it runs."""
    assert run.graph is not None
    for scope in run.graph.scopes:
        above = run.node(scope.over.node) if isinstance(scope.over, Ref) and scope.over.item is None else None
        if scope.name not in node.scope or above is None:
            continue
        outer = where[: len(scope.parent)]
        key = outer[: shared(scope.parent, above.scope)]
        n = run.scopes.get((scope.name, outer))
        if len(key) < len(above.scope) and n is not None:
            now = list(run.states(above, key)).count("succeeded")
            if now != n:
                found = f"{place}: {scope.name} has {n} items, and {above.name} {now} results"
                yield Violation("E15", "the list that a map goes over stays", found)


def _closes(place: Place, run: RunFold, fact: Any, state: str, **by: int) -> Iterator[Violation]:
    item = run.item(fact)
    if item.state != "running" or (item.attempt, item.epoch) != (fact.attempt, fact.epoch):
        found = f"{place} while it is {item.state}, attempt {item.attempt} epoch {item.epoch}"
        yield Violation("E2", "what is stale is refused", found)
    item.state = state
    run.count(fact.node, path_of(fact.path), running=-1, **by)


def succeeded(book: Book, place: Place, run: RunFold, fact: f.AttemptSucceeded) -> Iterator[Violation]:
    if run.item(fact).state == "succeeded":
        yield Violation("E3", "one accepted result", str(place))
    yield from _closes(place, run, fact, "succeeded", succeeded=1)
    start = (fact.run, fact.node, fact.path, fact.item, fact.attempt, fact.epoch)
    book.done[start] = place.log
    if run.cancelled_us is not None and fact.at_us > run.cancelled_us:
        book.late.append(start)
    for read in fact.reads:
        if not _is_pinned(run, read):
            pins = {dataset: pin for dataset, pin in run.pins.items() if dataset.startswith(f"{read.kind}:{read.name}")}
            yield Violation("E15", "every read in a run is of the pinned", f"{place}: pinned is {pins}")


def _is_pinned(run: RunFold, read: f.Read) -> bool:
    """The events of a run are its own. Versions of tables and models may also be asked for by their number."""
    if read.kind != "topic" or run.pins.get(f"topic:{read.name}") == read.pin:
        return True
    own = [[partition, first, end] for topic, partition, first, end in run.created.events if topic == read.name]
    return bool(own) and sorted(own) == read.pin


def failed(_book: Book, place: Place, run: RunFold, fact: f.AttemptFailed) -> Iterator[Violation]:
    is_retried = fact.retry_at_us is not None
    yield from _closes(place, run, fact, "waiting_retry" if is_retried else "failed", failed=int(not is_retried))
    item = run.item(fact)
    item.failures += 1
    node = run.node(fact.node)
    if is_retried and node is not None and item.failures > node.options.retries:
        yield Violation("E6", "attempts stay within the retries", str(place))
    if is_retried and run.state == "cancelling":
        yield Violation("E8", "after a cancel nothing starts", f"{place} waits to be tried again")


def lost(_book: Book, place: Place, run: RunFold, fact: f.AttemptLost) -> Iterator[Violation]:
    yield from _closes(place, run, fact, "failed" if fact.ends else "waiting_retry", failed=int(fact.ends))
    item = run.item(fact)
    item.losses += 1
    node = run.node(fact.node)
    # Who ends a run from the outside, because its process died, ends its attempts whatever is left to them.
    if node is not None and not fact.with_run:
        limit = _max_lost(run, node)
        if fact.ends != (item.losses > limit):
            yield Violation("E14", "losses count, up to their limit", f"{place}: {item.losses} of {limit}")


def returned(_book: Book, place: Place, run: RunFold, fact: f.AttemptReturned) -> Iterator[Violation]:
    yield from _closes(place, run, fact, "returned")


def cancelled(_book: Book, place: Place, run: RunFold, fact: f.AttemptCancelled) -> Iterator[Violation]:
    if run.state != "cancelling":
        yield Violation("E5", "an attempt is cancelled because its run was", f"{place} while it is {run.state}")
    yield from _closes(place, run, fact, "cancelled", cancelled=1)


def item_skipped(_book: Book, place: Place, run: RunFold, fact: f.ItemSkipped) -> Iterator[Violation]:
    item = run.item(fact)
    if item.state not in WAITING:
        yield Violation("E5", "what runs or has ended is not skipped", f"{place} while it is {item.state}")
    skips.note(place, run, fact.node, (*path_of(fact.path), fact.item))
    item.state = "skipped"
    run.count(fact.node, path_of(fact.path), skipped=1)


def node_skipped(_book: Book, place: Place, run: RunFold, fact: f.NodeSkipped) -> Iterator[Violation]:
    key = (fact.node, path_of(fact.path))
    busy = [i.state for (n, p, _), i in run.items.items() if (n, p) == key and i.state in ("running", "succeeded")]
    if key in run.skipped or busy:
        yield Violation("E5", "what runs or has ended is not skipped", f"{place}: {busy}")
    skips.note(place, run, *key)
    run.skipped.add(key)
    run.count(*key)


HANDLERS: dict[type, Callable[[Book, Place, RunFold, Any], Iterator[Violation]]] = {
    f.AttemptStarted: started,
    f.AttemptSucceeded: succeeded,
    f.AttemptFailed: failed,
    f.AttemptLost: lost,
    f.AttemptReturned: returned,
    f.AttemptCancelled: cancelled,
    f.ItemSkipped: item_skipped,
    f.NodeSkipped: node_skipped,
}
