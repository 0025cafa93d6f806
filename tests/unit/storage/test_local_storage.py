from __future__ import annotations

import errno
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import CodecError, StoreError
from headrace.storage.local import LocalStorage, attempt_prefix, safe_name


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "artifacts")


@given(st.text())
def test_any_name_becomes_one_short_component(name: str):
    safe = safe_name(name)
    assert 0 < len(safe) <= 80
    assert "/" not in safe
    assert not safe.startswith(".")
    assert safe.isascii()


@given(st.text(), st.text())
def test_two_names_never_share_a_component(one: str, other: str):
    assert (one == other) == (safe_name(one).lower() == safe_name(other).lower())


def test_capitals_alone_make_another_component():
    assert safe_name("Load").lower() != safe_name("load")


@pytest.mark.parametrize("name", ["a/b", "it's", '"', "🚀", "..", "", "x" * 10_000, "\n", "con:"])
def test_a_strange_task_name_is_written_and_read(storage: LocalStorage, name: str):
    path = attempt_prefix("run1", name, "", 0, 1, 1) + ".bin"
    storage.write_bytes(path, b"here")
    assert storage.locate(path).read_bytes() == b"here"
    assert storage.locate(path).is_relative_to(storage.root)


def test_a_name_is_written_once(storage: LocalStorage):
    storage.write_bytes("run1/t/0/1-1.json", b"first")
    with pytest.raises(StoreError, match="two processes"):
        storage.write_bytes("run1/t/0/1-1.json", b"second")
    assert storage.locate("run1/t/0/1-1.json").read_bytes() == b"first"


def test_a_failed_write_leaves_nothing_and_can_be_repeated(storage: LocalStorage):
    def fill(target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StoreError, match="disk is full"):
        storage.write("run1/t/0/1-1.json", fill)
    assert not storage.locate("run1/t/0/1-1.json").exists()
    storage.write_bytes("run1/t/0/1-1.json", b"whole")


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "a//b", "", "a/\0"])
def test_a_path_never_leads_outside(storage: LocalStorage, path: str):
    with pytest.raises(CodecError, match="not the path of an artifact"):
        storage.locate(path)


def test_what_is_kept_outlives_the_rest_of_its_run(storage: LocalStorage):
    for name in ("0/1-1.json", "0/1-1.0.arrow", "1/1-1.json", "2/1-1.json"):
        storage.write_bytes(f"run1/t/{name}", b"x")
    storage.write_bytes("run10/t/0/1-1.json", b"x")
    storage.prune("run1", {"run1/t/0/1-1.0.arrow", "run1/t/2/1-1.json"})
    left = sorted(str(path.relative_to(storage.root)) for path in storage.root.rglob("*") if path.is_file())
    assert left == ["run1/t/0/1-1.0.arrow", "run1/t/2/1-1.json", "run10/t/0/1-1.json"]
    assert not storage.locate("run1/t/1").exists()


def test_pruning_twice_is_no_error_and_the_folder_can_come_back(storage: LocalStorage):
    storage.write_bytes("run1/t/0/1-1.json", b"x")
    storage.prune("run1", ())
    storage.prune("run1", ())
    storage.write_bytes("run1/t/0/1-1.json", b"y")
    assert storage.locate("run1/t/0/1-1.json").read_bytes() == b"y"
