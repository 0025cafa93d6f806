"""Where a command acts: the project's settings, its store, and whether an engine is alive."""

from __future__ import annotations

import getpass
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.cli.output import notice
from headrace.cli.parser import Common
from headrace.errors import ProjectError, SettingsError
from headrace.settings import FILE, Settings, read_settings

if TYPE_CHECKING:
    from headrace.definitions.project import Project
    from headrace.graph.loaded import Loaded
    from headrace.store.sql.connection import Database
    from headrace.store.sql.store import SqlStore


@dataclass(frozen=True)
class Here:
    """The project that a command is about, with its store open."""

    settings: Settings
    store: SqlStore

    @property
    def db(self) -> Database:
        return self.store.database

    @property
    def engine(self) -> int | None:
        """Pid of the living engine; None where there is none."""
        from headrace.host.rights import ENGINE_LOCK, holder_of

        return holder_of(self.settings.locks / ENGINE_LOCK)

    @cached_property
    def project(self) -> Project:
        """What is deployed where an engine is alive, else what the files say now, else what was deployed last.

        Raises ProjectError where the files do not load and nothing was ever deployed.
        """
        from headrace.definitions import project as definitions
        from headrace.store.sql.reads.project import current_code

        row = current_code(self.db)
        deployed = None if row is None else definitions.decode(row.project)
        if deployed is not None and (self.engine is not None or not self.settings.is_project):
            return deployed
        if not self.settings.is_project:
            return definitions.Project(self.settings.name)
        try:
            return sound(self.settings).project
        except ProjectError as error:
            if deployed is None:
                raise
            notice(f"the code does not load ({error.where}): this is about the version deployed last; headrace check")
            return deployed

    def is_undeployed(self, kind: str, name: str) -> bool:
        """Whether the files declare a thing of that kind and name, beside an engine that serves what they were before."""
        if self.engine is None or not self.settings.is_project:
            return False
        return name in getattr(loaded(self.settings).project, f"{kind}s")


def settings_of(common: Common) -> Settings:
    """The settings that the common options name."""
    start = common.project or Path.cwd()
    if not start.is_dir():
        raise SettingsError(f"there is no folder {start}", where="--project", cure="name the project's folder")
    settings = read_settings(start, env=common.env, environ=os.environ)
    try:
        f"{settings.root}{settings.home}".encode()
    except UnicodeEncodeError:
        raise SettingsError(
            "the name of the project's folder is not UTF-8: its state could not say where it lies",
            where=repr(os.fsencode(settings.root)),
            cure="rename the folder",
        ) from None
    return settings


def project_settings(common: Common) -> Settings:
    """The same, where a command cannot do without a project."""
    settings = settings_of(common)
    if not settings.is_project:
        raise no_project(settings)
    return settings


def no_project(settings: Settings) -> SettingsError:
    """The error for a folder without a project; its cure names the file that was probably meant."""
    files = (file for file in sorted(settings.root.glob("*.py")) if "headrace" in file.read_text(errors="replace"))
    file = next(files, None)
    alone = "" if file is None else f"headrace run {file.name} runs that file by itself; for a project "
    return SettingsError(
        f"there is no {FILE} here or above",
        where=str(settings.root),
        cure=f"{alone}headrace new my-project, or go to a project's folder",
        code="HR1303",
    )


def tell_store(settings: Settings) -> None:
    """Say where the store is, where there is none yet and no project that it would be looked for in."""
    if not settings.is_project and not settings.database.exists():
        notice(f"no {FILE} here or above: {settings.home} is the store")


@contextmanager
def open_here(common: Common, *, writes: bool = False) -> Generator[Here]:
    """Open the project's store. Who only reads makes no store where there is none: an empty one stands in for it."""
    settings = settings_of(common)
    tell_store(settings)
    if writes:
        from headrace.app.opening import open_store

        store: SqlStore = open_store(settings)
    else:
        from headrace.store.sql.store import SqlStore

        # Without the composition root, which would load frames and executors to print a listing.
        store = SqlStore(settings.database if settings.database.exists() else ":memory:")
    try:
        yield Here(settings, store)
    finally:
        store.close()


def loaded(settings: Settings) -> Loaded:
    """The project of these settings, imported into this process. What is wrong with it is in `problems`."""
    from headrace.graph.project import load_project

    return load_project(settings.root, settings.name, settings.modules or None)


def sound(settings: Settings) -> Loaded:
    """The same, where mistakes cannot be lived with. Raises ProjectError for the first one."""
    return free_of_mistakes(loaded(settings))


def free_of_mistakes(found: Loaded) -> Loaded:
    """What was loaded. Raises ProjectError for the first mistake in it."""
    errors = [problem for problem in found.problems if problem.level == "error"]
    if errors:
        first = errors[0]
        more = f" (and {len(errors) - 1} more: headrace check)" if len(errors) > 1 else ""
        raise ProjectError(first.message + more, where=first.where, cure=first.cure, code=first.code)
    return found


def now_us() -> int:
    return time.time_ns() // 1000


def user() -> str:
    """Who asks: the login name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no login name: a container with a bare user id
        return f"uid-{os.getuid()}"
