"""`headrace new`: a project that runs, as a few commented files."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from headrace.cli.output import show_json, show_line
from headrace.cli.parser import PLAIN, Common, Folder, make_app
from headrace.errors import RefusedError, SettingsError
from headrace.settings import as_package

app = make_app("new", "Make a new project with a pipeline and a test.")

_SUFFIX = ".tmpl"
_FOLDER = "package"  # in the templates: stands for the package's name


@app.default
def new(folder: Folder, /, *, common: Common = PLAIN) -> None:
    """Make a new project: settings, a pipeline of three tasks, a test and a README.

    Parameters
    ----------
    folder
        The folder to make. Its name gives the package: my-project has the package my_project.
    """
    package = package_name(folder.resolve().name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RefusedError(
            f"{folder} is there already",
            where=str(folder.resolve()),
            cure="another name, or an empty folder",
            code="HR3050",
        )
    written = write(folder, package)
    steps = [f"cd {shlex.quote(str(folder))}", "headrace check", "headrace run nightly"]
    if common.json:
        return show_json({"project": str(folder.resolve()), "package": package, "files": written, "next": steps})
    for name in written:
        show_line(f"  {folder / name}")
    show_line("\nnext:")
    for step in steps:
        show_line(f"  {step}")
    return None


def package_name(name: str) -> str:
    """A folder's name as that of a package. Raises SettingsError where the name is taken."""
    package = as_package(name)
    if package in sys.stdlib_module_names or importlib.util.find_spec(package) is not None:
        raise SettingsError(
            f"{package} is the name of an installed package or of the standard library",
            cure=f"headrace new {name}-pipelines",
            code="HR1353",
        )
    return package


def write(folder: Path, package: str) -> list[str]:
    """Write the files of the template. Returns their paths below the folder."""
    written: list[str] = []
    for template, path in _templates(files("headrace.cli") / "templates" / "project", Path()):
        name = Path(*(package if part == _FOLDER else part for part in path.parts))
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(template.read_text(encoding="utf-8").format(package=package, name=folder.resolve().name))
        written.append(str(name))
    return sorted(written)


def _templates(place: Traversable, path: Path) -> list[tuple[Traversable, Path]]:
    found: list[tuple[Traversable, Path]] = []
    for entry in place.iterdir():
        if entry.is_dir():
            found += _templates(entry, path / entry.name)
        elif entry.name.endswith(_SUFFIX):
            found.append((entry, path / entry.name.removesuffix(_SUFFIX)))
    return found
