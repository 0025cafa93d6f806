"""What old runs leave on the disk goes, but for what rows still name and what somebody has open."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import numpy as np
import pytest

from headrace.runs.rows import LeftFiles
from headrace.storage.local import LocalStorage
from headrace.storage.run_files import LocalRunFiles
from headrace.storage.values import Values


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "artifacts")


@pytest.fixture
def files(storage: LocalStorage, tmp_path: Path) -> LocalRunFiles:
    return LocalRunFiles(storage, tmp_path / "logs", lambda: False)


def there(storage: LocalStorage) -> list[str]:
    return sorted(str(path.relative_to(storage.root)) for path in storage.root.rglob("*") if path.is_file())


def test_a_value_that_is_kept_keeps_its_members(storage: LocalStorage, files: LocalRunFiles) -> None:
    value = Values(storage).encode([np.arange(3), np.arange(4)], prefix="r1/t/0/1-1")
    members = there(storage)
    assert len(members) == 2
    storage.write_bytes("r1/t/1/1-1.bin", b"old")
    storage.write_bytes("r2/t/0/1-1.bin", b"old")
    assert files.drop([LeftFiles("r1", (value,), frozenset()), LeftFiles("r2", (), frozenset())])
    assert there(storage) == members
    assert not storage.locate("r2").exists()


def test_dropping_again_after_a_crash_is_no_error(storage: LocalStorage, files: LocalRunFiles) -> None:
    storage.write_bytes("r1/t/0/1-1.bin", b"old")
    left = [LeftFiles("r1", (), frozenset())]
    assert files.drop(left)
    assert files.drop(left)
    assert there(storage) == []


def test_a_value_whose_list_of_members_is_gone_keeps_all_of_its_run(
    storage: LocalStorage, files: LocalRunFiles
) -> None:
    value = Values(storage, inline_limit_bytes=10).encode([np.arange(3)] * 3, prefix="r1/t/0/1-1")
    assert value.path is not None
    storage.locate(value.path).unlink()
    before = there(storage)
    assert files.drop([LeftFiles("r1", (value,), frozenset())])
    assert there(storage) == before != []


def test_nothing_goes_while_a_backup_is_made(storage: LocalStorage, tmp_path: Path) -> None:
    storage.write_bytes("r1/t/0/1-1.bin", b"old")
    files = LocalRunFiles(storage, tmp_path / "logs", lambda: True)
    assert not files.drop([LeftFiles("r1", (), frozenset())])
    assert there(storage) == ["r1/t/0/1-1.bin"]


def test_old_logs_go_unless_somebody_writes_them(files: LocalRunFiles, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    for name, at_s in (("old.log", 50), ("young.log", 150), ("open.log", 50)):
        (logs / name).write_text("x")
        os.utime(logs / name, (at_s, at_s))
    with (logs / "open.log").open("ab") as writer:
        fcntl.flock(writer, fcntl.LOCK_SH)
        files.drop_logs(100_000_000)
        assert sorted(path.name for path in logs.iterdir()) == ["open.log", "young.log"]
    files.drop_logs(100_000_000)
    assert [path.name for path in logs.iterdir()] == ["young.log"]


def test_without_a_folder_of_logs_there_is_nothing_to_do(files: LocalRunFiles, tmp_path: Path) -> None:
    files.drop_logs(100)
    assert not (tmp_path / "logs").exists()
