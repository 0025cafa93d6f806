"""Tracebacks of code that runs from a copy name the user's own files."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from headrace.errors import SchemaError
from headrace.executors import tracebacks
from headrace.executors.tracebacks import one_line, show_originals, told, user_frames

CODE = "def load():\n    raise ValueError('no such flight')\n"


@pytest.fixture(autouse=True)
def own_map(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracebacks, "_originals", {})


def raised(fn: Any) -> Exception:
    try:
        fn()
    except Exception as error:
        return error
    raise AssertionError("it raised nothing")


@pytest.mark.parametrize("base", [".", "src"])
def test_the_users_file_stands_in_the_traceback_with_the_text_that_ran(tmp_path: Path, base: str) -> None:
    root, copy = tmp_path / "project", tmp_path / "project/.headrace/code/0123456789ab"
    for folder in (root / base / "flow", copy / "flow"):
        folder.mkdir(parents=True)
        (folder / "io.py").write_text(CODE)
    spec = importlib.util.spec_from_file_location("flow_io_copy", copy / "flow/io.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (root / base / "flow/io.py").write_text("# edited since\n")
    show_originals(copy, root, "flow")
    text = user_frames(raised(module.load))
    assert f'File "{(root / base).resolve()}/flow/io.py", line 2, in load\n    raise ValueError' in text
    assert "code/0123456789ab" not in text


def test_places_in_messages_are_shown_the_same_way(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text("")
    show_originals(tmp_path / "copy", tmp_path, "flow")
    where = f"{tmp_path}/copy/flow.py:3"
    assert one_line(ValueError(f"see {where}")) == f"ValueError: see {tmp_path}/flow.py:3"
    assert told(str(SchemaError("no", where=where))).startswith(f"{tmp_path}/flow.py:3: no")


def test_code_that_is_no_copy_is_left_as_it_is(tmp_path: Path) -> None:
    show_originals(tmp_path, tmp_path, "flow")
    assert told(f"{tmp_path}/flow.py") == f"{tmp_path}/flow.py"
