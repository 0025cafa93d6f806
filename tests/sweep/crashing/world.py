"""One folder with a project's state, its processes, the people who use it, and a clock that stands still until moved."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

from crashing.boundaries import stage
from crashing.faults import Actor, Death, Faults
from crashing.processes import EngineProcess, StreamProcess
from headrace.app import here, opening
from headrace.connectors.appends import append
from headrace.data.topic import Topic
from headrace.errors import HeadraceError, RunFailedError
from headrace.graph.loaded import Loaded
from headrace.settings import FOREVER, Settings
from headrace.store.sql.engine_store import EngineSqlStore
from headrace.testing.clock import FakeClock

T = TypeVar("T")
ROUNDS_MOST = 3_000
STARTS_MOST = 8  # of one process in a row, without anything else having happened
PAUSES = ("20ms", "250ms", "2100ms")  # so long nothing happens before it is said to rest
HORIZON_US = 20_000_000  # what is due later than this is not waited for


class UnrestError(Exception):
    """A promise was broken that shows before the audit: no rest, or a process that ends without a cause."""


class World:
    """`codes`: what the project's files may hold, by version; `code`: what they hold now."""

    def __init__(
        self, folder: Path, codes: Mapping[str, Loaded], clock: FakeClock, faults: Faults, retention: str = FOREVER
    ) -> None:
        self.settings = Settings(
            root=folder, name="swept", home=folder / ".headrace", schedules=True, retention=retention
        )
        self.codes, self.clock, self.faults = codes, clock, faults
        self.code = next(iter(codes))
        self.max_lost = 5
        self.slots: dict[str, int] = {}
        self.notices: list[str] = []
        self.acts: dict[str, Callable[[], object]] = {}  # what people do when user code gets to a place, once
        self.seen: dict[str, int] = {}  # how often user code got to a place
        self.switches: set[str] = set()
        self.heres: list[str] = []  # how runs in process ended
        self._words = 0
        self._explained = 0
        self._engine: EngineProcess | None = None
        for code in codes:
            (self.settings.code / code).mkdir(parents=True, exist_ok=True)
        self.store = EngineSqlStore(self.settings.database)  # of the people, who do not fail

    # -- what people do ------------------------------------------------------------------------------------------

    def ask(self, verb: str, asked_as: str, **body: Any) -> None:
        self.store.ask(verb, body, key=asked_as, at_us=self.clock.now_us())

    def trigger(self, pipeline: str, key: str, **body: Any) -> None:
        self.ask("trigger", key, pipeline=pipeline, by="somebody", **body)

    def run_of(self, key: str) -> str:
        run = self.store.run_of_key(f"person:{key}")
        if run is None:
            raise UnrestError(f"there is no run {key}: {self.notices[-3:]}")
        return run

    def append(self, topic: Topic, rows: list[dict[str, Any]]) -> None:
        append(self.store, "client", topic.definition, rows, self.clock.now_us())

    def save(self, code: str) -> None:
        """The files change."""
        self.code = code
        if self._engine is not None:
            self._engine.loading.aside()

    def run_here(self, loaded: Loaded, pipeline: str, **arguments: Any) -> None:
        """`pipeline.run()` in a process of its own, again until it succeeds."""
        for _ in range(STARTS_MOST):
            if self._runs_here(loaded, pipeline, arguments):
                return
            self.settle()
        raise UnrestError(f"{pipeline} does not succeed in process: {self.heres}")

    # -- what happens --------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Go on until everything rests. Raises UnrestError where it does not, or a process ends by itself."""
        pause = 0
        for _ in range(ROUNDS_MOST):
            if self._round():
                pause = 0
                continue
            due_us = self._due_us()
            if due_us is not None:
                self.clock.advance(f"{max(due_us, 1)}us")
                pause = 0
            elif pause == len(PAUSES):
                return
            else:
                self.clock.advance(PAUSES[pause])
                pause += 1
        raise UnrestError(f"no rest after {ROUNDS_MOST} rounds: {self.notices[-3:]}")

    def end(self) -> None:
        """Everybody is told to leave."""
        if self._engine is not None:
            self._engine.end()
        self._engine = None
        self.store.close()

    def told(self, notice: str) -> None:
        self.notices.append(notice)

    def entropy(self) -> int:
        """Never twice the same word."""
        self._words += 1
        return self._words

    def during(self, name: str) -> int:
        """User code is at the place of this name. How often anybody was there, from 1."""
        self.seen[name] = self.seen.get(name, 0) + 1
        act = self.acts.pop(name, None)
        if act is not None:
            with self.faults.acting(None):
                act()
        return self.seen[name]

    @contextmanager
    def on_stage(self) -> Iterator[None]:
        """The failures and the time of this world are in force."""
        stage.faults, stage.clock, stage.during, stage.switches = self.faults, self.clock, self.during, self.switches
        stage.entropy = self.entropy
        stage.sleep = lambda seconds: self.clock.advance(f"{max(1, int(seconds * 1e6))}us")
        with mock.patch.object(opening, "SystemClock", return_value=self.clock):
            yield

    # -- inside --------------------------------------------------------------------------------------------------

    def _round(self) -> bool:
        """Every process takes a turn. Whether anything has happened."""
        if self._engine is None:
            engine = EngineProcess(self)
            self._engine = engine
            if not self._guarded(engine, engine.begin):
                return self._gone(engine)
            return True
        engine = self._engine
        busy: list[bool] = []
        if not self._guarded(engine, lambda: busy.append(engine.turn())):
            return self._gone(engine)
        started = engine.tend_stream()
        if started is not None and not self._guarded(started, started.begin):
            return self._lost(engine, started)
        stream = engine.stream
        if stream is not None and not self._guarded(stream, lambda: busy.append(stream.turn())):
            return self._lost(engine, stream)
        return any(busy) or started is not None

    def _guarded(self, actor: Actor, work: Callable[[], object]) -> bool:
        """Let a process work; False where that ended it, for which there must be a cause."""
        try:
            with self.faults.acting(actor):
                work()
        except Death:
            return False
        except (HeadraceError, OSError) as error:
            self._explain(actor, error)
            return False
        return True

    def _explain(self, actor: Actor, error: Exception) -> None:
        if len(self.faults.struck) == self._explained:
            raise UnrestError(f"{actor.name} ends by itself: {type(error).__name__}: {error}") from error
        self._explained = len(self.faults.struck)

    def _gone(self, engine: EngineProcess) -> bool:
        engine.end()
        self._engine = None
        return True

    def _lost(self, engine: EngineProcess, stream: StreamProcess) -> bool:
        stream.end()
        engine.stream = None
        return True

    def _due_us(self) -> int | None:
        """How long until the engine has something to do by itself, where that is soon."""
        if self._engine is None or not self._engine.engine.is_working:
            return None
        due_us = self._engine.engine.machine.next_due_us()
        if due_us is None or due_us - self.clock.monotonic_us() > HORIZON_US:
            return None
        return due_us - self.clock.monotonic_us()

    def _runs_here(self, loaded: Loaded, pipeline: str, arguments: dict[str, Any]) -> bool:
        actor = Actor("run in process")
        opened: list[EngineSqlStore] = []

        def open_store(settings: Settings) -> EngineSqlStore:
            opened.append(EngineSqlStore(settings.database))
            return opened[-1]

        try:
            with self.faults.acting(actor), mock.patch.object(here, "open_store", open_store):
                run = here.run_loaded(self.settings, loaded, pipeline, arguments, clock=self.clock)
            self.heres.append(run.state)
            del run  # out here: its store closes with it
        except Death:
            self.heres.append("died")
        except RunFailedError as error:
            self.heres.append(str(error))
        except (HeadraceError, OSError) as error:
            self._explain(actor, error)
            self.heres.append(type(error).__name__)
        finally:
            for store in opened:
                if not store.database._is_closed:  # a run that has ended closes its own
                    store.close()
        return self.heres[-1] == "succeeded"
