"""`headrace doctor`: this machine, the project and its store, one line each with what to do."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.cli.here import loaded, settings_of
from headrace.cli.output import show_json, show_line
from headrace.cli.parser import PLAIN, Common, make_app
from headrace.cli.words import length, size
from headrace.errors import HeadraceError
from headrace.settings import Settings

if TYPE_CHECKING:
    from headrace.store.sql.connection import Database

app = make_app("doctor", "Check this machine, the project and its store.")

_LOW_BYTES = 1 << 30
_WAL_LIMIT_BYTES = 256 << 20
_HELD_S = 2.0
_SHOWN = 3
_SQLITE = (3, 35)  # RETURNING, which the store uses, came with it
_REPORT = "please report it; nothing came of the event: what it should have started, headrace trigger starts"
_EXTRAS = ("lightgbm", "sklearn", "skops", "matplotlib")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: `level` is ok, warn or fail; `cure` what to do unless it is ok."""

    level: str
    what: str
    found: str
    cure: str = ""


@app.default
def doctor(*, common: Common = PLAIN) -> int:
    """Check this machine, the project and its store. The exit code is 1 where something fails."""
    findings = list(examine(common))
    if common.json:
        show_json(findings)
    else:
        for finding in findings:
            show_line(f"{finding.level:<4}  {finding.what:<10} {finding.found}", finding.level)
            if finding.cure:
                show_line(f"      try        {finding.cure}")
    return int(any(finding.level == "fail" for finding in findings))


def examine(common: Common) -> Iterator[Finding]:
    """Everything, the machine first; what comes after a failed step is left out."""
    yield from machine()
    try:
        settings = settings_of(common)
    except HeadraceError as error:
        yield _failed("settings", error)
        return
    yield from project(settings)
    yield from place(settings)
    if settings.database.exists():
        yield from store(settings)
    else:
        yield Finding("ok", "store", f"{settings.database} will be made by the first command that writes")
    yield from holders(settings)


def machine() -> Iterator[Finding]:
    yield Finding("ok", "python", f"{platform.python_version()} at {sys.executable}")
    version = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info >= _SQLITE:
        yield Finding("ok", "sqlite", version)
    else:
        yield Finding("fail", "sqlite", f"{version} is too old", "use a Python with SQLite 3.35 or newer")
    found = [name for name in _EXTRAS if importlib.util.find_spec(name) is not None]
    yield Finding("ok", "extras", ", ".join(found) or "none installed")


def project(settings: Settings) -> Iterator[Finding]:
    """The settings, whether the code imports, and whether its secrets have values."""
    if not settings.is_project:
        yield Finding("warn", "project", f"no headrace.toml at or above {settings.root}", "headrace new my-project")
        return
    env = f", env {settings.env}" if settings.env else ""
    yield Finding("ok", "project", f"{settings.name} at {settings.root}{env}")
    try:
        found = loaded(settings)
    except HeadraceError as error:
        yield _failed("code", error)
        return
    errors = [problem for problem in found.problems if problem.level == "error"]
    if errors:
        yield Finding("fail", "code", f"{errors[0].where}: {errors[0].message}", "headrace check")
    else:
        yield Finding("ok", "code", f"{len(found.project.modules)} modules import")
    from headrace.connectors.secrets import resolve
    from headrace.executors.redaction import SHORTEST

    for name in sorted({*found.secrets, *settings.secrets}):
        try:
            value = resolve(name, settings.secrets)
        except HeadraceError as error:
            yield _failed("secret", error)
            continue
        if len(value) < SHORTEST:
            found = f"{name} is shorter than {SHORTEST} characters: it is not concealed in logs and errors"
            yield Finding("warn", "secret", found, "use a longer value")
        else:
            yield Finding("ok", "secret", f"{name} from {settings.secrets[name]}")


def place(settings: Settings) -> Iterator[Finding]:
    """The disk that the store lies on."""
    from headrace.store.sql.place import refuse_remote

    folder = settings.home
    while not folder.exists():
        folder = folder.parent
    try:
        refuse_remote(folder)
    except HeadraceError as error:
        yield _failed("disk", error)
    if not os.access(folder, os.W_OK):
        yield Finding("fail", "disk", f"{folder} is not writable", "HEADRACE_HOME=/some/local/folder")
    free = shutil.disk_usage(folder).free
    if free < _LOW_BYTES:
        yield Finding("warn", "disk", f"{size(free)} free at {folder}", "free some space before a run needs it")
    else:
        yield Finding("ok", "disk", f"{size(free)} free at {folder} ({_file_system(folder)})")


def store(settings: Settings) -> Iterator[Finding]:
    """Whether database and artifacts are sound, the schema's revision, the write-ahead log, and who holds the store."""
    from headrace.app.opening import open_store
    from headrace.keeping.soundness import damaged_code, damaged_files, damaged_rows
    from headrace.storage.local import LocalStorage
    from headrace.store.sql import schema

    try:
        opened = open_store(settings)
    except HeadraceError as error:
        yield _failed("store", error)
        return
    try:
        with opened.database.reading() as connection:
            revision = schema.revision(connection)
        opened.database.refuse_broken_wal()
        damaged = _few(damaged_rows(opened.database))
        if damaged:
            yield Finding("fail", "store", damaged, "stop everything, keep the file, restore a copy")
        else:
            n_bytes = settings.database.stat().st_size
            yield Finding("ok", "store", f"{settings.database}, {size(n_bytes)}, schema {revision}, sound")
            files = damaged_files(opened.database, LocalStorage(settings.artifacts))
            if damaged := _few(chain(files, damaged_code(opened.database, settings.code))):
                yield Finding("fail", "artifacts", damaged, "restore them from a copy, or run again what made them")
            else:
                yield Finding("ok", "artifacts", f"{settings.artifacts}: all that is named is there as it was written")
        yield from _rejected(opened.database)
        wal = opened.wal_bytes()
        cure = "end the reader that holds it back; headrace dev empties it when idle" if wal > _WAL_LIMIT_BYTES else ""
        yield Finding("warn" if cure else "ok", "wal", f"{size(wal)} not yet in the database", cure)
        held = opened.holder()
        if held is not None and held[1] > _HELD_S:
            pid, seconds = held
            yield Finding("warn", "lock", f"process {pid} holds the store for {seconds:.0f} s", f"ps -fp {pid}")
    except HeadraceError as error:
        yield _failed("store", error)
    finally:
        opened.close()


def _rejected(db: Database) -> Iterator[Finding]:
    """What the engine could not decide on since the last deploy: nothing came of it."""
    from headrace.store.sql.reads.project import current_code, rejected

    code = current_code(db)
    found = [] if code is None else rejected(db, code.at_us)
    for row in found:
        about = f" about fact {row.about_seq} of {row.about_log}" if row.about_log is not None else ""
        yield Finding("warn", "event", f"an event{about} was rejected: {row.error}; it was {row.event:.200}", _REPORT)


def holders(settings: Settings) -> Iterator[Finding]:
    """Who holds the rights of this project."""
    from headrace.host.rights import ENGINE_LOCK, holder_of

    pid = holder_of(settings.locks / ENGINE_LOCK)
    if pid is None:
        yield Finding("ok", "engine", "none is running: headrace dev starts one")
    else:
        yield Finding("ok", "engine", f"process {pid} is running{_since(settings.locks / ENGINE_LOCK)}")
    if settings.locks.is_dir():
        for lock in sorted(settings.locks.glob("run-*.lock")):
            if (runner := holder_of(lock)) is not None:
                yield Finding("ok", "run", f"process {runner} runs a pipeline by itself")


def _few(damages: Iterator[str]) -> str:
    """The first few of them in one line, and whether there are more; "" for none."""
    shown = list(islice(damages, _SHOWN))
    return "; ".join(shown) + (" … and more" if next(damages, None) is not None else "")


def _since(lock: Path) -> str:
    import time

    return f" for {length(int((time.time() - lock.stat().st_mtime) * 1e6))}"


def _file_system(folder: Path) -> str:
    from headrace.store.sql.place import file_system

    mounts = Path("/proc/mounts")
    return (file_system(folder, mounts.read_text()) if mounts.exists() else None) or "unknown file system"


def _failed(what: str, error: HeadraceError) -> Finding:
    where = f"{error.where}: " if error.where else ""
    return Finding("fail", what, f"{error.code} {where}{error.message}", error.cure or "")
