"""A run in this process, to its end: an engine for one run, with a log of its own."""

from __future__ import annotations

import secrets
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from headrace.app.opening import HERE, current_settings, first_problem, open_store
from headrace.app.parts import make_parts
from headrace.base.facts import Fact
from headrace.data.events import Events
from headrace.data.window import Window
from headrace.definitions.nodes import Node, Ref
from headrace.definitions.project import PipelineDef, Project
from headrace.engine.listener import Listener
from headrace.engine.loop import Engine
from headrace.engine.options import EngineOptions
from headrace.errors import RunFailedError, StoreError
from headrace.executors.attempt import AttemptRunner
from headrace.executors.here import HereCrew
from headrace.executors.inputs import Arguments, Pipeline
from headrace.executors.parts import Parts
from headrace.executors.protocol import Start
from headrace.graph.loaded import Loaded, freeze
from headrace.host.clock import SystemClock
from headrace.host.rights import Right, holder_of, take_right
from headrace.ports import Clock
from headrace.runs import facts as f
from headrace.runs.creation import reached, run_window
from headrace.runs.events import Event, RunAsked
from headrace.runs.refusal import Refusal
from headrace.runs.rows import RUN_LOGS, run_file
from headrace.settings import Settings
from headrace.store.sql.engine_store import EngineSqlStore
from headrace.store.sql.reads import runs as run_rows

OnFacts = Callable[[Sequence[Fact]], None]


class HereRun:
    """A run that happened in this process: how it ended, and the values it made.

    It reads them from `store`, which is its own and is closed with it.
    """

    def __init__(self, run: str, state: str, store: EngineSqlStore, parts: Parts, definition: PipelineDef) -> None:
        self.id, self.state = run, state
        self._store, self._parts, self._definition = store, parts, definition
        weakref.finalize(self, store.close)

    def result(self) -> Any:
        """What the pipeline function returns. Raises RunFailedError when the run did not succeed."""
        self.raise_for_state()
        return None if self._definition.graph.result is None else self._value(self._definition.graph.result)

    def __getitem__(self, task: Any) -> Any:
        functions = self._parts.loaded.pipelines[self._definition.name].functions
        fn = getattr(task, "fn", task)
        names = [name for name, known in functions.items() if known is fn or name == task]
        if len(names) != 1:
            known = ", ".join(functions)
            raise KeyError(f"{task!r} stands {len(names)} times in {self._definition.name}; by name: {known}")
        return self._value(Ref(names[0]))

    def raise_for_state(self) -> None:
        """Raise RunFailedError with the first failure, unless the run succeeded."""
        if self.state == "succeeded":
            return
        row = run_rows.run(self._store.database, self.id)
        failed = [
            (node.name, item)
            for node in self._definition.graph.nodes
            for item in run_rows.items(self._store.database, self.id, node.name, states=("failed",), limit=1)
        ]
        detail = "".join(f"\n{name}: {item.error}\n{item.detail or ''}" for name, item in failed[:1])
        why = row.end_why if row else ""
        error = RunFailedError(f"run {self.id} of {self._definition.name} {self.state}: {why}{detail}")
        error.run = self
        raise error

    def __repr__(self) -> str:
        return f"<run {self.id} of {self._definition.name}: {self.state}>"

    def _value(self, value: Any) -> Any:
        start = Start(0, self.id, self._definition.name, "result", params="{}")
        node = Node("result", "task", "", {"value": value})
        pipeline = Pipeline(self._parts.loaded.pipelines[self._definition.name])
        access: Any = None
        return Arguments(self._parts, pipeline, node, start, access).all()["value"]


def run_here(
    pipeline: Any,
    arguments: Mapping[str, Any],
    *,
    settings: Settings | None = None,
    clock: Clock | None = None,
    on_facts: OnFacts | None = None,
) -> HereRun:
    """Run a pipeline object in this process, to its end. `arguments` are bound to names.

    Raises RunFailedError, with the run as `run`, where it does not succeed.
    """
    settings = settings or current_settings()
    loaded = freeze("here", [pipeline])
    if loaded.errors:
        raise first_problem(loaded)
    run = run_loaded(settings, loaded, pipeline.name, arguments, clock=clock, on_facts=on_facts)
    run.raise_for_state()
    return run


def run_loaded(
    settings: Settings,
    loaded: Loaded,
    name: str,
    arguments: Mapping[str, Any],
    *,
    clock: Clock | None = None,
    on_facts: OnFacts | None = None,
) -> HereRun:
    """Run a pipeline of a loaded project here. `arguments` may hold an `hr.Window`, `hr.Events` and plain values.

    Raises RefusedError where it needs a window and nothing says which, StoreError where the store refuses: the run then
    goes no further, and an engine closes it as lost.
    """
    clock = clock or SystemClock()
    definition = loaded.project.pipelines[name]
    log = f"{RUN_LOGS}{clock.now_us():x}-{secrets.token_hex(3)}"
    file = run_file(log)
    told = _Told(on_facts)
    with ExitStack() as opened, ExitStack() as held:
        store = open_store(settings)
        opened.callback(store.close)
        asked = _asked(loaded.project, definition, arguments, log, store.watermarks(loaded.project), clock.now_us())
        parts = make_parts(settings, store, loaded, HERE, allow_pickle=settings.allow_pickle)
        held.callback(_let_go, _right_to(settings, log))

        def act(events: Sequence[Event]) -> None:
            engine.give(events)

        crew = HereCrew(AttemptRunner(parts), settings.logs / f"{file}.log", act)
        held.callback(crew.close)
        engine = Engine(
            store,
            crew,
            clock,
            options=EngineOptions(
                log=log, name="here", pool_size=1, max_lost=settings.max_lost, serves=False,
                local=(HERE, loaded.project),
            ),
            read_file=lambda path: (settings.artifacts / path).read_bytes(),
            listener=told,
        )  # fmt: skip
        try:
            engine.start()
            engine.give([asked])
            while engine.machine.state.runs:
                engine.turn()
        except StoreError as error:
            if told.run is None:
                raise
            raise _left_open(error, told.run) from error
        if told.ended is None:
            refusal = told.refusal
            raise RunFailedError(f"{name} did not start: {refusal}", cure=None if refusal is None else refusal.cure)
        store.database.stop_writing()  # the run may be dropped in the middle of a write of another one
        run = HereRun(told.ended.run, told.ended.state, store, parts, definition)
        opened.pop_all()  # the run keeps it, for its values
    return run


class _Told(Listener):
    """Remembers the run as far as it is committed, how it ended, or why there was none."""

    def __init__(self, on_facts: OnFacts | None) -> None:
        self.run: str | None = None
        self.ended: f.RunEnded | None = None
        self.refusal: Refusal | None = None
        self._on_facts = on_facts

    def heard(self, facts: Sequence[Fact]) -> None:
        for fact in facts:
            if isinstance(fact, f.RunCreated):
                self.run = fact.run
            elif isinstance(fact, f.RunEnded):
                self.ended = fact
        if self._on_facts is not None:
            self._on_facts(facts)

    def refused(self, refusal: Refusal) -> None:
        self.refusal = refusal


def _left_open(error: StoreError, run: str) -> StoreError:
    """The same error, which says what has become of the run."""
    open_ = f"run {run} goes no further and stays open until an engine (headrace dev) closes it as lost: run it again"
    cure = f"{error.cure}; {open_}" if error.cure else open_
    return type(error)(error.message, where=error.where, cure=cure, code=error.code)


def _right_to(settings: Settings, log: str) -> Right:
    """The right to a log, by which others see that this process lives. Raises StoreError where another has it."""
    path = settings.locks / f"{run_file(log)}.lock"
    right = take_right(path)
    if right is None:
        held = f"process {holder_of(path)} has the right to the log {log}"
        raise StoreError(held, where=str(path), cure="run it again", code="HR4050")
    return right


def _let_go(right: Right) -> None:
    right.release()
    right.path.unlink(missing_ok=True)


def _asked(
    project: Project,
    definition: PipelineDef,
    arguments: Mapping[str, Any],
    log: str,
    watermarks: Mapping[str, int],
    now_us: int,
) -> RunAsked:
    """Where no window is given it ends where the data has come to, as that of a run which the engine is asked for."""
    params: dict[str, Any] = {}
    window: tuple[int, int] | None = None
    events: tuple[tuple[str, int, int, int], ...] = ()
    for name, value in arguments.items():
        match value:
            case Window():
                window = (value.start_us, value.end_us)
            case Events():
                events = tuple((r.topic, r.partition, r.first, r.end) for r in value.ranges)
            case _:
                params[name] = value
    if window is None:
        model = project.models.get(definition.registers or "")
        mature_us = 0 if model is None else model.mature_us
        window = run_window(definition, reached(definition, watermarks, now_us) - mature_us)
    return RunAsked(definition.name, f"here:{log}", "here", params, window, events, why="run in process")
