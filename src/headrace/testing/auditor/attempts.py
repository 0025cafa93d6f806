"""Runs and attempts: a fold of the facts of its own, the rules of each step, and the rows that must come out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from headrace.data.facts import TablePublished
from headrace.definitions.nodes import Graph, Node, Ref
from headrace.definitions.project import PipelineDef, Project
from headrace.runs import facts as f
from headrace.testing.auditor.audit import Evidence, Place, Violation
from headrace.testing.auditor.graphs import shared, upstreams

ENDED = ("succeeded", "failed", "skipped", "cancelled")
Path = tuple[int, ...]


@dataclass(slots=True)
class Item:
    state: str = "pending"
    attempt: int = 0
    epoch: int = 0
    failures: int = 0
    losses: int = 0


@dataclass
class RunFold:
    """One run as its facts say. Facts about it after its end, before a retry, are violations."""

    created: f.RunCreated
    log: str
    graph: Graph | None
    state: str
    generation: int = 1
    is_ended: bool = False
    has_started: bool = False
    most: int | None = None
    items: dict[tuple[str, Path, int], Item] = field(default_factory=dict[tuple[str, Path, int], Item])
    cells: dict[tuple[str, Path], list[int]] = field(default_factory=dict[tuple[str, Path], list[int]])
    skipped: set[tuple[str, Path]] = field(default_factory=set[tuple[str, Path]])
    scopes: dict[tuple[str, Path], int] = field(default_factory=dict[tuple[str, Path], int])
    pins: dict[str, Any] = field(default_factory=dict[str, Any])

    def node(self, name: str) -> Node | None:
        return next((n for n in self.graph.nodes if n.name == name), None) if self.graph else None

    def count(self, node: str, path: Path, **by: int) -> None:
        cell = self.cells.setdefault((node, path), [0, 0, 0, 0, 0])
        for at, name in enumerate(("running", "succeeded", "failed", "skipped", "cancelled")):
            cell[at] += by.get(name, 0)

    def states(self, node: Node, prefix: Path) -> Iterator[str]:
        """The states of all instances of a node below a prefix of map indices; "open" where they are not known yet."""
        depth = len(node.scope)
        if any((node.name, prefix[:i]) in self.skipped for i in range(min(len(prefix), max(depth - 1, 0)) + 1)):
            yield "skipped"
        elif len(prefix) == depth:
            path, item = (prefix[:-1], prefix[-1]) if depth else ((), 0)
            found = self.items.get((node.name, path, item))
            yield found.state if found else "open"
        elif (n := self.scopes.get((node.scope[len(prefix)], prefix))) is None:
            yield "open"
        else:
            for i in range(n):
                yield from self.states(node, (*prefix, i))


def _path(text: str) -> Path:
    return tuple(int(part) for part in text.split(".")) if text else ()


def check_runs(evidence: Evidence, places: list[Place]) -> Iterator[Violation]:
    audit = _Runs(evidence)
    for place in places:
        yield from audit.take(place)
    yield from audit.compare_rows()
    yield from audit.compare_witness()


class _Runs:
    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.runs: dict[str, RunFold] = {}
        self.keys: set[str] = set()
        self.accepted: Counter[tuple[str, str, int, int]] = Counter()
        self.started: set[tuple[str, str, str, int, int, int]] = set()
        self.done: list[tuple[str, f.AttemptSucceeded]] = []
        self.published: Counter[tuple[str, str, str, int, int]] = Counter()

    def take(self, place: Place) -> Iterator[Violation]:
        fact = place.fact
        match fact:
            case f.RunCreated():
                yield from self._created(place, fact)
            case TablePublished():
                made = (fact.run, fact.node, fact.item, fact.attempt)
                if made not in self.accepted:
                    yield Violation("A3", "each version has one accepted attempt that made it", str(place))
                # Inside nested maps several items have this name, one for each outer item.
                self.published[(fact.table, *made)] += 1
                if self.published[(fact.table, *made)] > self.accepted[made]:
                    yield Violation("E4", "a keyed effect happens once", str(place))
            case _:
                name = getattr(fact, "run", None)
                handler = _HANDLERS.get(type(fact))
                if handler is None or name is None:
                    return
                run = self.runs.get(name)
                if run is None or run.log != place.log:
                    yield Violation("E5", "facts about a run stand in its log, after its creation", str(place))
                    return
                if run.is_ended and not isinstance(fact, f.RunRetried):
                    yield Violation("E5", "an ended run is left alone", str(place))
                yield from handler(self, place, run, fact)

    def _created(self, place: Place, fact: f.RunCreated) -> Iterator[Violation]:
        if fact.run in self.runs or fact.key in self.keys:
            yield Violation("S5", "one run per key", str(place))
        self.keys.add(fact.key)
        graph = _graph(self.evidence.projects.get(fact.code), fact.pipeline)
        run = self.runs[fact.run] = RunFold(fact, place.log, graph, "waiting" if fact.waits else "running")
        project = self.evidence.projects.get(fact.code)
        definition = project.pipelines.get(fact.pipeline) if project else None
        run.most = definition.max_active if definition else None

    # -- the run -------------------------------------------------------------------------------------------------

    def ready(self, place: Place, run: RunFold, fact: f.RunReady) -> Iterator[Violation]:
        if run.state != "waiting":
            yield Violation("E5", "only a waiting run becomes ready", str(place))
        run.state = "running"

    def cancelled_run(self, place: Place, run: RunFold, fact: f.RunCancelled) -> Iterator[Violation]:
        if run.state not in ("waiting", "running"):
            yield Violation("E5", "only an unfinished run is cancelled, once", str(place))
        run.state = "cancelling"

    def retried(self, place: Place, run: RunFold, fact: f.RunRetried) -> Iterator[Violation]:
        if not run.is_ended or fact.generation != run.generation + 1:
            yield Violation("E5", "a re-run is the next generation of an ended run", str(place))
        run.is_ended, run.state, run.generation = False, "running", fact.generation
        if fact.code:
            run.graph = _graph(self.evidence.projects.get(fact.code), run.created.pipeline)
        for item in run.items.values():
            if item.state != "succeeded":
                item.state, item.failures, item.losses = "pending", 0, 0
        for cell in run.skipped:
            run.cells.pop(cell, None)
        run.skipped.clear()
        for cell in run.cells.values():
            cell[0] = cell[2] = cell[3] = cell[4] = 0

    def ended(self, place: Place, run: RunFold, fact: f.RunEnded) -> Iterator[Violation]:
        open_items = [key for key, item in run.items.items() if item.state == "running"]
        if open_items:
            yield Violation("E1", "no attempt is forgotten", f"{place} while {open_items} run")
        if fact.state == "cancelled" and run.state != "cancelling":
            yield Violation("E5", "a run is cancelled because somebody asked", str(place))
        if run.graph is not None and fact.state in ("succeeded", "failed") and "no worker" not in fact.why:
            yield from self._verdict(place, run, fact)
        run.is_ended, run.has_started, run.state = True, False, fact.state

    def _verdict(self, place: Place, run: RunFold, fact: f.RunEnded) -> Iterator[Violation]:
        """E12: the state of a run follows from the states of its items."""
        assert run.graph is not None
        beyond = False
        for node in run.graph.nodes:
            states = list(run.states(node, ()))
            if any(state not in ENDED for state in states):
                yield Violation("E12", "a run ends when all its tasks have", f"{place}: {node.name} is {states}")
            failed: dict[Path, int] = defaultdict(int)
            for (name, path, _), item in run.items.items():
                if name == node.name and item.state == "failed":
                    failed[path] += 1
            beyond |= any(n > node.options.allow_failed for n in failed.values())
        if beyond != (fact.state == "failed") and "could not expand" not in fact.why:
            yield Violation("E12", "a run fails where a task failed beyond what is allowed", str(place))

    def expanded(self, place: Place, run: RunFold, fact: f.MapExpanded) -> Iterator[Violation]:
        if (fact.scope, _path(fact.path)) in run.scopes:
            yield Violation("E5", "a map expands once", str(place))
        run.scopes[fact.scope, _path(fact.path)] = fact.n

    def pinned(self, place: Place, run: RunFold, fact: f.InputPinned) -> Iterator[Violation]:
        if fact.dataset in run.pins:
            yield Violation("E15", "inputs are pinned at the first read", str(place))
        run.pins[fact.dataset] = fact.pin

    # -- attempts ------------------------------------------------------------------------------------------------

    def attempt_started(self, place: Place, run: RunFold, fact: f.AttemptStarted) -> Iterator[Violation]:
        path = _path(fact.path)
        if run.state == "cancelling":
            yield Violation("E8", "after a cancel nothing starts", str(place))
        elif run.state != "running":
            yield Violation("E5", "attempts start in running runs", f"{place} while it is {run.state}")
        item = run.items.setdefault((fact.node, path, fact.item), Item())
        if item.state not in ("pending", "waiting_retry", "returned"):
            yield Violation("E6", "attempts of one item never overlap", f"{place} while it is {item.state}")
        expected = item.attempt + (item.state != "returned")
        if fact.attempt != expected or fact.epoch <= item.epoch:
            found = f"{place} after attempt {item.attempt} epoch {item.epoch} {item.state}"
            yield Violation("E6", "attempts are 1 to n without gaps, epochs grow", found)
        item.state, item.attempt, item.epoch = "running", fact.attempt, fact.epoch
        yield from self._at_once(place, run)
        run.has_started = True
        self.started.add((fact.run, fact.node, fact.path, fact.item, fact.attempt, fact.epoch))
        run.count(fact.node, path, running=1)
        node = run.node(fact.node)
        if node is not None:
            yield from self._allowed(place, run, node, item)
            yield from self._upstream(place, run, node, (*path, fact.item) if node.scope else ())

    def _allowed(self, place: Place, run: RunFold, node: Node, item: Item) -> Iterator[Violation]:
        if item.failures > node.options.retries:
            yield Violation("E6", "attempts stay within the retries", str(place))
        limit = run.created.max_lost if node.options.max_lost is None else node.options.max_lost
        if item.losses > limit:
            yield Violation("E14", "a task that kills its worker ends failed", str(place))
        running = sum(i.state == "running" for (name, _, _), i in run.items.items() if name == node.name)
        if node.options.concurrency is not None and running > node.options.concurrency:
            yield Violation("E9", "limits hold at every commit", f"{place}: {running} at once")

    def _at_once(self, place: Place, run: RunFold) -> Iterator[Violation]:
        """E9: no run begins while as many of its pipeline as may are at work."""
        if run.most is None or run.has_started:
            return
        others = [
            other.created.run
            for other in self.runs.values()
            if other.created.pipeline == run.created.pipeline
            and other is not run
            and other.has_started
            and not other.is_ended
        ]
        if len(others) >= run.most:
            yield Violation("E9", "limits hold at every commit", f"{place}: {others} are at work")

    def _upstream(self, place: Place, run: RunFold, node: Node, where: Path) -> Iterator[Violation]:
        """E7: everything it needs has ended, as committed; by default with success."""
        graph = run.graph
        assert graph is not None
        if node.scope and (n := run.scopes.get((node.scope[-1], where[:-1]))) is not None and where[-1] >= n:
            yield Violation("E7", "no item beyond its map starts", str(place))
        for name in upstreams(node, graph):
            above = run.node(name)
            if above is None:
                continue
            level = shared(node.scope, above.scope)
            states = list(run.states(above, where[:level]))
            if any(state not in ENDED for state in states):
                yield Violation("E7", "nothing starts before its upstreams have ended", f"{place}: {name} is {states}")
            is_input = any(value == Ref(name) for value in node.inputs.values())
            if node.options.trigger_rule != "all_success" or not is_input:
                continue
            bad = sum(state in ("failed", "cancelled") for state in states)
            # What may fail may be missing from a join; a single result cannot be had without success.
            allowed = above.options.allow_failed if level < len(above.scope) else 0
            if bad > allowed or (states and all(state == "skipped" for state in states)):
                yield Violation("E7", "by default upstreams have succeeded", f"{place}: {name} is {states}")

    def _closes(self, place: Place, run: RunFold, fact: Any, state: str, **by: int) -> Iterator[Violation]:
        path = _path(fact.path)
        item = run.items.setdefault((fact.node, path, fact.item), Item())
        if item.state != "running" or (item.attempt, item.epoch) != (fact.attempt, fact.epoch):
            found = f"{place} while it is {item.state}, attempt {item.attempt} epoch {item.epoch}"
            yield Violation("E2", "what is stale is refused", found)
        item.state = state
        run.count(fact.node, path, running=-1, **by)

    def succeeded(self, place: Place, run: RunFold, fact: f.AttemptSucceeded) -> Iterator[Violation]:
        known = run.items.get((fact.node, _path(fact.path), fact.item))
        if known is not None and known.state == "succeeded":
            yield Violation("E3", "one accepted result", str(place))
        yield from self._closes(place, run, fact, "succeeded", succeeded=1)
        self.accepted[fact.run, fact.node, fact.item, fact.attempt] += 1
        self.done.append((place.log, fact))
        for read in fact.reads:
            pin = run.pins.get(f"{read.kind}:{read.name}")
            if pin != read.pin:
                yield Violation("E15", "every read in a run is of the pinned", f"{place}: pinned is {pin}")

    def failed(self, place: Place, run: RunFold, fact: f.AttemptFailed) -> Iterator[Violation]:
        is_retried = fact.retry_at_us is not None
        yield from self._closes(place, run, fact, "waiting_retry" if is_retried else "failed", failed=not is_retried)
        item = run.items[fact.node, _path(fact.path), fact.item]
        item.failures += 1
        node = run.node(fact.node)
        if is_retried and node is not None and item.failures > node.options.retries:
            yield Violation("E6", "attempts stay within the retries", str(place))

    def lost(self, place: Place, run: RunFold, fact: f.AttemptLost) -> Iterator[Violation]:
        yield from self._closes(place, run, fact, "failed" if fact.ends else "waiting_retry", failed=fact.ends)
        item = run.items[fact.node, _path(fact.path), fact.item]
        item.losses += 1
        node = run.node(fact.node)
        if node is not None:
            limit = run.created.max_lost if node.options.max_lost is None else node.options.max_lost
            if fact.ends != (item.losses > limit):
                yield Violation("E14", "losses count, up to their limit", f"{place}: {item.losses} of {limit}")

    def returned(self, place: Place, run: RunFold, fact: f.AttemptReturned) -> Iterator[Violation]:
        yield from self._closes(place, run, fact, "returned")

    def attempt_cancelled(self, place: Place, run: RunFold, fact: f.AttemptCancelled) -> Iterator[Violation]:
        yield from self._closes(place, run, fact, "cancelled", cancelled=1)

    def item_skipped(self, place: Place, run: RunFold, fact: f.ItemSkipped) -> Iterator[Violation]:
        item = run.items.setdefault((fact.node, _path(fact.path), fact.item), Item())
        if item.state not in ("pending", "waiting_retry", "returned"):
            yield Violation("E5", "what runs or has ended is not skipped", f"{place} while it is {item.state}")
        item.state = "skipped"
        run.count(fact.node, _path(fact.path), skipped=1)

    def node_skipped(self, place: Place, run: RunFold, fact: f.NodeSkipped) -> Iterator[Violation]:
        key = (fact.node, _path(fact.path))
        busy = [i.state for (n, p, _), i in run.items.items() if (n, p) == key and i.state in ("running", "succeeded")]
        if key in run.skipped or busy:
            yield Violation("E5", "what runs or has ended is not skipped", f"{place}: {busy}")
        run.skipped.add(key)
        run.count(*key)

    # -- rows ----------------------------------------------------------------------------------------------------

    def compare_rows(self) -> Iterator[Violation]:
        """D2, E10: the rows are the fold of the facts."""
        ask = self.evidence.database.read
        rows = {run: (state, n) for run, state, n in ask("SELECT run, state, generation FROM runs")}
        folded = {run: (fold.state, fold.generation) for run, fold in self.runs.items()}
        yield from _differences("runs", rows, folded)
        items = {
            (run, node, path, item): (state, attempt, epoch, failures, losses)
            for run, node, path, item, state, attempt, epoch, failures, losses in ask(
                "SELECT run, node, path, item, state, attempt, epoch, failures, losses FROM items"
            )
        }
        folded_items = {
            (run, node, ".".join(map(str, path)), item): (i.state, i.attempt, i.epoch, i.failures, i.losses)
            for run, fold in self.runs.items()
            for (node, path, item), i in fold.items.items()
        }
        yield from _differences("items", items, folded_items)
        cells = {
            (run, node, path): (tuple(counts), bool(is_skipped))
            for run, node, path, *counts, is_skipped in ask(
                "SELECT run, node, path, running, succeeded, failed, skipped, cancelled, is_skipped FROM cells"
            )
        }
        folded_cells = {
            (run, node, ".".join(map(str, path))): (tuple(counts), (node, path) in fold.skipped)
            for run, fold in self.runs.items()
            for (node, path), counts in fold.cells.items()
        }
        yield from _differences("cells", cells, folded_cells)
        for run, node, path, running in ask("SELECT run, node, path, running FROM cells WHERE running <> 0"):
            n = ask(
                "SELECT count(*) FROM items WHERE run = ? AND node = ? AND path = ? AND state = 'running'",
                (run, node, path),
            )
            if n[0][0] != running:
                yield Violation("E10", "slots in use are active attempts", f"{run} {node} {path}: {running}, {n[0][0]}")

    def compare_witness(self) -> Iterator[Violation]:
        """Nothing was handed out or entered that was not committed before; nothing accepted that did not finish."""
        witness = self.evidence.witness
        for begun in witness.sent_log:
            if begun.start not in self.started:
                yield Violation("E7", "nothing is sent before it is committed", str(begun))
        if not witness.sent_log:
            return
        finished = {begun.start for begun in witness.finished_log}
        for log, fact in self.done:
            start = (fact.run, fact.node, fact.path, fact.item, fact.attempt, fact.epoch)
            if log == "engine" and start not in finished:
                yield Violation("E2", "only what finished in time is accepted", f"{log} {fact!r}"[:300])
        entered: set[tuple[Any, ...]] = set()
        for begun in witness.begun_log:
            if begun.start in entered:
                yield Violation("E2", "an epoch is entered once", str(begun))
            entered.add(begun.start)


_HANDLERS: dict[type, Any] = {
    f.RunReady: _Runs.ready,
    f.RunCancelled: _Runs.cancelled_run,
    f.RunRetried: _Runs.retried,
    f.RunEnded: _Runs.ended,
    f.MapExpanded: _Runs.expanded,
    f.InputPinned: _Runs.pinned,
    f.AttemptStarted: _Runs.attempt_started,
    f.AttemptSucceeded: _Runs.succeeded,
    f.AttemptFailed: _Runs.failed,
    f.AttemptLost: _Runs.lost,
    f.AttemptReturned: _Runs.returned,
    f.AttemptCancelled: _Runs.attempt_cancelled,
    f.ItemSkipped: _Runs.item_skipped,
    f.NodeSkipped: _Runs.node_skipped,
}


def _graph(project: Project | None, pipeline: str) -> Graph | None:
    definition: PipelineDef | None = project.pipelines.get(pipeline) if project else None
    return definition.graph if definition else None


def _differences(what: str, rows: dict[Any, Any], folded: dict[Any, Any]) -> Iterator[Violation]:
    if rows == folded:
        return
    for key in sorted(rows.keys() | folded.keys(), key=str):
        if rows.get(key) != folded.get(key):
            found = f"{what} {key}: row {rows.get(key)}, facts {folded.get(key)}"
            yield Violation("D2", "rows are the fold of the facts", found)
