"""The loader: a process of its own imports the project, freezes its graphs, hands them over and exits.

A module that crashes on import, or hangs, costs a loader and never the engine.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec

from headrace.definitions.project import Problem, Project
from headrace.engine.code import code_hash, copy_code, package_place

TIMEOUT_S = 60.0


class _Report(msgspec.Struct, frozen=True):
    project: Project
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class LoadedCode:
    """A code version that was loaded: `problems` empty means that it may be deployed."""

    code: str
    path: Path
    project: Project
    body: bytes
    problems: tuple[Problem, ...]


def load_code(root: Path, name: str, modules: tuple[str, ...], folder: Path) -> LoadedCode:
    """Load the project in a fresh process and keep a copy of exactly the text that was loaded."""
    place = package_place(root, name)
    while True:
        code = code_hash(place)
        report = _report(root, name, modules)
        if code_hash(place) == code:  # else a file was saved while it was imported: take the newer text
            break
    path = copy_code(place, folder, code) if not report.problems else folder / code
    body = msgspec.json.encode(report.project, order="sorted")
    return LoadedCode(code, path, report.project, body, report.problems)


def _report(root: Path, name: str, modules: tuple[str, ...]) -> _Report:
    command = [sys.executable, "-m", "headrace.engine.loader", str(root), name, *modules]
    try:
        done = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=False, cwd=root)
    except subprocess.TimeoutExpired:
        return _failed(name, root, f"the import took longer than {TIMEOUT_S:g} s", "move slow work into a task")
    marker = done.stdout.rfind(b"\n\x1e")
    if marker < 0:
        tail = done.stderr.decode(errors="replace").strip().splitlines()
        last = tail[-1] if tail else f"exit code {done.returncode}"
        return _failed(
            name, root, f"the loader died while it imported {name}: {last}", "does importing it crash Python?"
        )
    return msgspec.json.decode(done.stdout[marker + 2 :], type=_Report)


def _failed(name: str, root: Path, message: str, cure: str) -> _Report:
    return _Report(Project(name), (Problem("HR1001", message, str(root / "headrace.toml"), cure),))


def main(arguments: list[str]) -> None:
    """Entry of the process: the last thing on standard output is the report, after a record separator."""
    from headrace.graph.check import check
    from headrace.graph.project import load_project

    root, name, *modules = arguments
    loaded = load_project(Path(root), name, modules or None)
    serious = tuple(p for p in check(loaded) if p.level == "error")
    report = _Report(loaded.project, serious)
    sys.stdout.flush()
    sys.stdout.buffer.write(b"\n\x1e" + msgspec.json.encode(report))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
