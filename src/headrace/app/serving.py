"""A serving engine with everything around it, put together and run."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from headrace.app.opening import open_store
from headrace.definitions import project as definitions
from headrace.engine.code import code_hash, package_place
from headrace.engine.loader import load_code
from headrace.engine.loading import Loading
from headrace.engine.loop import Engine
from headrace.engine.options import EngineOptions
from headrace.engine.retention import Retention
from headrace.engine.service import Service, ServiceListener
from headrace.engine.supervisor import StreamSupervisor
from headrace.executors.crew import LocalCrew
from headrace.executors.local import LocalExecutor
from headrace.host import whereabouts
from headrace.host.clock import SystemClock
from headrace.host.doorbell import Doorbell, doorbell_path, ring
from headrace.host.rights import is_backed_up, take_engine_right
from headrace.ports import Clock
from headrace.settings import Settings
from headrace.shards.files import shard_file
from headrace.shards.hand import left_in_hand
from headrace.storage.local import LocalStorage
from headrace.storage.run_files import LocalRunFiles
from headrace.store.sql.engine_store import EngineSqlStore
from headrace.store.sql.reads.project import current_code

Notice = Callable[[str], None]


def serve_engine(
    settings: Settings,
    *,
    on_facts: Callable[[Any], None],
    notice: Notice,
    should_stop: Callable[[], bool],
    watch: bool = True,
    claim: whereabouts.Claim | None = None,
) -> None:
    """Serve the project until `should_stop`: engine, workers, streams; with `watch`, load changed files.

    `claim` is what the user says of a folder that is not where it was. Raises EngineUnavailableError where another
    engine serves it, RefusedError (HR3051) where the folder is another one and nothing is claimed.
    """
    package = package_place(settings.root, settings.name)
    with ExitStack() as held:
        held.enter_context(take_engine_right(settings.locks))
        if settings.database.exists():
            whereabouts.settle(settings.home, claim, secrets.token_hex(8))
        store = open_store(settings)
        held.callback(store.close)
        store.database.refuse_broken_wal()
        if claim == "copied":
            notice(_pause_copy(store, SystemClock().now_us()))
        bell = Doorbell(doorbell_path(settings.home))
        held.callback(bell.close)
        service = _service(settings, store, bell, on_facts, notice)
        service.run(should_stop, watched=package if watch else None)


def _service(
    settings: Settings, store: EngineSqlStore, bell: Doorbell, on_facts: Callable[[Any], None], notice: Notice
) -> Service:
    clock = SystemClock()
    loading = Loading(
        lambda: load_code(settings.root, settings.name, settings.modules, settings.code),
        lambda: ring(bell.path),
        lambda: code_hash(package_place(settings.root, settings.name)),
    )
    supervisor = StreamSupervisor(_stream_command(settings, bell), settings.logs, clock)
    engine = Engine(
        store,
        LocalCrew(settings.locks / "workers", settings.logs, _spawn(settings), notice),
        clock,
        options=EngineOptions(
            pool_size=settings.workers, max_lost=settings.max_lost, fires_schedules=settings.schedules
        ),
        read_file=lambda path: (settings.artifacts / path).read_bytes(),
        listener=ServiceListener(on_facts, notice, supervisor, loading),
        bell=bell,
        retention=_retention(settings, store, clock),
    )
    return Service(
        engine,
        store,
        supervisor,
        loading,
        code_folder=settings.code,
        locks=settings.locks,
        lock_of=lambda log: shard_file(settings.locks, log, "lock"),
        hand_of=lambda log: left_in_hand(shard_file(settings.locks, log, "hand")),
        stream_processes=settings.stream_processes,
        notice=notice,
    )


def _retention(settings: Settings, store: EngineSqlStore, clock: Clock) -> Retention | None:
    if settings.retention_us is None:
        return None
    files = LocalRunFiles(LocalStorage(settings.artifacts), settings.logs, lambda: is_backed_up(settings.locks))
    return Retention(store, files, clock, settings.retention_us)


def _spawn(settings: Settings) -> Callable[[LocalExecutor, str, str], None]:
    def spawn(executor: LocalExecutor, worker: str, code: str) -> None:
        executor.spawn(
            worker, wiring="headrace.app.parts:worker_parts", home=settings.home, root=settings.root,
            code_path=settings.code / code, project=settings.name, store=str(settings.database),
            allow_pickle=settings.allow_pickle,
        )  # fmt: skip

    return spawn


def _stream_command(settings: Settings, bell: Doorbell) -> Callable[[str, Path], tuple[str, ...]]:
    def command(code: str, code_path: Path) -> tuple[str, ...]:
        return (
            "--wiring", "headrace.app.parts:shard_parts", "--root", str(settings.root), "--code", code,
            "--code-path", str(code_path), "--project", settings.name, "--store", str(settings.database),
            "--ring", str(bell.path),
        )  # fmt: skip

    return command


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
