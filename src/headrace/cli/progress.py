"""A run while it happens: bars in a terminal, plain lines elsewhere, both from the run's facts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from headrace.base.facts import Fact
from headrace.cli.output import show_line
from headrace.cli.words import length
from headrace.definitions.nodes import Graph
from headrace.runs import facts as f

if TYPE_CHECKING:
    from rich.progress import TaskID


class Counts:
    """How many items of each task there are and have ended, as the facts tell it."""

    def __init__(self, graph: Graph) -> None:
        self._scopes = {node.name: node.scope[-1] if node.scope else None for node in graph.nodes}
        self.total = {name: None if scope else 1 for name, scope in self._scopes.items()}
        self.ended = dict.fromkeys(self._scopes, 0)
        self.failed = dict.fromkeys(self._scopes, 0)

    def is_map(self, node: str) -> bool:
        return self._scopes.get(node) is not None

    def is_complete(self, node: str) -> bool:
        return self.ended.get(node) == self.total.get(node)

    def take(self, fact: Fact) -> str | None:
        """Count one fact. Returns the task whose counts have changed."""
        match fact:
            case f.MapExpanded():
                for name, scope in self._scopes.items():
                    if scope == fact.scope:
                        self.total[name] = (self.total[name] or 0) + fact.n
                return None
            case f.AttemptSucceeded() | f.ItemSkipped() | f.NodeSkipped():
                return self._end(fact.node)
            case f.AttemptFailed(retry_at_us=None) | f.AttemptLost(ends=True):
                self.failed[fact.node] = self.failed.get(fact.node, 0) + 1
                return self._end(fact.node)
            case _:
                return None

    def _end(self, node: str) -> str:
        self.ended[node] = self.ended.get(node, 0) + 1
        return node


class PlainLines:
    """One line per thing that a person would want to know; an item of a map is not one of them."""

    def __init__(self, graph: Graph) -> None:
        self._counts = Counts(graph)

    def __enter__(self) -> PlainLines:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        return None

    def take(self, facts: Sequence[Fact]) -> None:
        for fact in facts:
            node = self._counts.take(fact)
            line = self._line(fact, node)
            if line is not None:
                show_line(*line)

    def _line(self, fact: Fact, node: str | None) -> tuple[str, str] | None:
        match fact:
            case f.AttemptFailed():
                again = "" if fact.retry_at_us is None else f"; tried again in {length(fact.retry_at_us - fact.at_us)}"
                return f"{self._place(fact)} failed (attempt {fact.attempt}): {fact.error}{again}", "failed"
            case f.AttemptLost():
                return f"{self._place(fact)} lost (attempt {fact.attempt}): {fact.why}", "lost"
            case f.NodeSkipped():
                return f"{fact.node} skipped: {fact.why}", "warn"
            case f.AttemptSucceeded() if not self._counts.is_map(fact.node):
                return f"{fact.node} succeeded in {length(fact.took_us)}", "succeeded"
            case f.AttemptSucceeded() if node is not None and self._counts.is_complete(node):
                return f"{node} succeeded: {self._counts.ended[node]} items", "succeeded"
            case _:
                return None

    def _place(self, fact: f.AttemptFailed | f.AttemptLost) -> str:
        """
        >>> PlainLines(Graph(()))._place(f.AttemptFailed("r", "a", "1", 0, 1, 1, 0, "E"))
        'a[1.0]'
        """
        if not self._counts.is_map(fact.node) and not fact.path and fact.item == 0:
            return fact.node
        return f"{fact.node}[{fact.path + '.' if fact.path else ''}{fact.item}]"


class Bars:
    """A bar per task, for a terminal. What tasks print appears above the bars."""

    def __init__(self, graph: Graph) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._counts = Counts(graph)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            # By its name: a console without a file writes to what sys.stdout is then, a task's, which writes to the bars.
            console=Console(file=sys.stdout),
        )
        self._ids: dict[str, TaskID] = {
            node.name: self._bars.add_task(node.name, total=self._counts.total[node.name], start=False, note="")
            for node in graph.nodes
        }

    def __enter__(self) -> Bars:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._bars.stop()

    def take(self, facts: Sequence[Fact]) -> None:
        for fact in facts:
            self._counts.take(fact)
            node: Any = getattr(fact, "node", None)
            if node not in self._ids:
                continue
            bar = self._ids[node]
            if isinstance(fact, f.AttemptStarted):
                self._bars.start_task(bar)
            note = f"{self._counts.failed[node]} failed" if self._counts.failed[node] else _note(fact)
            self._bars.update(bar, completed=self._counts.ended[node], total=self._counts.total[node], note=note)


def _note(fact: Fact) -> str:
    match fact:
        case f.AttemptFailed():
            return f"attempt {fact.attempt} failed"
        case f.NodeSkipped() | f.ItemSkipped():
            return "skipped"
        case _:
            return ""
