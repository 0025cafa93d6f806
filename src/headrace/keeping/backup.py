"""Backing a project's state up while it is in use, and putting a backup in place where there is none."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TypeVar

import msgspec

from headrace.engine.code import source_files
from headrace.errors import CodecError, NotFoundError, RefusedError, StoreError
from headrace.host import whereabouts
from headrace.host.clock import SystemClock
from headrace.host.rights import backing_up, take_engine_right
from headrace.keeping.soundness import damaged_code, damaged_files, damaged_rows
from headrace.runs.facts import Value
from headrace.settings import Settings
from headrace.storage.backup import (
    FORMAT,
    MANIFEST,
    Kept,
    Manifest,
    copy_file,
    damages,
    fsync_folder,
    fsync_folders,
    measured,
    not_whole,
    read_manifest,
    refused,
    write,
    write_manifest,
)
from headrace.storage.local import LocalStorage
from headrace.storage.values import Values
from headrace.store.sql.backup import Copy, copy_database
from headrace.store.sql.connection import Database
from headrace.store.sql.lock import WriteLock
from headrace.store.sql.reads import soundness

DATABASE = "headrace.db"
_PATIENCE_S = 30.0
_AT_ONCE = 8  # each file waits for the disk once
_SHOWN = 3

T = TypeVar("T")
R = TypeVar("R")

Tell = Callable[[str, int, int], None]
"""Hears how far a part of the work is: its name, and how much of how much is done (bytes, or files)."""


def back_up(settings: Settings, folder: Path, tell: Tell) -> Manifest:
    """Copy the database as it is at one moment, then every file that its rows name, then write the manifest.

    Artifacts are never changed, are on the disk before a row names them, and are not deleted while this runs, so what
    the rows of that moment name is there afterwards too. Raises NotFoundError (HR2070) without a store, RefusedError
    (HR3052) where the folder is not empty, StoreError where the disk refuses or the database is damaged: nothing is left
    in the folder then.
    """
    if not settings.database.exists():
        raise NotFoundError(
            "there is no store to back up", where=str(settings.home), cure="headrace dev", code="HR2070"
        )
    _make_empty(folder)
    with backing_up(settings.locks, secrets.token_hex(4)):
        return _back_up(settings, folder, tell)


def _back_up(settings: Settings, folder: Path, tell: Tell) -> Manifest:
    made_us = SystemClock().now_us()
    try:
        _copy_database(settings, folder, tell)
        copy = Copy(folder / DATABASE)
        try:
            files = _copy_files(settings, folder, copy, tell)
            damaged = (
                *damaged_files(copy, LocalStorage(folder / "artifacts")),
                *damaged_code(copy, folder / "code"),
            )
            heads = copy.heads()
        finally:
            copy.close()
        here = whereabouts.remembered(settings.home) or whereabouts.whereabouts(settings.home, secrets.token_hex(8))
        write(folder / whereabouts.FILE, msgspec.json.encode(here) + b"\n")
        files += [measured(folder / name, name) for name in (DATABASE, whereabouts.FILE)]
        fsync_folders(folder, (file.path for file in files))
        manifest = Manifest(
            FORMAT, version("headrace"), settings.name, here.store, made_us, heads, tuple(files), damaged
        )
        write_manifest(folder, manifest)
    except OSError as error:
        _empty(folder)
        raise refused(error, error.filename or str(folder)) from error
    except BaseException:
        _empty(folder)
        raise
    return manifest


def restore(settings: Settings, folder: Path, tell: Tell) -> Manifest:
    """Put a backup where the project has no store. Until the last step, which is one rename, it has none.

    All of the backup is verified before anything is written. Whose identity the store has is not decided here: the
    engine asks at its first start, as for every folder that was moved or copied. Raises StoreError (HR4042) where the
    backup is not whole, RefusedError where the project has a store (HR3053) or is another one (HR3054).
    """
    manifest = read_manifest(folder)
    if settings.is_project and manifest.project != settings.name:
        raise RefusedError(
            f"this is a backup of the project {manifest.project!r}, and the project here is {settings.name!r}",
            where=str(folder),
            cure=f"go to the folder of {manifest.project!r}, or name it with --project",
            code="HR3054",
        )
    _refuse_store(settings)
    _verify(folder, manifest, tell)
    with take_engine_right(settings.locks):
        _refuse_store(settings)
        others = [file for file in manifest.files if file.path != DATABASE]
        _all(others, lambda file: copy_file(folder / file.path, settings.home / file.path, file.path), "files", tell)
        fsync_folders(settings.home, (file.path for file in others))
        scratch = settings.database.with_name(f"{DATABASE}.restored")
        tell("database", 0, 1)
        copy_file(folder / DATABASE, scratch, DATABASE)
        with _write_lock(settings):
            _refuse_store(settings)
            scratch.rename(settings.database)
            fsync_folder(settings.home)
        tell("database", 1, 1)
    return manifest


# -- backing up ----------------------------------------------------------------------------------------------------------


def _copy_database(settings: Settings, folder: Path, tell: Tell) -> None:
    database = Database(settings.database)
    try:
        copy_database(database, folder / DATABASE, lambda done, of: tell("database", done, of))
    finally:
        database.close()
    try:
        copy = Copy(folder / DATABASE)
        try:
            found = _few(damaged_rows(copy))
        finally:
            copy.close()
    except StoreError as error:  # too damaged to be read to its end
        found = error.message
    if found:
        raise _damaged(settings, found)


def _copy_files(settings: Settings, folder: Path, copy: Copy, tell: Tell) -> list[Kept]:
    """Everything besides the database. What is gone is left out; that rows name it is found afterwards."""
    paths = [f"artifacts/{path}" for path in sorted(_artifacts(settings, copy))]
    for code in soundness.codes(copy):
        version = settings.code / code
        if version.is_dir():
            paths += [str(file.relative_to(settings.home)) for file in source_files(version)]
    if settings.logs.is_dir():
        paths += [f"logs/{file.name}" for file in sorted(settings.logs.iterdir()) if file.is_file()]

    def keep(path: str) -> Kept | None:
        try:
            return copy_file(settings.home / path, folder / path, path)
        except FileNotFoundError:
            return None

    return [kept for kept in _all(paths, keep, "files", tell) if kept is not None]


def _artifacts(settings: Settings, copy: Copy) -> set[str]:
    """The path of every artifact that a row names, below the root of the artifacts."""
    values = Values(LocalStorage(settings.artifacts))
    found: set[str] = set(soundness.parts(copy))
    try:
        for result in soundness.results(copy):
            found.update(_paths(values, result.value))
        for kept in soundness.versions(copy):
            found.update(_paths(values, kept.value))
            found.update(filter(None, [kept.golden]))
    except msgspec.MsgspecError as error:
        raise _damaged(settings, f"a row that names artifacts cannot be read: {error}") from error
    return found


def _paths(values: Values, value: Value) -> Iterator[str]:
    try:
        for file in values.files(value):
            if file.path is not None:
                yield file.path
    except CodecError:
        return  # its list of members is damaged: that is said of the copy as well


def _damaged(settings: Settings, found: str) -> StoreError:
    return StoreError(
        f"the database is damaged, so there is no backup of it: {found}",
        where=str(settings.database),
        cure="keep the backups that you have; headrace doctor names what is broken",
        code="HR4040",
    )


def _make_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RefusedError(
            "a backup goes into an empty folder, and this one is not",
            where=str(folder),
            cure=f"name another one:  headrace backup {folder}-2",
            code="HR3052",
        )
    folder.mkdir(parents=True, exist_ok=True)


def _empty(folder: Path) -> None:
    """Take away what was copied; the manifest first, so that no half of a backup can be taken for one."""
    (folder / MANIFEST).unlink(missing_ok=True)
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


# -- restoring -----------------------------------------------------------------------------------------------------------


def _verify(folder: Path, manifest: Manifest, tell: Tell) -> None:
    """Raise StoreError where the backup is not what was written, or its database is not sound."""
    tell("verified", 0, manifest.size_bytes)
    if DATABASE not in {file.path for file in manifest.files}:
        raise not_whole(folder, f"it has no {DATABASE}")
    if found := _few(damages(folder, manifest)):
        raise not_whole(folder, found)
    copy = Copy(folder / DATABASE)
    try:
        if found := _few(soundness.broken_pages(copy)):
            raise not_whole(folder, f"its database is damaged: {found}")
    finally:
        copy.close()
    tell("verified", manifest.size_bytes, manifest.size_bytes)


def _refuse_store(settings: Settings) -> None:
    """Raise RefusedError where there is a store, or what is left of one: a log beside it would be taken for its own."""
    for end in ("", "-wal", "-shm"):
        path = settings.database.with_name(DATABASE + end)
        if path.exists():
            raise RefusedError(
                "the project has a store already, and a restore does not replace one",
                where=str(path),
                cure=f"end what uses it, move it away, and restore again:  mv {settings.home} {settings.home}.old",
                code="HR3053",
            )


@contextmanager
def _write_lock(settings: Settings) -> Generator[None]:
    """Who makes a new store holds this lock, so that none is made meanwhile."""
    lock = WriteLock(settings.database.with_name(f"{DATABASE}.lock"))
    try:
        lock.acquire(_PATIENCE_S)
        try:
            yield
        finally:
            lock.release()
    finally:
        lock.close()


# -- both ----------------------------------------------------------------------------------------------------------------


def _all(things: list[T], act: Callable[[T], R], what: str, tell: Tell) -> list[R]:
    """Act on all of them, several at once, and tell how many are done."""
    done: list[R] = []
    tell(what, 0, len(things))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for result in pool.map(act, things):
            done.append(result)
            tell(what, len(done), len(things))
    return done


def _few(damages: Iterable[str]) -> str:
    """The first few of them in one line, and whether there are more; "" for none."""
    found = iter(damages)
    shown = list(islice(found, _SHOWN))
    return "; ".join(shown) + (" … and more" if next(found, None) is not None else "")
