"""Loading in a process of its own: what it gives, and what becomes of text that changes meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.definitions.project import Project
from headrace.engine import loader
from headrace.engine.loader import load_code
from headrace.errors import ProjectError

FINE = "import headrace as hr\n@hr.task\ndef one() -> int: return 1\n@hr.pipeline\ndef fine() -> int: return one()\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "odd.py").write_text(FINE)
    return tmp_path


@pytest.mark.process
def test_what_was_loaded_is_kept(root: Path) -> None:
    code = load_code(root, "odd", (), root / "code")
    assert list(code.project.pipelines) == ["fine"]
    assert (code.path / "odd.py").read_text() == FINE
    assert code.path == root / "code" / code.code


@pytest.mark.process
def test_a_child_that_an_import_leaves_behind_does_not_hold_the_loader_up(root: Path) -> None:
    (root / "odd.py").write_text("import subprocess\nsubprocess.Popen(['sleep', '600'])\n" + FINE)
    assert list(load_code(root, "odd", (), root / "code").project.pipelines) == ["fine"]


def test_a_file_saved_during_the_import_is_loaded_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def report(_root: Path, name: str, _modules: tuple[str, ...]) -> loader._Report:
        seen.append((root / "odd.py").read_text())
        (root / "odd.py").write_text("newer = True\n")
        return loader._Report(Project(name), ())

    monkeypatch.setattr(loader, "_report", report)
    code = load_code(root, "odd", (), root / "code")
    assert seen == [FINE, "newer = True\n"]
    assert (code.path / "odd.py").read_text() == "newer = True\n"


def test_code_that_cannot_be_kept_says_so(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "_report", lambda root, name, modules: loader._Report(Project(name), ()))
    (root / "code").touch()
    with pytest.raises(ProjectError, match="cannot be read or kept") as caught:
        load_code(root, "odd", (), root / "code")
    assert f"{root / 'code'} writable" in str(caught.value)
