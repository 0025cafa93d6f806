"""The processes of a project: the engine with its service, the stream process that it keeps, and a run in process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec

from crashing.crew import InlineCrew
from crashing.faults import Actor
from headrace.app import serving
from headrace.app.opening import make_holdings
from headrace.app.parts import make_parts
from headrace.definitions import project as definitions
from headrace.engine.loader import LoadedCode
from headrace.engine.loading import Loading
from headrace.engine.loop import Engine
from headrace.engine.options import EngineOptions
from headrace.engine.service import Service, ServiceListener
from headrace.errors import DisagreementError, StoreError, SupersededError
from headrace.executors.attempt import AttemptRunner
from headrace.runs.events import Event
from headrace.shards.files import shard_file
from headrace.shards.project import Opened, ProjectParts
from headrace.shards.runner import POLL_S, StreamRunner
from headrace.store.sql.engine_store import EngineSqlStore
from headrace.store.sql.reads.project import heads_at_deploy
from headrace.streams.place import Place

if TYPE_CHECKING:
    from crashing.world import World


class LoadsAtOnce(Loading):
    """Loading without its thread."""

    def aside(self, request: int | None = None) -> None:
        self._put(request)


class EngineProcess(Actor):
    """`headrace dev`, but for what waits and for threads: the real service around the real engine, on real files."""

    def __init__(self, world: World) -> None:
        super().__init__("engine")
        self._world = world
        self.stream: StreamProcess | None = None
        self._wanted: tuple[str, list[tuple[Place, ...]]] | None = None
        self.store: EngineSqlStore | None = None

    def begin(self) -> None:
        """As `Service.run` begins."""
        world = self._world
        self.store = store = EngineSqlStore(world.settings.database)
        self._runners: dict[str, AttemptRunner] = {}
        supervisor: Any = SimpleNamespace(deploy=self._deploy, tend=list, wake=lambda: None)
        self.loading = LoadsAtOnce(self._load, lambda: None, lambda: self._load().code)
        listener = ServiceListener(lambda facts: None, world.told, supervisor, self.loading)
        crew = InlineCrew(self, world.slots, self._runner, self._act)
        self.engine = Engine(
            store, crew, world.clock, options=EngineOptions(name="engine", pool_size=2, max_lost=world.max_lost),
            read_file=lambda path: (world.settings.artifacts / path).read_bytes(), listener=listener,
            retention=serving._retention(world.settings, store, world.clock), entropy=world.entropy,
        )  # fmt: skip
        self.service = Service(
            self.engine, store, supervisor, self.loading, code_folder=world.settings.code, locks=world.settings.locks,
            lock_of=lambda log: shard_file(world.settings.locks, log, "lock"), hand_of=lambda log: None,
            stream_processes=1, notice=world.told,
        )  # fmt: skip
        self.engine.start()
        known = self.engine.machine.state.code
        if known:
            self.service._serve(known)
            self.loading.aside()
        else:
            self.service._take(self.loading.now())

    def turn(self) -> bool:
        self.service._tend()
        return self.engine.turn(wait=False)

    def end(self) -> None:
        """The process is gone, however it ended; a stream process notices, and leaves."""
        if self.stream is not None:
            self.stream.end()
            self.stream = None
        if self.store is not None:
            self.store.close()

    def tend_stream(self) -> StreamProcess | None:
        """The stream process that is wanted, if it has to be started."""
        if self._wanted is None or self.stream is not None:
            return None
        code, groups = self._wanted
        self.stream = StreamProcess(self._world, code, groups[0])
        return self.stream

    # -- inside --------------------------------------------------------------------------------------------------

    def _act(self, events: Sequence[Event]) -> None:
        self.engine.give(events)

    def _load(self) -> LoadedCode:
        code = self._world.code
        loaded = self._world.codes[code]
        body = msgspec.json.encode(loaded.project, order="sorted")
        return LoadedCode(code, self._world.settings.code / code, definitions.decode(body), body, loaded.problems)

    def _deploy(self, code: str, path: Path, groups: list[tuple[Place, ...]]) -> None:
        if self.stream is not None:
            self.stream.end()
            self.stream = None
        self._wanted = (code, groups) if groups else None

    def _runner(self, code: str) -> AttemptRunner:
        if code not in self._runners:
            assert self.store is not None
            parts = make_parts(self._world.settings, self.store, self._world.codes[code], code, allow_pickle=True)
            self._runners[code] = AttemptRunner(parts)
        return self._runners[code]


class StreamProcess(Actor):
    """`headrace.shards.process`, without its signals and its sleep."""

    def __init__(self, world: World, code: str, places: tuple[Place, ...]) -> None:
        super().__init__("stream process")
        self._world, self._code, self._places = world, code, places
        self._runner: StreamRunner | None = None
        self._store: EngineSqlStore | None = None

    def begin(self) -> None:
        world = self._world
        loaded = world.codes[self._code]
        self._store = store = EngineSqlStore(world.settings.database)
        holdings = make_holdings(world.settings, store, loaded.project, self._code)
        opened = Opened(
            store, holdings, loaded, world.settings.locks, heads_at_deploy(store.database, self._code) or {}
        )
        name = f"stream process {world.entropy()}"
        self._runner = StreamRunner(store, ProjectParts(opened, world.clock), world.clock, name=name)
        self._runner.want(self._places)

    def turn(self) -> bool:
        """As `shards.process.run` goes round."""
        assert self._runner is not None
        try:
            return not self._runner.is_store_behind and self._runner.tick()
        except (SupersededError, DisagreementError):
            raise
        except StoreError as error:
            self._world.told(str(error))
            return True

    @property
    def is_told(self) -> bool:
        return self._runner is not None and self._runner.patience_s == POLL_S

    def end(self) -> None:
        with self._world.faults.acting(None):
            if self._runner is not None:
                self._runner.close()
            if self._store is not None:
                self._store.close()
