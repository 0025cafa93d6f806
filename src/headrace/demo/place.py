"""The folder of a demo: what may be replaced in it, how it is laid out, and how a new one takes an old one's place."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from headrace.errors import EngineUnavailableError
from headrace.host.rights import ENGINE_LOCK, holder_of
from headrace.settings import FILE, Settings, read_settings

PROJECT = Path(__file__).with_name("project")
REPORT = "report.html"
_ASIDE = ".before"  # the folder of the earlier demo, while a new one is played
_STATE = ".headrace"
_PASSING = ("__pycache__", ".DS_Store")
_TRIES = "max_lost = "
_SHOWN = 3


def lay_out(folder: Path, *, strikes: int = 0) -> Settings:
    """A fresh copy of the demo's project. What is there of an earlier demo is removed, anything else is refused."""
    refuse_what_is_not_a_demos(folder)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns(*_PASSING))
    if strikes:
        # A kill is no fault of the task that it hits: with so many of them nobody should run out of tries.
        toml = folder / FILE
        toml.write_text(f"{_TRIES}{strikes + 5}\n{toml.read_text()}")
    return read_settings(folder)


@contextmanager
def replacing(folder: Path) -> Generator[None]:
    """While inside, an earlier demo in the absolute `folder` stands aside; it goes for good at the end, and comes back at an error.

    It is moved rather than the new one: a store knows the folder that it was made in. Where this process is killed the
    next demo puts it back first.
    """
    aside = folder.with_name(folder.name + _ASIDE)
    refuse_what_is_not_a_demos(folder)
    if aside.exists():
        refuse_what_is_not_a_demos(aside)
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)
    if not folder.exists() or not any(folder.iterdir()):
        yield
        return
    folder.rename(aside)
    try:
        yield
    except BaseException:
        if not _not_a_demos(folder):  # else somebody works in the new one already: both stay
            shutil.rmtree(folder, ignore_errors=True)
            aside.rename(folder)
        raise
    shutil.rmtree(aside)


def refuse_what_is_not_a_demos(folder: Path) -> None:
    """Raises EngineUnavailableError where the folder holds a file that no demo wrote or that was changed since, and
    where an engine serves it.
    """
    if found := _not_a_demos(folder):
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise EngineUnavailableError(
            f"{folder} holds what is not a demo's, and a new demo would delete it: {', '.join(found[:_SHOWN])}{more}",
            where=str(folder.resolve()),
            cure=f"headrace demo --keep another-folder, or move it away: mv {folder.name} my-{folder.name}",
            code="HR5041",
        )
    if holder_of(folder / _STATE / "locks" / ENGINE_LOCK) is not None:
        raise EngineUnavailableError(
            f"an engine serves {folder}", cure="end it first, or choose another folder with --keep", code="HR5010"
        )


def _not_a_demos(folder: Path) -> list[str]:
    """The files that are in the way, with a word where they were a demo's."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        return ["it is no folder"]
    found: list[str] = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if name.parts[0] == _STATE or set(name.parts) & set(_PASSING) or str(name) == REPORT:
            continue
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                found.append(f"{name}/")
        elif not (PROJECT / name).is_file():
            found.append(str(name))
        elif _text(path) != _text(PROJECT / name):
            found.append(f"{name} (changed)")
    return found


def _text(path: Path) -> bytes:
    """What a file holds, without the line that a demo with --chaos puts in front of its settings."""
    text = path.read_bytes()
    first, _, rest = text.partition(b"\n")
    return rest if path.name == FILE and first.startswith(_TRIES.encode()) else text
