"""The composition root: the only module that knows both the ports and their adapters."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from headrace.base.clock import SystemClock
from headrace.base.facts import Fact
from headrace.base.place import place
from headrace.connectors.access import TaskAccess
from headrace.connectors.here import HereAccess
from headrace.connectors.holdings import Holdings
from headrace.data.access import Access, access
from headrace.data.events import Events
from headrace.data.window import Window
from headrace.definitions import project as definitions
from headrace.definitions.nodes import Node, Ref
from headrace.definitions.project import MonitorDef, PipelineDef, Project
from headrace.engine.code import package_place
from headrace.engine.loader import load_code
from headrace.engine.loop import Engine, EngineOptions
from headrace.engine.service import Service
from headrace.engine.supervisor import StreamSupervisor
from headrace.errors import EngineUnavailableError, RefusedError, RunFailedError
from headrace.executors.attempt import AttemptRunner, CurrentAttempt
from headrace.executors.crew import LocalCrew
from headrace.executors.here import HereCrew
from headrace.executors.inputs import Arguments, Pipeline
from headrace.executors.local import LocalExecutor
from headrace.executors.parts import Parts
from headrace.executors.protocol import Setup, Start
from headrace.graph.loaded import Loaded, freeze
from headrace.graph.project import load_project
from headrace.host import whereabouts
from headrace.host.doorbell import Doorbell, doorbell_path, ring
from headrace.host.rights import holder_of, take_right
from headrace.ports import Clock
from headrace.runs import facts as f
from headrace.runs.events import RunAsked
from headrace.runs.monitoring import PREFIX, monitor_pipeline
from headrace.runs.progress import path_text
from headrace.settings import Settings, read_settings
from headrace.storage.local import LocalStorage, attempt_prefix
from headrace.storage.values import Values
from headrace.store.sql.engine_store import EngineSqlStore
from headrace.store.sql.reads import runs as run_rows
from headrace.store.sql.reads.project import current_code
from headrace.store.sql.results import StoredResults

HERE = "local"  # the code version of a run in process: the code as it is there


def open_store(settings: Settings) -> EngineSqlStore:
    """The project's store; made where there is none. Under pytest the project's own store is refused."""
    own = place()
    if own is not None and not settings.home.is_relative_to(own):
        raise RefusedError(
            f"a test opens the project's own store {settings.database}",
            cure="leave the store to the test kit; or mark the test with @pytest.mark.headrace_project",
            code="HR3040",
        )
    settings.home.mkdir(parents=True, exist_ok=True)
    is_new = not settings.database.exists()
    store = EngineSqlStore(settings.database)
    if is_new:
        whereabouts.remember(settings.home, secrets.token_hex(8))
    return store


# -- what a worker works with ------------------------------------------------------------------------------------------


def worker_parts(setup: Setup) -> Parts:
    """The parts of a worker process: its own copy of the project's code, the store for reading, the data."""
    settings = read_settings(Path(setup.root))
    loaded = load_project(Path(setup.code_path), setup.project, settings.modules or None)
    if loaded.errors:
        raise _problem(loaded)
    store = EngineSqlStore(setup.store)
    return make_parts(settings, store, loaded, Path(setup.code_path).name, allow_pickle=setup.allow_pickle)


def make_parts(
    settings: Settings, store: EngineSqlStore, loaded: Loaded, code: str, *, allow_pickle: bool = True
) -> Parts:
    """Parts over an open store, for a worker process or for a run in this one."""
    storage = LocalStorage(settings.artifacts)
    values = Values(storage, allow_pickle=allow_pickle)
    holdings = make_holdings(settings, store, loaded.project, code)

    def make_access(start: Start, ask: Callable[[str, Any], Any]) -> TaskAccess:
        attempt = CurrentAttempt.of(start)
        return TaskAccess(holdings, ask, prefix=_prefix(start), attempt=attempt, window=start.window)

    return Parts(_WithMonitors(loaded), values, StoredResults(store.database), make_access, _prefix)


def make_holdings(settings: Settings, store: EngineSqlStore, project: Project, code: str) -> Holdings:
    """What a process may read of the project's data."""
    return Holdings(
        store.database,
        LocalStorage(settings.artifacts),
        project,
        code,
        settings.code,
        SystemClock().now_us,
        settings.secrets,
        settings.allow_pickle,
    )


class _MonitorPipeline:
    """A monitor's built-in pipeline, as a worker sees it."""

    def __init__(self, monitor: MonitorDef) -> None:
        def judge(window: Window) -> None:
            cast("TaskAccess", access()).judge(monitor, window)

        self.definition: PipelineDef = monitor_pipeline(monitor)
        self.functions: Mapping[str, Callable[..., Any]] = {"judge": judge}
        self.helpers: Mapping[str, Callable[..., Any]] = {}


class _WithMonitors:
    """A loaded project with the built-in pipelines of its monitors."""

    def __init__(self, loaded: Loaded) -> None:
        self.project: Project = loaded.project
        monitors = {PREFIX + m.name: _MonitorPipeline(m) for m in loaded.project.monitors.values()}
        self.pipelines: Mapping[str, Any] = {**loaded.pipelines, **monitors}


def _prefix(start: Start) -> str:
    path = path_text(start.path)
    return attempt_prefix(start.run, start.node, path, start.item, start.attempt, start.epoch)


# -- the engine --------------------------------------------------------------------------------------------------------


def serve_engine(
    settings: Settings,
    *,
    on_facts: Callable[[Any], None],
    notice: Callable[[str], None],
    should_stop: Callable[[], bool],
    watch: bool = True,
    claim: whereabouts.Claim | None = None,
) -> None:
    """Serve the project until `should_stop`: engine, workers, streams; with `watch`, load changed files.

    `claim` is what the user says of a folder that is not where it was. Raises EngineUnavailableError where another
    engine serves it, RefusedError (HR3051) where the folder is another one and nothing is claimed.
    """
    package = package_place(settings.root, settings.name)
    right = take_right(settings.locks / "engine.lock")
    if right is None:
        pid = holder_of(settings.locks / "engine.lock")
        raise EngineUnavailableError(
            f"an engine serves this project already (process {pid})",
            where=str(settings.root),
            cure="use that one, or end it first",
            code="HR5010",
        )
    try:
        if settings.database.exists():
            whereabouts.settle(settings.home, claim, secrets.token_hex(8))
        store = open_store(settings)
    except BaseException:
        right.release()
        raise
    clock = SystemClock()
    if claim == "copied":
        notice(_pause_copy(store, clock.now_us()))
    bell = Doorbell(doorbell_path(settings.home))

    def spawn(executor: LocalExecutor, worker: str, code: str) -> None:
        executor.spawn(
            worker, wiring="headrace.app:worker_parts", home=settings.home, root=settings.root,
            code_path=settings.code / code, project=settings.name, store=str(settings.database),
            allow_pickle=settings.allow_pickle,
        )  # fmt: skip

    def command(code: str, code_path: Path) -> tuple[str, ...]:
        return (
            "--root", str(settings.root), "--code", code, "--code-path", str(code_path), "--project", settings.name,
            "--store", str(settings.database), "--ring", str(bell.path),
        )  # fmt: skip

    crew = LocalCrew(settings.locks / "workers", settings.logs, spawn)
    options = EngineOptions(pool_size=settings.workers, max_lost=settings.max_lost, fires_schedules=settings.schedules)
    engine = Engine(
        store, crew, clock, options=options, read_file=lambda p: (settings.artifacts / p).read_bytes(), bell=bell,
        on_facts=on_facts,
    )  # fmt: skip
    service = Service(
        engine, store, StreamSupervisor(command, settings.logs, clock),
        load=lambda: load_code(settings.root, settings.name, settings.modules, settings.code),
        code_folder=settings.code, locks=settings.locks, stream_processes=settings.stream_processes,
        notice=notice, ring=lambda: ring(bell.path),
    )  # fmt: skip
    engine.handle, engine.woken, engine.on_trouble = service.handle, service.woken, notice
    try:
        service.run(should_stop, watched=package if watch else None)
    finally:
        bell.close()
        store.close()
        right.release()


def _pause_copy(store: EngineSqlStore, now_us: int) -> str:
    """Ask for the pause of every pipeline that starts by itself, so that a copy does nothing twice; in words."""
    code = current_code(store.database)
    pipelines = {} if code is None else definitions.decode(code.project).pipelines
    names = [name for name, pipeline in pipelines.items() if pipeline.triggers]
    for name in names:
        body = {"pipeline": name, "paused": True, "by": "the copy"}
        store.ask("pause", body, key=f"copied:{secrets.token_hex(8)}", at_us=now_us)
    cure = "headrace pipelines resume NAME" if names else "none has triggers"
    paused = f"{', '.join(names) or 'no pipeline'} ({cure})"
    return f"this is a copy with an identity of its own; paused: {paused}; streams go on with the rows of the copy"


# -- a run in this process ---------------------------------------------------------------------------------------------


class HereRun:
    """A run that happened in this process: how it ended, and the values it made."""

    def __init__(self, run: str, state: str, store: EngineSqlStore, parts: Parts, definition: PipelineDef) -> None:
        self.id, self.state = run, state
        self._store, self._parts, self._definition = store, parts, definition

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
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    settings: Settings | None = None,
    clock: Clock | None = None,
    on_facts: Callable[[Any], None] | None = None,
) -> HereRun:
    """Run a pipeline object in this process, to its end, as an engine for one run with a log of its own.

    Raises RunFailedError, with the run as `run`, where it does not succeed.
    """
    del args  # bound to names by the caller
    settings = settings or current_settings()
    loaded = freeze("here", [pipeline])
    if loaded.errors:
        raise _problem(loaded)
    run = run_loaded(settings, loaded, pipeline.name, dict(kwargs), clock=clock, on_facts=on_facts)
    run.raise_for_state()
    return run


def run_loaded(
    settings: Settings,
    loaded: Loaded,
    name: str,
    arguments: dict[str, Any],
    *,
    clock: Clock | None = None,
    on_facts: Callable[[Any], None] | None = None,
) -> HereRun:
    """Run a pipeline of a loaded project here. `arguments` may hold an `hr.Window`, `hr.Events` and plain values."""
    store = open_store(settings)
    clock = clock or SystemClock()
    definition = loaded.project.pipelines[name]
    parts = make_parts(settings, store, loaded, HERE)
    log = f"run:{clock.now_us():x}-{secrets.token_hex(3)}"
    right = take_right(settings.locks / f"{log.replace(':', '-')}.lock")
    crew = HereCrew(AttemptRunner(parts), settings.logs / f"{log.replace(':', '-')}.log")
    facts: list[Fact] = []

    def heard(new: Any) -> None:
        facts.extend(new)
        if on_facts is not None:
            on_facts(new)

    options = EngineOptions(
        log=log, name="here", pool_size=1, max_lost=settings.max_lost, fires_schedules=False, fires_triggers=False,
        follows=(),
    )  # fmt: skip
    engine = Engine(
        store, crew, clock, options=options, read_file=lambda p: (settings.artifacts / p).read_bytes(), on_facts=heard
    )
    crew.act = engine.act
    try:
        engine.start()
        engine.machine.projects[HERE] = loaded.project
        engine.machine.code = HERE
        engine.act([_asked(definition, arguments, log)])
        while engine.machine.runs:
            engine.turn()
    finally:
        crew.close()
        if right is not None:
            right.release()
            right.path.unlink(missing_ok=True)
    ended = next((x for x in reversed(facts) if isinstance(x, f.RunEnded)), None)
    if ended is None:
        raise RunFailedError(f"{name} did not start: {_refusal(facts)}")
    return HereRun(ended.run, ended.state, store, parts, definition)


def _asked(definition: PipelineDef, arguments: dict[str, Any], log: str) -> RunAsked:
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
    return RunAsked(definition.name, f"here:{log}", "here", params, window, events, why="run in process")


def _refusal(facts: list[Fact]) -> str:
    rejected = next((x for x in facts if isinstance(x, f.EventRejected)), None)
    return rejected.error if rejected else "the request was refused"


def _problem(loaded: Loaded) -> Exception:
    from headrace.errors import ProjectError

    first = loaded.errors[0]
    return ProjectError(first.message, where=first.where, cure=first.cure or None, code=first.code)


# -- where we are ------------------------------------------------------------------------------------------------------

_opened: dict[str, tuple[Path, Access]] = {}


def current_settings() -> Settings:
    """The settings for code that runs outside a worker: the project around the working directory, in a test its own."""
    settings = read_settings(Path.cwd())
    own = place()
    return settings if own is None else replace(settings, home=own / ".headrace")


def default_access() -> Access:
    """Access for scripts, notebooks and tests: acts at once on the store of `current_settings()`."""
    settings = current_settings()
    known = _opened.get("here")
    if known is None or known[0] != settings.database:
        store = open_store(settings)
        project = load_project(settings.root, settings.name).project if settings.is_project else Project("here")
        opened = HereAccess(make_holdings(settings, store, project, HERE), store)
        known = _opened["here"] = (settings.database, opened)
    return known[1]
