"""The loader: a process of its own imports the project, freezes its graphs, hands them over and exits.

A module that crashes on import, or hangs, costs a loader and never the engine.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec

from headrace.definitions.project import Problem, Project
from headrace.engine.code import code_hash, copy_code, package_place
from headrace.errors import ProjectError

TIMEOUT_S = 60.0
ALONE_S = 5


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
    """Load the project in a fresh process and keep a copy of exactly the text that was loaded.

    Raises `ProjectError` where there is no such package, or where it cannot be read or kept.
    """
    place = package_place(root, name)
    try:
        code, report, path = _settled(root, name, modules, place, folder)
    except OSError as error:
        raise ProjectError(
            f"the project's code cannot be read or kept: {error}",
            where=str(place),
            cure=f"make {place} readable and {folder} writable, then save a file again",
            code="HR1001",
        ) from error
    body = msgspec.json.encode(report.project, order="sorted")
    return LoadedCode(code, path, report.project, body, report.problems)


def _settled(root: Path, name: str, modules: tuple[str, ...], place: Path, folder: Path) -> tuple[str, _Report, Path]:
    """The version, what it declares, and its copy. Where a file was saved meanwhile, those of the newer text."""
    while True:
        code = code_hash(place)
        report = _report(root, name, modules)
        if code_hash(place) == code:
            path = folder / code if report.problems else copy_code(place, folder, code)
            if path is not None:
                return code, report, path


def _report(root: Path, name: str, modules: tuple[str, ...]) -> _Report:
    # Files and no pipes: a child that the import left behind would keep a pipe open.
    with tempfile.TemporaryDirectory(prefix="headrace-load-") as scratch:
        said, answer = Path(scratch, "said"), Path(scratch, "report")
        command = [sys.executable, "-m", "headrace.engine.loader", str(answer), str(root), name, *modules]
        with said.open("wb") as output:
            loader = subprocess.Popen(
                command, cwd=root, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        try:
            code = loader.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return _failed(name, root, f"the import took longer than {TIMEOUT_S:g} s", "move slow work into a task")
        finally:
            _end_group(loader)
        if answer.exists():
            return msgspec.json.decode(answer.read_bytes(), type=_Report)
        tail = said.read_text(errors="replace").strip().splitlines()
    last = tail[-1] if tail else f"exit code {code}"
    return _failed(name, root, f"the loader died while it imported {name}: {last}", "does importing it crash Python?")


def _end_group(loader: subprocess.Popen[bytes]) -> None:
    """End the loader and what its imports have started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # all gone; macOS says the latter of a zombie
        os.killpg(loader.pid, signal.SIGKILL)
    loader.wait()


def _failed(name: str, root: Path, message: str, cure: str) -> _Report:
    return _Report(Project(name), (Problem("HR1001", message, str(root / "headrace.toml"), cure),))


def main(arguments: list[str]) -> None:
    """Entry of the process: writes its report to the file that the first argument names, complete or not at all."""
    from headrace.graph.check import check
    from headrace.graph.project import load_project

    signal.alarm(int(TIMEOUT_S) + ALONE_S)  # where the engine died, nobody else ends an import that hangs
    answer, root, name, *modules = arguments
    loaded = load_project(Path(root), name, modules or None)
    serious = tuple(p for p in check(loaded) if p.level == "error")
    scratch = Path(f"{answer}.new")
    scratch.write_bytes(msgspec.json.encode(_Report(loaded.project, serious)))
    scratch.rename(answer)


if __name__ == "__main__":
    main(sys.argv[1:])
