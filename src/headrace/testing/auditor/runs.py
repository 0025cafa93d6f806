"""The rules of runs, E1, E5, E8, E12, E15, fact by fact; and their rows, which must be the fold of the facts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Set
from typing import Any

from headrace.definitions.project import Project
from headrace.runs import facts as f
from headrace.store.sql.connection import Database
from headrace.testing.auditor import attempts, rows, witnessed
from headrace.testing.auditor.evidence import Evidence, Place, Violation
from headrace.testing.auditor.fold import ENDED, Book, Path, RunFold, path_of
from headrace.testing.auditor.graphs import shared
from headrace.testing.auditor.witness import Witness


class RunCheck:
    def __init__(
        self, database: Database, projects: Mapping[str, Project], witness: Witness, unseen: Set[str] = frozenset()
    ) -> None:
        """`unseen`: runs whose details nobody has seen."""
        self.database = database
        self.book = Book(projects, witness)
        self._unseen = unseen
        self._touched: set[str] = set()
        self._witnessed = witnessed.WitnessCheck(self.book)

    def take(self, place: Place) -> Iterator[Violation]:
        fact = place.fact
        if isinstance(fact, f.RunCreated):
            self._touched.add(fact.run)
            yield from _created(self.book, place, fact)
            return
        if isinstance(fact, f.LogTaken):
            for run in self.book.runs.values():
                run.cancelled_us = None if run.log == place.log else run.cancelled_us
        if isinstance(fact, f.DetailsDropped):
            for run in (self.book.runs[name] for name in fact.runs if name in self.book.runs):
                run.items.clear()
            self._touched.update(fact.runs)
        handler = _HANDLERS.get(type(fact))
        if handler is None:
            return
        name: str = fact.run  # type: ignore[attr-defined]  # each of these facts is about a run
        self._touched.add(name)
        run = self.book.runs.get(name)
        if run is None or run.log != place.log:
            yield Violation("E5", "facts about a run stand in its log, after its creation", str(place))
            return
        if run.is_ended and not isinstance(fact, f.RunRetried):
            yield Violation("E5", "an ended run is left alone", str(place))
        if name in self._unseen and not isinstance(fact, f.RunRetried):
            if isinstance(fact, f.RunEnded):
                run.is_ended, run.state = True, fact.state
            return
        yield from handler(self.book, place, run, fact)

    def compare(self) -> Iterator[Violation]:
        touched, self._touched = self._touched - self._unseen, set()
        yield from rows.compare(self.database, self.book, touched)
        yield from self._witnessed.compare()

    def close(self, end: Evidence) -> Iterator[Violation]:
        yield from rows.compare(
            self.database, self.book, self.book.runs.keys() - self._unseen if self._unseen else None
        )
        if end.has_ended or not end.is_quiet:
            return
        for run, pipeline, state, waits in self.database.read(
            "SELECT run, pipeline, state, waits FROM runs WHERE ended_us IS NULL"
        ):
            sql = "SELECT node, path, item, state, attempt FROM items WHERE run = ? AND state <> 'succeeded'"
            found = f"run {run} of {pipeline} is {state}, waits for {waits}, items {self.database.read(sql, (run,))}"
            yield Violation("D5", "once faults stop, all comes to an end", found)


def _created(book: Book, place: Place, fact: f.RunCreated) -> Iterator[Violation]:
    if fact.run in book.runs or fact.key in book.keys:
        yield Violation("S5", "one run per key", str(place))
    book.keys.add(fact.key)
    run = RunFold(fact, place.log, book.graph(fact.code, fact.pipeline), "waiting" if fact.waits else "running")
    book.runs[fact.run] = run
    project = book.projects.get(fact.code)
    definition = project.pipelines.get(fact.pipeline) if project else None
    run.most = definition.max_active if definition else None


def _ready(_book: Book, place: Place, run: RunFold, _fact: f.RunReady) -> Iterator[Violation]:
    if run.state != "waiting":
        yield Violation("E5", "only a waiting run becomes ready", str(place))
    run.state, run.is_ready = "running", True


def _cancelled(_book: Book, place: Place, run: RunFold, fact: f.RunCancelled) -> Iterator[Violation]:
    if run.state not in ("waiting", "running"):
        yield Violation("E5", "only an unfinished run is cancelled, once", str(place))
    run.state, run.cancelled_us = "cancelling", fact.at_us


def _retried(book: Book, place: Place, run: RunFold, fact: f.RunRetried) -> Iterator[Violation]:
    if not run.is_ended or run.state == "succeeded" or fact.generation != run.generation + 1:
        yield Violation("E5", "a re-run is the next generation of a run that ended without success", str(place))
    run.is_ended, run.generation, run.cancelled_us = False, fact.generation, None
    run.state = "waiting" if run.created.waits and not run.is_ready else "running"
    if fact.code:
        run.graph = book.graph(fact.code, run.created.pipeline)
    for cell in run.skipped:
        run.cells.pop(cell, None)
    run.skipped.clear()
    run.idle.clear()
    for (name, _), cell in run.cells.items():
        node = run.node(name)
        is_forgiven = node is not None and node.scope and cell[2] <= node.options.allow_failed
        cell[0] = cell[3] = cell[4] = 0
        cell[2] = cell[2] if is_forgiven else 0
    for (name, path, _), item in run.items.items():
        stays = item.state == "succeeded" or (item.state == "failed" and run.cells.get((name, path), [0] * 3)[2] > 0)
        if not stays:
            item.state, item.failures, item.losses = "pending", 0, 0


def _ended(_book: Book, place: Place, run: RunFold, fact: f.RunEnded) -> Iterator[Violation]:
    open_items = [key for key, item in run.items.items() if item.state == "running"]
    if open_items:
        yield Violation("E1", "no attempt is forgotten", f"{place} while {open_items} run")
    if fact.state == "cancelled" and run.state != "cancelling":
        yield Violation("E5", "a run is cancelled because somebody asked", str(place))
    if fact.state == "lost" and not run.log.startswith("run:"):
        yield Violation("E5", "only a run in a process of its own is lost with it", str(place))
    if fact.by == "rows":
        yield Violation("P1", "every run can go on from its rows", str(place))
    elif run.graph is not None and fact.by in ("tasks", "map"):
        yield from _verdict(place, run, fact)
        if fact.by == "tasks":
            yield from (Violation("E13", "what may run is not skipped", found) for found in run.idle)
    if run.graph is not None:
        yield from _still_so(place, run)
    run.is_ended, run.has_started, run.state = True, False, fact.state


def _still_so(place: Place, run: RunFold) -> Iterator[Violation]:
    """B1: the lists that tasks were given are as they were: no retry has added to what was made of them."""
    for (name, path, number, upstream), heard in run.heard.items():
        node, above = run.node(name), run.node(upstream)
        item = run.items.get((name, path, number))
        if node is None or above is None or item is None or item.state != "succeeded":
            continue
        where = (*path, number) if node.scope else ()
        now = list(run.states(above, where[: shared(node.scope, above.scope)])).count("succeeded")
        if now != heard:
            found = f"{place}: {name} {where} was given {heard} of {upstream}, and there are {now}"
            yield Violation("E15", "what a task was given stays as it was", found)


def _verdict(place: Place, run: RunFold, fact: f.RunEnded) -> Iterator[Violation]:
    """E12: the state of a run follows from the states of its items."""
    assert run.graph is not None
    failed: dict[str, dict[Path, int]] = defaultdict(lambda: defaultdict(int))
    for (name, path, _), item in run.items.items():
        if item.state == "failed":
            failed[name][path] += 1
    beyond = False
    for node in run.graph.nodes:
        states = list(run.states(node, ()))
        if any(state not in ENDED for state in states):
            yield Violation("E12", "a run ends when all its tasks have", f"{place}: {node.name} is {states}")
        beyond |= any(n > node.options.allow_failed for n in failed[node.name].values())
    if beyond != (fact.state == "failed") and fact.by != "map":
        yield Violation("E12", "a run fails where a task failed beyond what is allowed", str(place))


def _expanded(_book: Book, place: Place, run: RunFold, fact: f.MapExpanded) -> Iterator[Violation]:
    if (fact.scope, path_of(fact.path)) in run.scopes:
        yield Violation("E5", "a map expands once", str(place))
    run.scopes[fact.scope, path_of(fact.path)] = fact.n


def _pinned(_book: Book, place: Place, run: RunFold, fact: f.InputPinned) -> Iterator[Violation]:
    if fact.dataset in run.pins:
        yield Violation("E15", "inputs are pinned at the first read", str(place))
    run.pins[fact.dataset] = fact.pin


_HANDLERS: dict[type, Callable[[Book, Place, RunFold, Any], Iterator[Violation]]] = {
    f.RunReady: _ready,
    f.RunCancelled: _cancelled,
    f.RunRetried: _retried,
    f.RunEnded: _ended,
    f.MapExpanded: _expanded,
    f.InputPinned: _pinned,
    **attempts.HANDLERS,
}
