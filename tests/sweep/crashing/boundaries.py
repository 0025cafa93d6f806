"""Where processes reach the outside: the real store, artifacts, hands and workers, each call a boundary."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from crashing.faults import Death, Faults
from headrace.app import here
from headrace.engine import loop
from headrace.errors import EngineUnavailableError, StoreError
from headrace.executors import attempt
from headrace.executors import here as here_crew
from headrace.executors.here import HereCrew
from headrace.ports import Clock
from headrace.shards import bound
from headrace.shards.hand import HandFile
from headrace.storage import local
from headrace.storage.local import LocalStorage
from headrace.store.sql.connection import Database
from headrace.store.sql.engine_store import EngineSqlStore
from headrace.store.sql.store import SqlStore

READS = (
    "head", "log", "facts", "requests", "answer", "topic_columns", "restore", "news", "active_run", "open_run", "open_runs", "run_row",
    "slots_run", "run_of_key", "project_of", "watermarks", "change_count", "wal_is_over_limit", "partitions",
    "old_details", "left_files", "oldest_details_us",
)  # fmt: skip
CREW = ("spawn", "start", "answer_pin", "stop", "cancel", "kill", "abandon")


class Stage:
    """The world that is being played: its failures, its time, and what user code asks of it.

    `during` is told that user code got to a place, and says how often; `switches` are what people have set.
    """

    def __init__(self) -> None:
        self.faults = Faults({})
        self.clock: Clock | None = None
        self.sleep: Callable[[float], object] = time.sleep
        self.entropy: Callable[[], int] = lambda: 0
        self.during: Callable[[str], int] = lambda name: 0
        self.switches: set[str] = set()


stage = Stage()


@contextmanager
def installed() -> Generator[None]:
    """Every call of the port of the store, and every read below it; artifacts, hands, the worker of a run in process."""
    with ExitStack() as patches:
        for owner, name, made in _patches():
            patches.enter_context(mock.patch.object(owner, name, made))
        yield


def crew_call(name: str, do: Callable[[], Any], what: str) -> Any:
    """A call of a crew's port. Where no process can be had, `spawn` says so; the rest fails as pipes do."""

    def error() -> Exception:
        if name == "spawn":
            return EngineUnavailableError("swept: no process can be started", code="HR5030")
        return OSError(errno.EPIPE, "swept: the pipe is broken")

    return stage.faults.cross(do, lambda: f"crew.{name} {what}", error)


# -- inside ----------------------------------------------------------------------------------------------------------


def _patches() -> Iterator[tuple[Any, str, Any]]:
    for name in READS:
        yield EngineSqlStore, name, _store_call(name, getattr(EngineSqlStore, name), is_read=True)
    for name in ("commit", "ask"):
        yield EngineSqlStore, name, _store_call(name, _of_all_stores(name), is_read=False)
    yield EngineSqlStore, "tidy", _store_call("tidy", EngineSqlStore.tidy, is_read=False)
    yield Database, "read", _query(Database.read)
    yield Database, "reading", _reading(Database.reading)
    yield LocalStorage, "write", _write(LocalStorage.write)
    yield local, "_fsync", _fsync(local._fsync)
    yield Path, "mkdir", _path_call("mkdir", Path.mkdir)
    yield Path, "unlink", _path_call("unlink", Path.unlink)
    yield HandFile, "take", _hand_call("take", HandFile.take)
    yield HandFile, "drop", _hand_call("drop", HandFile.drop)
    for name in CREW:
        yield HereCrew, name, _here_call(name, getattr(HereCrew, name))
    words = SimpleNamespace(randbits=lambda _: stage.entropy(), token_hex=lambda _: f"{stage.entropy():x}")
    yield loop, "secrets", words
    yield here, "secrets", words
    # How much is handed out at once follows from how long attempts took.
    yield attempt, "time", SimpleNamespace(monotonic_ns=lambda: 0)
    yield here_crew, "time", SimpleNamespace(sleep=lambda seconds: stage.sleep(seconds))
    # A model is loaded at once instead of beside the loop, so that each point is the same whenever it is repeated.
    yield bound, "threading", SimpleNamespace(Thread=_AtOnce, Lock=bound.threading.Lock)


class _AtOnce:
    def __init__(self, target: Callable[[], None], **_: object) -> None:
        self.start = target


def _of_all_stores(name: str) -> Any:
    """Looked up when it is called: who listens to all stores is heard."""
    return lambda store, *args, **named: getattr(SqlStore, name)(store, *args, **named)


def _refuses(code: str) -> Callable[[], StoreError]:
    return lambda: StoreError("swept: the store refuses", code=code)


def _store_call(name: str, original: Any, *, is_read: bool) -> Any:
    def call(store: EngineSqlStore, *args: Any, **named: Any) -> Any:
        def what() -> str:
            if name == "commit":
                said = ", ".join(f"{a.log}: {' '.join(type(fact).__name__ for fact in a.facts)}" for a in args[0])
            else:
                said = ", ".join(str(arg)[:40] for arg in args)
            return f"store.{name}({said})"

        return stage.faults.cross(lambda: original(store, *args, **named), what, _refuses("HR4080"), is_read=is_read)

    return call


def _query(original: Any) -> Any:
    def read(database: Database, sql: str, parameters: Any = ()) -> Any:
        def what() -> str:
            return f"store.read({' '.join(sql.split())[:90]})"

        return stage.faults.cross(lambda: original(database, sql, parameters), what, _refuses("HR4080"), is_read=True)

    return read


def _reading(original: Any) -> Any:
    @contextmanager
    def reading(database: Database, *, is_snapshot: bool = False) -> Generator[Any]:
        stage.faults.cross(lambda: None, lambda: "store.reading()", _refuses("HR4080"), is_read=True)
        with original(database, is_snapshot=is_snapshot) as connection:
            yield connection

    return reading


def _write(original: Any) -> Any:
    def write(storage: LocalStorage, path: str, fill: Callable[[Path], None]) -> Path:
        def filled(target: Path) -> None:
            def torn() -> None:
                fill(target)
                with target.open("r+b") as file:
                    file.truncate(target.stat().st_size // 2)

            stage.faults.cross(
                lambda: fill(target),
                lambda: f"artifacts.fill({path.rpartition('/')[2]})",
                lambda: OSError(errno.ENOSPC, "swept: no space left"),
                torn=torn,
            )

        return original(storage, path, filled)

    return write


def _fsync(original: Any) -> Any:
    def fsync(path: Path) -> None:
        stage.faults.cross(
            lambda: original(path),
            lambda: f"artifacts.fsync({path.name})",
            lambda: OSError(errno.EIO, "swept: fsync failed"),
        )

    return fsync


def _path_call(name: str, original: Any) -> Any:
    def call(path: Path, *args: Any, **named: Any) -> Any:
        if "artifacts" not in path.parts:
            if stage.faults.is_dead:
                raise Death
            return original(path, *args, **named)
        return stage.faults.cross(
            lambda: original(path, *args, **named),
            lambda: f"artifacts.{name}({path.name})",
            lambda: OSError(errno.EIO, f"swept: {name} failed"),
        )

    return call


def _hand_call(name: str, original: Any) -> Any:
    def call(hand: HandFile, *args: Any) -> Any:
        return stage.faults.cross(
            lambda: original(hand, *args),
            lambda: f"hand.{name}({', '.join(map(str, args))})",
            lambda: OSError(errno.ENOSPC, "swept: no space left"),
        )

    return call


def _here_call(name: str, original: Any) -> Any:
    def call(crew: HereCrew, *args: Any) -> Any:
        return crew_call(name, lambda: original(crew, *args), ", ".join(str(arg)[:40] for arg in args))

    return call
