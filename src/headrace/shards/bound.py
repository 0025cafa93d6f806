"""What streams bind, in the next batch: models loaded beside the loop, tables at their newest version."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

import polars as pl

from headrace.connectors import tables, versions
from headrace.connectors.holdings import Holdings, TableVersionRow
from headrace.definitions.nodes import DatasetRef
from headrace.errors import StoreError
from headrace.executors.tracebacks import told
from headrace.store.sql.reads import models
from headrace.streams.facts import Bound

AGAIN_US = 1_000_000  # the store or the disk refused
MENDED_US = 60_000_000  # the version itself does not load: by then somebody may have put its file or a library back

Loader = Callable[[str, int], Any]
"""(model, version) → the model, checked. Raises whatever is wrong with it."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A version as a thread has loaded it, or the problem with it."""

    model: str
    version: int
    value: Any = None
    problem: str = ""
    is_passing: bool = False  # not the version's fault


@dataclass(slots=True)
class _Held:
    """One reference to a model: the version in use, the one in force, and why that could not be loaded."""

    version: int = 0
    value: Any = None
    asked: int = 0
    last: int = 0  # the version that served before this process
    is_last_tried: bool = False
    problem: str = ""
    again_us: int | None = None  # by the monotonic clock: when the one in force is tried again


@dataclass(slots=True)
class BoundValues:
    """The values that the streams of one process bind. `look` asks the store, `adopt` takes what threads have loaded.

    A version that does not load leaves the old one in use and is tried again, as long as it is in force: soon where the
    store refused, else once a minute or when it comes into force anew. `fall_back` gives the version that served last,
    which is loaded where the newest does not after a restart.
    """

    holdings: Holdings
    load: Loader
    monotonic_us: Callable[[], int]
    wake: Callable[[], None] = lambda: None
    _models: dict[DatasetRef, _Held] = field(default_factory=dict[DatasetRef, _Held])
    _tables: dict[tuple[str, int], pl.DataFrame] = field(default_factory=dict[tuple[str, int], pl.DataFrame])
    _newest: dict[DatasetRef, int] = field(default_factory=dict[DatasetRef, int])
    _loaded: SimpleQueue[Loaded] = field(default_factory=SimpleQueue[Loaded])
    _turn: threading.Lock = field(default_factory=threading.Lock)  # artifacts are decoded by one thread at a time

    def want(self, reference: DatasetRef) -> None:
        """A stream binds this reference."""
        if reference.kind == "model":
            self._models.setdefault(reference, _Held())
        else:
            self._newest.setdefault(reference, 0)

    def look(self) -> None:
        """Which versions are in force now; a model that is new is loaded in a thread of its own."""
        for reference, held in self._models.items():
            self._look_for(reference, held)
        for reference in self._newest:
            row = self._table_row(reference)
            self._newest[reference] = 0 if row is None else row.version

    def tables(self) -> dict[DatasetRef, int]:
        """The versions of tables in force; 0 for none."""
        return dict(self._newest)

    def fall_back(self, reference: DatasetRef, version: int) -> None:
        """The newest version does not load and none is in use: take the one that served last, once per attempt. `version`
        is 0 where that is not known any more.
        """
        held = self._models[reference]
        held.last = version or held.last
        if held.problem and not held.version and held.last not in (0, held.asked) and not held.is_last_tried:
            held.is_last_tried = True
            self._load_aside(reference.name, held.last)

    def adopt(self) -> bool:
        """Take over what has been loaded since; true where something has."""
        for reference, held in self._models.items():
            if self._is_due(held):
                self._look_for(reference, held)
        is_news = False
        while not self._loaded.empty():
            found = self._loaded.get()
            is_news = True
            for reference, held in self._models.items():
                if reference.name == found.model:
                    self._take(held, found)
        return is_news

    def model(self, reference: DatasetRef) -> tuple[int, str]:
        """(version in use, problem with a newer one); version 0 where there is none."""
        held = self._models[reference]
        return held.version, held.problem

    def missing(self, references: dict[str, DatasetRef]) -> str:
        """What a stream that binds these waits for, in words; "" where all is there."""
        for reference in references.values():
            if reference.kind == "model":
                version, problem = self.model(reference)
                if not version:
                    return problem or f"waits for {_named(reference)} of model {reference.name}"
            elif not self._newest[reference]:
                return f"waits for the first version of table {reference.name}"
        return ""

    def values(self, references: dict[str, DatasetRef]) -> tuple[dict[str, Any], tuple[Bound, ...]]:
        """The values of the parameters, and which versions they are."""
        values: dict[str, Any] = {}
        pinned: list[Bound] = []
        for parameter, reference in references.items():
            if reference.kind == "model":
                held = self._models[reference]
                values[parameter], number = held.value, held.version
            else:
                number = self._newest[reference]
                values[parameter] = self._table(reference, number)
            pinned.append(Bound(parameter, reference.kind, reference.name, number))
        return values, tuple(pinned)

    def since_us(self, reference: DatasetRef) -> int:
        """When what is bound first existed: the moment from which a stream with `start="now"` reads."""
        if reference.kind == "model":
            moves = models.alias_history(self.holdings.database, reference.name)
            return min((move.at_us for move in moves if move.alias == reference.arg), default=0)
        row = self.holdings.table_version(reference.name, 1)
        return 0 if row is None else row.at_us

    def _look_for(self, reference: DatasetRef, held: _Held) -> None:
        """Load the version in force where it is new, or was not to be had and may be by now."""
        number = self._version(reference)
        if not number or (number == held.asked and not self._is_due(held)):
            return
        if number != held.asked and held.version:
            held.problem = ""  # it was another version's
        held.asked, held.is_last_tried, held.again_us = number, False, None
        if number != held.version:
            self._load_aside(reference.name, number)

    def _is_due(self, held: _Held) -> bool:
        return held.again_us is not None and self.monotonic_us() >= held.again_us

    def _take(self, held: _Held, found: Loaded) -> None:
        """What came of loading a version, unless another one has come into force meanwhile."""
        is_asked = found.version == held.asked
        if not is_asked and (held.version or found.version != held.last):
            return
        if not found.problem:
            held.version, held.value = found.version, found.value
            held.problem, held.again_us = ("", None) if is_asked else (held.problem, held.again_us)
        elif found.version != held.version:
            rest_us = AGAIN_US if found.is_passing else MENDED_US
            held.problem = f"version {found.version} does not load: {found.problem}" if is_asked else held.problem
            held.again_us = min(held.again_us or sys.maxsize, self.monotonic_us() + rest_us)

    def _version(self, reference: DatasetRef) -> int:
        if reference.how == "version":
            return int(reference.arg or 0)
        return self.holdings.alias(reference.name, str(reference.arg))

    def _table_row(self, reference: DatasetRef) -> TableVersionRow | None:
        match reference.how, reference.arg:
            case "version", int() as number:
                return self.holdings.table_version(reference.name, number)
            case "at", int() as at_us:
                return self.holdings.table_version(reference.name, at_us=at_us)
            case _:
                return self.holdings.table_version(reference.name)

    def _table(self, reference: DatasetRef, number: int) -> pl.DataFrame:
        key = (reference.name, number)
        if key not in self._tables:
            row = self.holdings.table_version(reference.name, number)
            definition = self.holdings.project.tables[reference.name]
            rows = tables.read_parts(self.holdings, definition, () if row is None else row.parts)
            self._tables = {known: frame for known, frame in self._tables.items() if known[0] != reference.name}
            self._tables[key] = rows
        return self._tables[key]

    def _load_aside(self, model: str, version: int) -> None:
        def run() -> None:
            try:
                with self._turn:
                    found = Loaded(model, version, self.load(model, version))
            except (StoreError, OSError) as error:
                found = Loaded(model, version, problem=told(f"{type(error).__name__}: {error}"), is_passing=True)
            except Exception as error:  # whatever a library or a golden check raises is what is wrong with the version
                found = Loaded(model, version, problem=told(f"{type(error).__name__}: {error}"))
            self._loaded.put(found)
            self.wake()

        threading.Thread(target=run, name=f"load {model} {version}", daemon=True).start()


def load_champion(holdings: Holdings, model: str, version: int) -> Any:
    """A version's model, its golden rows scored as they were when it was registered. Raises what is wrong with it."""
    value, _ = versions.load_version(holdings, holdings.model_version(model, version))
    return value


def _named(reference: DatasetRef) -> str:
    return f"version {reference.arg}" if reference.how == "version" else f"the first {reference.arg}"
