"""A store knows where it lies: a moved or copied folder is told from the one that it was."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from headrace.errors import RefusedError
from headrace.host import whereabouts
from headrace.host.whereabouts import FILE, remembered, settle


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "project/.headrace"
    folder.mkdir(parents=True)
    settle(folder, None, "one")
    return folder


def test_the_same_folder_settles_again_and_keeps_its_identity(home: Path) -> None:
    assert settle(home, None, "two") == remembered(home)
    assert settle(home, None, "two").store == "one"


def test_a_moved_folder_is_refused_until_it_is_claimed(home: Path, tmp_path: Path) -> None:
    shutil.move(home.parent, tmp_path / "elsewhere")
    there = tmp_path / "elsewhere/.headrace"
    with pytest.raises(RefusedError, match=r"elsewhere: the path was .*/project/\.headrace\n") as refused:
        settle(there, None, "two")
    assert refused.value.code == "HR3051"
    assert "--moved" in str(refused.value.cure)
    assert "inode" not in refused.value.message
    assert settle(there, "moved", "two").store == "one"
    assert settle(there, None, "three").store == "one"


def test_a_copy_gets_an_identity_of_its_own(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home.parent, tmp_path / "copy")
    there = tmp_path / "copy/.headrace"
    with pytest.raises(RefusedError, match=r"the path was .*; the folder is another one"):
        settle(there, None, "two")
    assert settle(there, "copied", "two").store == "two"
    assert settle(there, None, "three").store == "two"
    assert settle(home, None, "three").store == "one"


def test_a_copy_in_the_place_of_the_original_is_another_folder(home: Path) -> None:
    shutil.copytree(home, home.with_name("kept"))
    shutil.move(home, home.with_name("away"))
    shutil.move(home.with_name("kept"), home)
    with pytest.raises(RefusedError, match=r"elsewhere: the folder is another one \(inode"):
        settle(home, None, "two")


def test_another_machine_counts_and_one_without_an_id_does_not(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = home / "machine-id"
    monkeypatch.setattr(whereabouts, "_MACHINE_FILES", (home / "none", ids))
    ids.write_text("first\n")
    settle(home, "moved", "two")
    ids.write_text("\n")
    settle(home, None, "two")
    settle(home, "moved", "two")
    ids.write_text("first\n")
    settle(home, "moved", "two")
    ids.write_text("second\n")
    with pytest.raises(RefusedError, match="elsewhere: the machine is another one"):
        settle(home, None, "two")


def test_a_file_that_cannot_be_read_is_named(home: Path) -> None:
    (home / FILE).write_text("{")
    with pytest.raises(RefusedError) as refused:
        settle(home, None, "two")
    assert refused.value.where == str(home / FILE)
