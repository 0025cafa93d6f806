"""The database beneath the store: its schema, the write lock, the WAL, and errors in plain words."""

from __future__ import annotations

import itertools
import os
import pathlib
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from headrace.base.facts import Fact
from headrace.data import facts as data_facts
from headrace.errors import StoreError
from headrace.models import facts as model_facts
from headrace.runs import facts as run_facts
from headrace.store.sql import connection, schema
from headrace.store.sql.connection import Database
from headrace.store.sql.kinds import KINDS
from headrace.store.sql.lock import WriteLock
from headrace.store.sql.place import file_system, refuse_remote
from headrace.store.sql.projector import CHANGES
from headrace.streams import facts as stream_facts


def test_every_fact_has_a_kind_and_a_row_change() -> None:
    declared = {
        shape
        for module in (run_facts, data_facts, stream_facts, model_facts)
        for shape in vars(module).values()
        if isinstance(shape, type) and issubclass(shape, Fact) and shape is not Fact
    }
    assert set(KINDS.values()) == declared
    assert set(CHANGES) == declared
    assert all(name == shape.__name__ for name, shape in KINDS.items())


def test_the_known_revisions_are_those_of_the_migrations() -> None:
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory(str(pathlib.Path(schema.__file__).parent / "migrations"))
    assert tuple(script.revision for script in scripts.walk_revisions())[::-1] == schema.REVISIONS


def test_opening_a_store_that_exists_loads_no_migrations(tmp_path: Path) -> None:
    Database(tmp_path / "store.db").close()
    code = (
        "import sys; from headrace.store.sql.store import SqlStore;"
        f"SqlStore({str(tmp_path / 'store.db')!r}).head('engine');"
        "print(sorted(name for name in ('alembic', 'sqlalchemy', 'polars', 'numpy') if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_new_file_has_the_layout_that_cannot_be_had_later(tmp_path: Path) -> None:
    database = Database(tmp_path / "store.db")
    with database.write() as writing:
        found = [
            writing.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_size", "auto_vacuum", "journal_mode", "synchronous", "wal_autocheckpoint")
        ]
    assert found == [16384, 2, "wal", 2, 0]
    database.close()


@pytest.mark.parametrize("body", [b"not a database at all, but a longer text than a header" * 9, None])
def test_a_foreign_file_is_refused_and_left_alone(tmp_path: Path, body: bytes | None) -> None:
    path = tmp_path / "store.db"
    if body is None:
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE mine (a)")
        other.close()
    else:
        path.write_bytes(body)
    before = path.read_bytes()
    with pytest.raises(StoreError) as caught:
        Database(path)
    assert caught.value.code == "HR4040"
    assert path.read_bytes() == before


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nowhere") as caught:
        Database(tmp_path / "nowhere" / "store.db")
    assert caught.value.code == "HR4030"


def test_network_file_systems_are_refused_by_the_longest_mount_point() -> None:
    mounts = "/dev/vda / ext4 rw 0 0\nserver:/home /home nfs4 rw 0 0\n/dev/vdb /home/ann/disk ext4 rw 0 0\n"
    assert file_system(Path("/home/ann/x"), mounts) == "nfs4"
    refuse_remote(Path("/home/ann/disk/x"), mounts)
    refuse_remote(Path("/homes/x"), mounts)
    with pytest.raises(StoreError, match="nfs4"):
        refuse_remote(Path("/home/ann/x"), mounts)
    with pytest.raises(StoreError, match=r"fuse\.sshfs"):
        refuse_remote(Path("/mnt/my disk/x"), "a / ext4 rw 0 0\nb /mnt/my\\040disk fuse.sshfs rw 0 0\n")


def test_a_program_that_holds_the_database_is_reported_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_BUSY_S", 0.01)
    database = Database(tmp_path / "store.db")
    other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="another program") as caught, database.write():
        pass
    assert caught.value.code == "HR4050"
    other.execute("ROLLBACK")
    other.close()
    with database.write():
        pass
    database.close()


def test_the_lock_names_its_holder_only_while_it_is_held(tmp_path: Path) -> None:
    lock = WriteLock(tmp_path / "lock")
    assert lock.holder() is None
    lock.acquire(None)
    holder = lock.holder()
    assert holder is not None
    pid, seconds = holder
    assert pid == os.getpid()
    assert 0 <= seconds < 60
    lock.release()
    assert lock.holder() is None
    lock.close()


def test_a_writer_with_patience_gives_up_and_names_the_holder(tmp_path: Path) -> None:
    holder, waiting = WriteLock(tmp_path / "lock"), WriteLock(tmp_path / "lock")
    holder.acquire(None)
    with pytest.raises(StoreError, match=f"process {os.getpid()} for") as caught:
        waiting.acquire(0.01)
    assert caught.value.code == "HR4050"
    holder.release()
    # The place that was given up in the queue is passed on, not kept.
    waiting.acquire(10)
    waiting.release()
    holder.close()
    waiting.close()


def test_a_waiting_writer_gets_the_lock_when_it_is_free(tmp_path: Path) -> None:
    holder, waiting = WriteLock(tmp_path / "lock"), WriteLock(tmp_path / "lock")
    holder.acquire(None)
    got = threading.Event()

    def wait() -> None:
        waiting.acquire(10)
        got.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not got.is_set()
    holder.release()
    thread.join(120)
    assert got.is_set()
    assert holder.holder() is not None
    waiting.release()
    assert holder.holder() is None
    holder.close()
    waiting.close()


def test_the_wal_starts_again_once_it_was_moved_into_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = 40 * (schema.PAGE_BYTES + 24)
    monkeypatch.setattr(connection, "CHECKPOINT_BYTES", limit)
    database = Database(tmp_path / "store.db")
    seen: list[int] = []
    for _ in range(150):
        with database.write() as writing:
            writing.execute("INSERT INTO topic_bodies (body) VALUES (?)", (bytes(20_000),))
        seen.append(database.wal_bytes())
        assert database.wal_bytes() <= (tmp_path / "store.db-wal").stat().st_size
    assert max(seen) < 1.5 * limit
    assert sum(after < before for before, after in itertools.pairwise(seen)) >= 3
    database.checkpoint_truncate()
    assert database.wal_bytes() == 0
    assert (tmp_path / "store.db-wal").stat().st_size == 0
    assert database.read("SELECT count(*) FROM topic_bodies") == [(150,)]
    database.close()


def test_a_wal_that_a_reader_holds_back_is_over_the_limit_until_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CHECKPOINT_BYTES", 10 * schema.PAGE_BYTES)
    monkeypatch.setattr(connection, "WAL_LIMIT_BYTES", 30 * schema.PAGE_BYTES)
    database = Database(tmp_path / "store.db")

    def write(times: int) -> None:
        for _ in range(times):
            with database.write() as writing:
                writing.execute("INSERT INTO topic_bodies (body) VALUES (?)", (bytes(20_000),))

    write(1)
    with database.reading(is_snapshot=True) as slow:
        slow.execute("SELECT count(*) FROM topic_bodies").fetchone()
        write(30)
        assert database.wal_is_over_limit()
    write(30)
    assert not database.wal_is_over_limit()
    database.close()


def test_a_checkpoint_that_fails_is_no_failure_of_the_commit_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CHECKPOINT_BYTES", 2 * schema.PAGE_BYTES)
    database = Database(tmp_path / "store.db")
    refused: list[str] = []

    def refuse(mode: str) -> None:
        refused.append(mode)
        raise StoreError("the disk does not answer", code="HR4080")

    def write() -> None:
        with database.write() as writing:
            writing.execute("INSERT INTO topic_bodies (body) VALUES (?)", (bytes(100_000),))

    with monkeypatch.context() as patch:
        patch.setattr(database, "_checkpoint", refuse)
        write()
        assert refused == ["PASSIVE"]
        with pytest.raises(StoreError, match="does not answer"):
            write()  # told where nothing is written yet
    assert database.read("SELECT count(*) FROM topic_bodies") == [(1,)]
    write()
    assert database.read("SELECT count(*) FROM topic_bodies") == [(2,)]
    database.close()


def test_a_child_of_a_fork_opens_its_own_connections(tmp_path: Path) -> None:
    code = f"""
import os
from headrace.store.sql.store import SqlStore
from headrace.ports import Append
from headrace.runs.facts import LogTaken
store = SqlStore({str(tmp_path / "store.db")!r})
store.commit([Append("parent", 0, (LogTaken(1, "p", 1),))])
child = os.fork()
if child == 0:
    store.commit([Append("child", 0, (LogTaken(1, "c", 1),))])
    store.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
store.commit([Append("parent", 1, (LogTaken(2, "p", 1),))])
print(store.heads(""))
store.close()
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "{'child': 1, 'parent': 2}"


def test_a_crash_inside_a_migration_leaves_the_old_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from alembic.operations import Operations

    made: list[str] = []
    execute = Operations.execute

    def power_fails(self: Operations, sqltext: str, **options: object) -> None:
        made.append(sqltext)
        if len(made) == 20:
            raise RuntimeError("power cut")
        execute(self, sqltext)

    monkeypatch.setattr(Operations, "execute", power_fails)
    unfinished = sqlite3.connect(tmp_path / "image.db", isolation_level=None)
    with pytest.raises(RuntimeError, match="power cut"):
        schema.upgrade(unfinished)
    unfinished.close()
    again = sqlite3.connect(tmp_path / "image.db", isolation_level=None)
    assert again.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    again.close()


def test_a_store_that_was_deleted_moved_or_replaced_under_its_user_is_not_used_on(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    database = Database(home / "store.db")
    try:
        database.refuse_elsewhere()
        home.rename(tmp_path / "moved")
        with pytest.raises(StoreError, match="deleted or moved") as gone:
            database.refuse_elsewhere()
        assert gone.value.code == "HR4031"
        home.mkdir()
        Database(home / "store.db").close()
        with pytest.raises(StoreError, match="deleted or moved"):
            database.refuse_elsewhere()
        (home / "store.db").unlink()
        (tmp_path / "moved" / "store.db").rename(home / "store.db")
        database.refuse_elsewhere()
    finally:
        database.close()
