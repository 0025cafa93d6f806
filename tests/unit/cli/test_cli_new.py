"""A new project: what is written, and that it is sound."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Headrace


pytestmark = pytest.mark.headrace_project


def test_a_new_project_is_five_files_and_sound(headrace: Headrace, tmp_path: Path) -> None:
    folder = tmp_path / "my-first project"
    made = headrace("new", folder, "--json").json()
    assert made["files"] == [
        "README.md",
        "headrace.toml",
        "my_first_project/__init__.py",
        "my_first_project/pipelines.py",
        "tests/test_pipelines.py",
    ]
    assert len(made["next"]) == 3
    checked = headrace("check", "--json", "--project", folder)
    assert checked.code == 0
    assert checked.json()["problems"] == []
    assert checked.json()["found"]["pipelines"] == ["nightly"]


def test_no_placeholder_is_left(headrace: Headrace, tmp_path: Path) -> None:
    headrace("new", tmp_path / "fresh-one")
    for path in (tmp_path / "fresh-one").rglob("*.*"):
        if path.is_file():
            text = path.read_text()
            assert "{package}" not in text
            assert "{{" not in text


def test_nothing_is_overwritten(headrace: Headrace, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    result = headrace("new", tmp_path)
    assert result.code == 4
    assert "HR3050" in result.err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("name", ["polars", "json"])
def test_a_name_that_is_taken_is_refused(headrace: Headrace, tmp_path: Path, name: str) -> None:
    result = headrace("new", tmp_path / name)
    assert result.code == 2
    assert "HR1353" in result.err


def test_check_points_at_the_mistake(headrace: Headrace, tmp_path: Path) -> None:
    headrace("new", tmp_path / "broken-one")
    broken = tmp_path / "broken-one" / "broken_one" / "pipelines.py"
    broken.write_text(broken.read_text() + "\nx = (\n")
    result = headrace("check", "--project", tmp_path / "broken-one")
    assert result.code == 2
    assert f"at   {broken}:" in result.out
    sys.modules.pop("broken_one", None)


def test_the_next_steps_can_be_pasted(headrace: Headrace, tmp_path: Path) -> None:
    folder = tmp_path / "my pipes"
    assert f"cd '{folder}'" in headrace("new", folder).out


def test_the_commands_of_the_readme_stand_in_line(headrace: Headrace, tmp_path: Path) -> None:
    headrace("new", tmp_path / "fresh-one")
    lines = (tmp_path / "fresh-one" / "README.md").read_text().splitlines()
    assert len({line.index(" # ") for line in lines if line.startswith("headrace ") and " # " in line}) == 1
