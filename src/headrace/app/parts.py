"""What the processes that run user code are made of: a worker's parts, and those of a stream process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from headrace.app.opening import first_problem, make_holdings
from headrace.connectors.access import TaskAccess
from headrace.data.access import access
from headrace.data.window import Window
from headrace.definitions.project import MonitorDef, PipelineDef, Project
from headrace.errors import NotFoundError
from headrace.executors.attempt import CurrentAttempt
from headrace.executors.parts import Parts
from headrace.executors.protocol import Setup, Start
from headrace.graph.loaded import Loaded
from headrace.graph.project import load_project
from headrace.runs.monitoring import PREFIX, monitor_pipeline
from headrace.runs.path import path_text
from headrace.settings import Settings, read_settings
from headrace.shards.project import Opened
from headrace.shards.project import Setup as ShardSetup
from headrace.storage.local import LocalStorage, attempt_prefix
from headrace.storage.values import Values
from headrace.store.sql.engine_store import EngineSqlStore
from headrace.store.sql.reads.project import heads_at_deploy
from headrace.store.sql.results import StoredResults


def worker_parts(setup: Setup) -> Parts:
    """The parts of a worker process: its own copy of the project's code, the store for reading, the data."""
    settings = read_settings(Path(setup.root))
    loaded = load_project(Path(setup.code_path), setup.project, settings.modules or None)
    if loaded.errors:
        raise first_problem(loaded)
    store = EngineSqlStore(setup.store)
    return make_parts(settings, store, loaded, Path(setup.code_path).name, allow_pickle=setup.allow_pickle)


def make_parts(settings: Settings, store: EngineSqlStore, loaded: Loaded, code: str, *, allow_pickle: bool) -> Parts:
    """Parts over an open store, for a worker process or for a run in this one."""
    storage = LocalStorage(settings.artifacts)
    values = Values(storage, allow_pickle=allow_pickle)
    holdings = make_holdings(settings, store, loaded.project, code)

    def make_access(start: Start, ask: Callable[[str, Any], Any]) -> TaskAccess:
        attempt = CurrentAttempt.of(start)
        return TaskAccess(holdings, ask, prefix=_prefix(start), attempt=attempt, window=start.window)

    return Parts(_WithMonitors(loaded), values, StoredResults(store.database), make_access, _prefix)


def shard_parts(setup: ShardSetup) -> Opened:
    """The project as a stream process works on it: its own copy of the code, and a store that it writes to."""
    settings = read_settings(setup.root)
    loaded = load_project(setup.code_path, setup.project, settings.modules or None)
    if loaded.errors:
        raise first_problem(loaded)
    store = EngineSqlStore(setup.store)
    heads = heads_at_deploy(store.database, setup.code)
    if heads is None:
        raise NotFoundError(f"the code version {setup.code!r} was never deployed here", cure="headrace runs ls")
    holdings = make_holdings(settings, store, loaded.project, setup.code)
    return Opened(store, holdings, loaded, settings.locks, heads)


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
