"""Code versions: a copy of the project's modules under the hash of their text, so a run goes on with what it began."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from headrace.errors import ProjectError

_SKIPPED = {"__pycache__", ".headrace", ".git", ".venv", "node_modules"}


def package_place(root: Path, name: str) -> Path:
    """The project's package folder or module file, in the root or in `src`."""
    first = name.partition(".")[0]
    for base in (root, root / "src"):
        for place in (base / first, base / f"{first}.py"):
            if place.exists():
                return place
    raise ProjectError(
        f"there is no package or module {name!r} in {root} or {root / 'src'}",
        where=str(root / "headrace.toml"),
        cure=f'make {name}/__init__.py, or change [project] name = "…"',
        code="HR1001",
    )


def source_files(place: Path) -> Iterator[Path]:
    """Every file of the package but caches, in a stable order."""
    if place.is_file():
        yield place
        return
    for folder, folders, files in os.walk(place):
        folders[:] = sorted(f for f in folders if f not in _SKIPPED)
        for file in sorted(files):
            if not file.endswith((".pyc", ".pyo", "~", ".swp")):
                yield Path(folder, file)


def code_hash(place: Path) -> str:
    """Twelve hex digits over names and bytes of all files: the code version."""
    digest = hashlib.sha256()
    for file in source_files(place):
        try:
            body = file.read_bytes()
        except FileNotFoundError:
            continue  # an editor's own file, gone before it was read
        digest.update(str(file.relative_to(place.parent)).encode() + b"\0" + body + b"\0")
    return digest.hexdigest()[:12]


def copy_code(place: Path, folder: Path, code: str) -> Path | None:
    """The folder that holds the copy of this version, made where it is missing: complete, or not there.

    None where the text at `place` is not that of this version any more.
    """
    target = folder / code
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{code}.", dir=folder, ignore_cleanup_errors=True) as name:
        scratch = Path(name, "copy")
        for file in source_files(place):
            copy = scratch / file.relative_to(place.parent)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
        if not (scratch / place.name).exists() or code_hash(scratch / place.name) != code:
            return None
        try:
            scratch.rename(target)
        except OSError:  # another loader was first
            if not target.exists():
                raise
    return target
