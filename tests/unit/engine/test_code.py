"""Code versions: the same text is the same version, and a copy is complete or not there."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from headrace.engine import code
from headrace.engine.code import code_hash, copy_code, package_place, source_files
from headrace.errors import ProjectError


@pytest.fixture
def place(tmp_path: Path) -> Path:
    package = tmp_path / "flights"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "inner" / "data.py").write_text("x = 1\n")
    return package


def test_the_package_is_found_in_the_root_or_in_src(tmp_path: Path, place: Path) -> None:
    assert package_place(tmp_path, "flights") == place
    assert package_place(tmp_path, "flights.inner") == place
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "other.py").write_text("")
    assert package_place(tmp_path, "other") == tmp_path / "src" / "other.py"
    with pytest.raises(ProjectError, match="no package or module 'third'") as caught:
        package_place(tmp_path, "third")
    assert "make third/__init__.py" in str(caught.value)


def test_caches_and_backups_are_no_source(place: Path) -> None:
    before = code_hash(place)
    (place / "__pycache__").mkdir()
    for name in ("__pycache__/data.pyc", "data.py~", ".data.py.swp", "data.pyc"):
        (place / name).write_text("noise")
    assert code_hash(place) == before
    assert [file.name for file in source_files(place)] == ["__init__.py", "data.py"]


@pytest.mark.parametrize("change", ["text", "name", "new", "gone"])
def test_another_text_is_another_version(place: Path, change: str) -> None:
    before, data = code_hash(place), place / "inner" / "data.py"
    match change:
        case "text":
            data.write_text("x = 2\n")
        case "name":
            data.rename(place / "inner" / "date.py")
        case "new":
            (place / "more.sql").write_text("SELECT 1")
        case _:
            data.unlink()
    assert code_hash(place) != before


def test_a_file_that_goes_while_it_is_looked_at_is_no_source(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = code_hash(place)
    listed = [*source_files(place), place / "4913"]  # the name of the file with which vim tries whether it may write
    monkeypatch.setattr(code, "source_files", lambda place: iter(listed))
    assert code_hash(place) == before


def test_a_copy_holds_the_text_and_is_made_once(place: Path, tmp_path: Path) -> None:
    folder, version = tmp_path / "code", code_hash(place)
    copy = copy_code(place, folder, version)
    assert copy == folder / version
    assert code_hash(copy / "flights") == version
    (copy / "mark").touch()
    assert copy_code(place, folder, version) == copy
    assert (copy / "mark").exists()
    assert [path.name for path in folder.iterdir()] == [version]


def test_a_text_that_changed_meanwhile_is_not_kept_under_the_old_version(place: Path, tmp_path: Path) -> None:
    version = code_hash(place)
    (place / "inner" / "data.py").write_text("x = 2\n")
    assert copy_code(place, tmp_path / "code", version) is None
    assert list((tmp_path / "code").iterdir()) == []


def test_two_loaders_may_copy_at_once(place: Path, tmp_path: Path) -> None:
    version, found = code_hash(place), []
    threads = [
        threading.Thread(target=lambda: found.append(copy_code(place, tmp_path / "code", version))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [tmp_path / "code" / version] * 8
    assert [path.name for path in (tmp_path / "code").iterdir()] == [version]
