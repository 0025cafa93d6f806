"""Both type checkers read a project as its author does: no error in the good one, the planted ones in the bad."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import headrace

HERE = Path(__file__).parent
GOOD, BAD = HERE / "good.py", HERE / "bad.py"
PLANTED = {number for number, line in enumerate(BAD.read_text().splitlines(), 1) if line.endswith("# wrong")}

Errors = dict[str, set[int]]  # file name → lines


def by_pyright(tmp_path: Path) -> Errors:
    settings = {
        "include": [GOOD.name, BAD.name],  # relative to the settings
        "typeCheckingMode": "strict",
        "reportUnusedExpression": False,  # `start >> [stop]`; hr.chain pleases strict checkers
        "reportUnknownLambdaType": False,
    }
    for file in (GOOD, BAD):
        shutil.copy(file, tmp_path)
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(tmp_path)]
    out = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found: Errors = {}
    for item in json.loads(out)["generalDiagnostics"]:
        if item["severity"] == "error":
            found.setdefault(Path(item["file"]).name, set()).add(item["range"]["start"]["line"] + 1)
    return found


def by_mypy(tmp_path: Path) -> Errors:
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path), "--config-file=", GOOD, BAD]
    out = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found: Errors = {}
    for line in out.splitlines():
        match = re.match(r"(.+?):(\d+): error:", line)
        if match:
            found.setdefault(Path(match[1]).name, set()).add(int(match[2]))
    return found


@pytest.mark.process
@pytest.mark.parametrize("checker", [by_pyright, by_mypy])
def test_checkers_find_exactly_the_planted_mistakes(checker, tmp_path: Path):
    assert checker(tmp_path) == {"bad.py": PLANTED}


@pytest.mark.process
def test_every_public_name_has_a_complete_type():
    package = Path(headrace.__file__).parent
    stub = ast.parse((package / "__init__.pyi").read_text())
    public = {
        f"{node.module}.{alias.name}"
        for node in stub.body
        if isinstance(node, ast.ImportFrom) and node.module != "headrace.errors"
        for alias in node.names
    }
    # The checker asks the python on PATH for its packages, and there is no option that says otherwise.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [sys.executable, "-m", "pyright", "--verifytypes", "headrace", "--ignoreexternal", "--outputjson"]
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(package.parent)}
    out = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, cwd=package.parent
    ).stdout
    symbols = json.loads(out)["typeCompleteness"]["symbols"]
    assert public <= {symbol["name"] for symbol in symbols}
    incomplete = {symbol["name"] for symbol in symbols if not symbol["isTypeKnown"] or symbol["isTypeAmbiguous"]}
    assert {name for name in incomplete if any(f"{name}.".startswith(f"{one}.") for one in public)} == set()
