"""The shape of the database: which revision a file has, how a new one is made, how an older one is lifted.

A new store runs the statements of all revisions as they stand; Alembic and SQLAlchemy, 1.3 s to import, are for the
upgrade of an older one. Opening an up-to-date store reads one row.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sqlite3
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from headrace.errors import StoreError

REVISIONS = ("0001",)
"""Every revision of the schema, oldest first; the last is what this version of Headrace works on."""

PAGE_BYTES = 16384
_MEMORY_PAGE_BYTES = 4096  # smaller images copy faster, and memory has no write amplification


def revision(connection: sqlite3.Connection) -> str | None:
    """The schema's revision; None where the file holds no Headrace store."""
    try:
        found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone() if found else None
    except UnicodeDecodeError:  # a page of noise where the schema was
        return None
    return None if row is None else str(row[0])


def is_current(connection: sqlite3.Connection, path: str) -> bool:
    """Whether the store has today's schema.

    Raises StoreError: HR4010 where a newer Headrace made it, HR4040 where it is no store at all.
    """
    found = revision(connection)
    if found is None:
        raise StoreError(
            "this file is not a Headrace store",
            where=path,
            cure="name another file, or move this one away: Headrace makes a new store where there is none",
            code="HR4040",
        )
    if found not in REVISIONS:
        raise StoreError(
            f"this store has schema {found}; this version of Headrace knows {REVISIONS[-1]} and older",
            where=path,
            cure="it was written by a newer Headrace: upgrade with  pip install --upgrade headrace",
            code="HR4010",
        )
    return found == REVISIONS[-1]


def upgrade(connection: sqlite3.Connection) -> None:
    """Bring the schema to today's revision in one transaction: a crash leaves the old one or the new one."""
    import sqlalchemy
    from alembic import command
    from alembic.config import Config

    engine = sqlalchemy.create_engine("sqlite://", creator=lambda: connection, poolclass=sqlalchemy.StaticPool)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.connect() as wrapped:
        wrapped.exec_driver_sql("BEGIN IMMEDIATE")
        config.attributes["connection"] = wrapped
        command.upgrade(config, "head")
        wrapped.commit()
        wrapped.detach()


@cache
def image() -> bytes:
    """A pristine database file in WAL mode, made once per process."""
    plain = _scratch(PAGE_BYTES)
    # Bytes 18 and 19 of the header are the file format: 2 means that the file is read and written through a WAL.
    return plain[:18] + b"\x02\x02" + plain[20:]


@cache
def memory_image() -> bytes:
    """A pristine database to `deserialize` into a `:memory:` connection, made once per process."""
    return _scratch(_MEMORY_PAGE_BYTES)


def create(path: Path) -> None:
    """Put a new database at `path`, complete or not at all. The caller holds the write lock."""
    body = image()
    scratch = path.with_name(path.name + ".new")
    with open(scratch, "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    os.replace(scratch, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _scratch(page_bytes: int) -> bytes:
    with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
        file = Path(folder) / "image.db"
        connection = sqlite3.connect(file, isolation_level=None)
        try:
            connection.execute(f"PRAGMA page_size = {page_bytes}")
            # Cannot be switched on later; without it a file never gives space back.
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            _make(connection)
        finally:
            connection.close()
        return file.read_bytes()


def _make(connection: sqlite3.Connection) -> None:
    """All revisions at once on an empty file, with the mark that Alembic would leave."""
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL,"
        " CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
    )
    for number in REVISIONS:
        for statement in _migration(number).STATEMENTS:
            connection.execute(statement)
    connection.execute("INSERT INTO alembic_version (version_num) VALUES (?)", (REVISIONS[-1],))
    connection.execute("COMMIT")


def _migration(number: str) -> Any:
    package = f"{__package__}.migrations.versions"
    names = [found.name for found in pkgutil.iter_modules(importlib.import_module(package).__path__)]
    return importlib.import_module(f"{package}.{next(name for name in names if name.startswith(number))}")
