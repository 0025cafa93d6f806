"""Opening a project: its settings here, its store, and access to its data for scripts, notebooks and tests."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path

from headrace.base.place import place
from headrace.connectors.here import HereAccess
from headrace.connectors.holdings import Holdings
from headrace.data.access import Access
from headrace.definitions.project import Project
from headrace.errors import ProjectError, RefusedError, StoreError
from headrace.graph.loaded import Loaded
from headrace.graph.project import load_project
from headrace.host import whereabouts
from headrace.host.clock import SystemClock
from headrace.host.rights import ENGINE_LOCK, holder_of
from headrace.settings import Settings, read_settings
from headrace.storage.local import LocalStorage
from headrace.store.sql import failures
from headrace.store.sql.engine_store import EngineSqlStore
from headrace.store.sql.store import SqlStore

HERE = "local"  # the code version of what runs in process: the code as it is there

_opened: dict[Path, tuple[EngineSqlStore, Access]] = {}  # one at most: of the project where the work is


def open_store(settings: Settings) -> EngineSqlStore:
    """The project's store; made where there is none. Under pytest the project's own store is refused.

    Raises StoreError where it cannot be opened or made: in a folder that may only be read, say (HR4030).
    """
    own = place()
    if own is not None and not settings.home.is_relative_to(own):
        raise RefusedError(
            f"a test opens the project's own store {settings.database}",
            cure="leave the store to the test kit; or mark the test with @pytest.mark.headrace_project",
            code="HR3040",
        )
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
        keep_out = settings.home / ".gitignore"
        if not keep_out.exists():
            keep_out.write_text("*\n")  # the state is no part of what is shared
    except OSError as error:
        raise failures.plain(error, str(settings.home)) from error
    is_new = not settings.database.exists()
    store = EngineSqlStore(settings.database)
    if not is_new and holder_of(settings.locks / ENGINE_LOCK) is None:
        try:
            store.database.refuse_broken_wal()  # an engine that lives has looked, and reads what it wrote
        except StoreError:
            store.close()
            raise
    if is_new:
        whereabouts.remember(settings.home, secrets.token_hex(8))
    return store


def make_holdings(settings: Settings, store: SqlStore, project: Project, code: str) -> Holdings:
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


def first_problem(loaded: Loaded) -> ProjectError:
    """What is wrong with code that does not load."""
    first = loaded.errors[0]
    return ProjectError(first.message, where=first.where, cure=first.cure or None, code=first.code)


def current_settings() -> Settings:
    """The settings for code that runs outside a worker: the project around the working directory, in a test its own."""
    settings = read_settings(Path.cwd())
    own = place()
    return settings if own is None else replace(settings, home=own / ".headrace")


def default_access() -> Access:
    """Access for scripts, notebooks and tests: acts at once on the store of `current_settings()`."""
    settings = current_settings()
    if settings.database not in _opened:
        store = open_store(settings)
        project = load_project(settings.root, settings.name).project if settings.is_project else Project("here")
        while _opened:
            _opened.popitem()[1][0].close()
        _opened[settings.database] = store, HereAccess(make_holdings(settings, store, project, HERE), store)
    return _opened[settings.database][1]
