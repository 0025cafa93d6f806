"""The loader: imports the modules of one project, and nothing else, and freezes what they declare."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterable, Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

from headrace.data.where import is_library
from headrace.definitions.project import Problem
from headrace.errors import ProjectError
from headrace.graph.loaded import Loaded, declared, freeze, problem_of


def load_project(root: Path, name: str, modules: Iterable[str] | None = None) -> Loaded:
    """Import the package or module `name` from `root` (or `root/src`), with all its submodules, and freeze it.

    `modules` replaces that list by dotted names. All modules are imported before any body is recorded, so `.on(…)` may
    stand in another file. A module that does not import is a problem, and the others are still loaded. The folder stays
    on `sys.path`, for what tasks import later. Raises `ProjectError` when there is no such package.
    """
    root = root.resolve()
    place = _place(root, name)
    shadow = _shadowed(name)
    if shadow:
        return freeze(name, [], problems=(shadow,))
    _put_first(place)
    _forget(name, place)
    problems: list[Problem] = []
    imported = list(_imported(list(modules) if modules is not None else [name], modules is None, problems, root))
    found = [item for module in imported for value in list(vars(module).values()) for item in declared(value)]
    names = tuple(module.__name__ for module in imported)
    return freeze(name, found, modules=names, problems=tuple(problems))


def load_file(path: Path) -> Loaded:
    """Import one file, as `python file.py` would find it, and freeze what it declares. Raises `ProjectError`."""
    path = path.resolve()
    if not path.is_file():
        raise ProjectError(f"there is no file {path}", cure="give the path of a Python file", code="HR1001")
    _put_first(path.parent)
    name = path.stem if path.stem.isidentifier() and not _shadowed(path.stem) else f"_file_{abs(hash(path)):x}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ProjectError(f"{path} is not a Python file", cure="its name ends in .py", code="HR1001")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        problem = problem_of(error, f"{path}:1")
        raise ProjectError(
            f"the file does not import: {problem.message}", where=problem.where, cure=problem.cure, code="HR1001"
        ) from error
    found = [item for value in list(vars(module).values()) for item in declared(value)]
    return freeze(name, found, modules=(name,))


def _place(root: Path, name: str) -> Path:
    """The folder from which the project's package is imported."""
    first = name.partition(".")[0]
    for place in (root, root / "src"):
        if (place / f"{first}.py").is_file() or (place / first).is_dir():
            return place
    raise ProjectError(
        f"there is no package or module {name!r} in {root} or {root / 'src'}",
        where=str(root / "headrace.toml"),
        cure=f'[project] name = "…" is the name of the package: make {name}/__init__.py, or change the name',
        code="HR1001",
    )


def _shadowed(name: str) -> Problem | None:
    """A problem when the name is that of the standard library or of an installed package."""
    first = name.partition(".")[0]
    if first in sys.stdlib_module_names or first in sys.builtin_module_names:
        what = "a module of the standard library"
    else:
        installed = [path for path in sys.path if is_library(f"{path}/")]
        spec = PathFinder.find_spec(first, installed)
        if spec is None:
            return None
        what = f"the installed package at {spec.origin or 'site-packages'}"
    return Problem(
        code="HR1002",
        message=f"the project's name {name!r} is also {what}",
        where="headrace.toml:1",
        cure=f"rename the package and [project] name, for example {name}_pipelines",
    )


def _put_first(place: Path) -> None:
    text = str(place)
    if text not in sys.path:
        sys.path.insert(0, text)
    importlib.invalidate_caches()


def _forget(name: str, place: Path) -> None:
    """Drop modules of that name that came from another folder (several projects in one process, as in tests)."""
    first = name.partition(".")[0]
    for known, module in list(sys.modules.items()):
        if known != first and not known.startswith(f"{first}."):
            continue
        origin = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), "")
        if not Path(origin).is_relative_to(place):
            del sys.modules[known]


def _imported(names: list[str], deep: bool, problems: list[Problem], root: Path) -> Iterator[ModuleType]:
    waiting = names
    while waiting:
        name = waiting.pop(0)
        module = _import(name, problems, root)
        if module is None:
            continue
        yield module
        if deep:
            inner = pkgutil.iter_modules(getattr(module, "__path__", ()), f"{name}.")
            waiting[:0] = sorted(found.name for found in inner if not found.name.endswith(".__main__"))


def _import(name: str, problems: list[Problem], root: Path) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # importing runs the user's code: whatever it raises is a finding about it
        found = problem_of(error, f"{root / name.replace('.', '/')}.py:1")
        problems.append(Problem(found.code, f"{name} does not import: {found.message}", found.where, found.cure))
        return None
