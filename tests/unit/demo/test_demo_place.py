"""A second demo: what it may replace, what it refuses to delete, and that the first one stays until it is whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from headrace.demo import place
from headrace.errors import EngineUnavailableError
from headrace.host.rights import take_right

pytestmark = pytest.mark.headrace_project


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A demo as it is left behind, with its store and report."""
    folder = tmp_path / "headrace-demo"
    place.lay_out(folder, strikes=16)
    (folder / ".headrace").mkdir()
    (folder / ".headrace" / "headrace.db").write_text("the first")
    (folder / place.REPORT).write_text("the first")
    return folder


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def interrupted(folder: Path, note: str | None = None) -> None:
    with place.replacing(folder):
        place.lay_out(folder)
        if note is not None:
            (folder / "notes.md").write_text(note)
        raise KeyboardInterrupt


def test_a_demo_that_nobody_touched_is_replaced(folder: Path) -> None:
    with place.replacing(folder):
        place.lay_out(folder)
    assert not (folder / place.REPORT).exists()
    assert not (folder / ".headrace").exists()
    assert os.listdir(folder.parent) == [folder.name]


@pytest.mark.parametrize("name", ["notes.md", "flights/mine.py", ".env", "empty/"])
def test_what_a_person_put_into_a_demo_is_named_and_stays(folder: Path, name: str) -> None:
    path = folder / name
    if name.endswith("/"):
        path.mkdir()
    else:
        path.write_text("mine")
    before = files(folder)
    with pytest.raises(EngineUnavailableError, match=name) as caught, place.replacing(folder):
        pytest.fail("it begins")
    assert caught.value.code == "HR5041"
    assert "--keep" in str(caught.value.cure)
    assert files(folder) == before
    assert path.exists()


@pytest.mark.parametrize("name", ["flights/features.py", "headrace.toml"])
def test_a_file_that_a_person_changed_is_named_and_stays(folder: Path, name: str) -> None:
    with (folder / name).open("a") as file:
        file.write("# mine\n")
    with pytest.raises(EngineUnavailableError, match=rf"{name} \(changed\)"):
        place.lay_out(folder)
    assert (folder / name).read_text().endswith("# mine\n")


def test_another_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "flights").mkdir()
    (tmp_path / "flights" / "mine.py").write_text("mine")
    with pytest.raises(EngineUnavailableError, match=r"flights/mine\.py"):
        place.lay_out(tmp_path)


def test_a_demo_that_an_engine_serves_is_refused(folder: Path) -> None:
    right = take_right(folder / ".headrace" / "locks" / "engine.lock")
    assert right is not None
    try:
        with pytest.raises(EngineUnavailableError, match="an engine serves"), place.replacing(folder):
            pytest.fail("it begins")
    finally:
        right.release()


def test_the_earlier_demo_comes_back_where_the_new_one_is_interrupted(folder: Path) -> None:
    before = files(folder)
    with pytest.raises(KeyboardInterrupt):
        interrupted(folder)
    assert files(folder) == before
    assert (folder / place.REPORT).read_text() == "the first"
    assert os.listdir(folder.parent) == [folder.name]


def test_the_earlier_demo_comes_back_after_the_new_one_was_killed(folder: Path) -> None:
    folder.rename(folder.with_name("headrace-demo.before"))
    place.lay_out(folder)
    with pytest.raises(KeyboardInterrupt):
        interrupted(folder)
    assert (folder / place.REPORT).read_text() == "the first"
    assert os.listdir(folder.parent) == [folder.name]


def test_what_was_put_into_the_new_one_before_it_was_interrupted_stays(folder: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted(folder, note="mine")
    assert (folder / "notes.md").read_text() == "mine"
    assert (folder.with_name("headrace-demo.before") / place.REPORT).read_text() == "the first"
