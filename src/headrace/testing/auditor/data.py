"""A3, E4, T9: each version and each appended row has the one accepted attempt that made it; what was told is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Set

from headrace.data.facts import Part, TablePublished
from headrace.definitions.project import Project
from headrace.models.facts import VersionRegistered
from headrace.runs.facts import AttemptSucceeded, RunCreated, RunRetried
from headrace.store.sql.connection import Database
from headrace.testing.auditor.evidence import Evidence, Place, Violation
from headrace.testing.auditor.witness import Witness

Attempt = tuple[str, str, str, int, int]  # (run, node, path, item, attempt)
EFFECT = b"effect "  # the rows of a simulated append: then the attempt that made them, by words


class DataCheck:
    def __init__(
        self, database: Database, projects: Mapping[str, Project], witness: Witness, unseen: Set[str] = frozenset()
    ) -> None:
        self.database, self.projects, self.witness, self._unseen = database, projects, witness, unseen
        self.accepted: set[Attempt] = set()
        self.appending: set[Attempt] = set()
        self.published: Counter[tuple[str, Attempt]] = Counter()
        self.versions: dict[str, set[int]] = {}
        self._unread: dict[str, dict[int, TablePublished]] = {}
        self._parts: dict[str, tuple[int, tuple[Part, ...]]] = {}
        self._of_window: Counter[tuple[str, str]] = Counter()  # (table, run) → parts that it wrote by window
        self._targets: dict[str, dict[str, str]] = {}  # run → its nodes that append

    def take(self, place: Place) -> Iterator[Violation]:
        match place.fact:
            case RunCreated() as run:
                self._know(run.run, run.code, run.pipeline)
            case RunRetried() as again if again.code:
                pass  # the graph is the same, else it is refused
            case AttemptSucceeded() as done:
                attempt = (done.run, done.node, done.path, done.item, done.attempt)
                self.accepted.add(attempt)
                if done.node in self._targets.get(done.run, {}):
                    self.appending.add(attempt)
            case TablePublished() as table:
                made = (table.run, table.node, table.path, table.item, table.attempt)
                yield from self._made(place, table.table, made)
                numbers = self.versions.setdefault(table.table, set())
                if table.version_number in numbers:
                    yield Violation("E4", "versions of a table are 1 to n", str(place))
                numbers.add(table.version_number)
                self._unread.setdefault(table.table, {})[table.version_number] = table
            case VersionRegistered() as version:
                made = (version.run, version.node, version.map_path, version.item, version.attempt)
                yield from self._made(place, f"model {version.model}", made)
            case _:
                pass

    def compare(self) -> Iterator[Violation]:
        for table, numbers in self.versions.items():
            if len(numbers) != max(numbers):
                yield Violation("E4", "versions of a table are 1 to n", f"{table}: {sorted(numbers)}")
        for name, versions in self._unread.items():
            number, parts = self._parts.get(name, (0, ()))
            while (version := versions.pop(number + 1, None)) is not None:
                yield from self._follows(version, parts)
                number, parts = version.version_number, version.parts
            self._parts[name] = number, parts

    def close(self, end: Evidence) -> Iterator[Violation]:
        bodies = self.database.read(
            "SELECT topic, partition, first, rows, body FROM topic_blobs b JOIN topic_bodies t ON b.body_id = t.id"
        )
        there = {row[:4]: row[4] for row in bodies}
        for told in self.witness.appended:
            if there.get(told[:4]) != told.body:
                yield Violation("T9", "an acknowledged append survives", f"{told}: {there.get(told[:4])}")
        effects = Counter(body for body in there.values() if body.startswith(EFFECT))
        wanted = {effect_of(attempt): attempt for attempt in self.appending}
        for body, times in effects.items():
            if body not in wanted or times > 1:
                yield Violation("E4", "a keyed effect happens once, with its attempt", f"{body!r}: {times} times")
        for body in wanted.keys() - effects.keys():
            if self.witness.sent_log:
                yield Violation("E4", "what an accepted attempt wrote is published", f"{wanted[body]}")

    def _follows(self, version: TablePublished, before: tuple[Part, ...]) -> Iterator[Violation]:
        """A version beside the one before it."""
        gone = {part.run for part in before if part not in version.parts} - {version.run}
        if gone != set(version.replaced):
            yield Violation("A3", "a version names the runs whose rows it replaces", f"{version}: {gone}")
        if version.parts and version.parts[-1].window is not None:
            self._of_window[version.table, version.run] += 1
            own = sum(part.run == version.run for part in version.parts)
            if own != self._of_window[version.table, version.run]:
                yield Violation("A3", "what one run writes of a window stands together", f"{version}")

    def _know(self, run: str, code: str, pipeline: str) -> None:
        project = self.projects.get(code)
        definition = project.pipelines.get(pipeline) if project else None
        nodes = definition.graph.nodes if definition else ()
        self._targets[run] = {node.name: node.target for node in nodes if node.kind == "append"}

    def _made(self, place: Place, what: str, made: Attempt) -> Iterator[Violation]:
        if made not in self.accepted and made[0] not in self._unseen:
            yield Violation("A3", "each version has one accepted attempt that made it", str(place))
        self.published[what, made] += 1
        if self.published[what, made] > 1:
            yield Violation("E4", "a keyed effect happens once", str(place))


def effect_of(attempt: Attempt) -> bytes:
    return EFFECT + " ".join(str(part) or "-" for part in attempt).encode()
