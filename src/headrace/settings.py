"""The settings of one project, read once at the edge: flag > `HEADRACE_…` > `[env.X]` > `headrace.toml` > default."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from headrace.base.durations import micros, parse_duration
from headrace.base.near import closest, near
from headrace.errors import ProjectError, SettingsError

FILE = "headrace.toml"
FOREVER = "forever"
_SCHEMES = ("env", "file")
_PROJECT_KEYS = ("name", "modules")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set, and the places that follow from it.

    `origins` says for each key where its value comes from: "flag", "HEADRACE_WORKERS", "headrace.toml:4", "default".
    `is_project` is False where no `headrace.toml` was found: then `root` is the folder that was asked about.
    """

    root: Path
    name: str
    home: Path  # the folder .headrace, which holds all state
    is_project: bool = True
    modules: tuple[str, ...] = ()  # () means the package `name` with all its submodules
    env: str | None = None
    workers: int = 2
    max_lost: int = 5
    schedules: bool = False
    stream_processes: int = 1
    allow_pickle: bool = True
    retention: str = "90d"  # how long details of ended runs are kept, or FOREVER
    secrets: Mapping[str, str] = field(default_factory=dict[str, str])
    origins: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def retention_us(self) -> int | None:
        """How long the details of a run are kept after its end, in microseconds; None for ever."""
        return None if self.retention == FOREVER else micros(self.retention)

    @property
    def database(self) -> Path:
        return self.home / "headrace.db"

    @property
    def artifacts(self) -> Path:
        return self.home / "artifacts"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def code(self) -> Path:
        return self.home / "code"

    @property
    def locks(self) -> Path:
        return self.home / "locks"

    @property
    def tables(self) -> Path:
        return self.home / "tables"


def read_settings(
    start: Path,
    *,
    env: str | None = None,
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """The settings of the project that `start` lies in: the nearest `headrace.toml` upwards, else `start` itself.

    `env` chooses `[env.X]` (else `HEADRACE_ENV`); `flags` are values that were given by hand. Raises SettingsError,
    with file and line, for a key or a variable that does not exist, a value that does not fit, or an unknown env.
    """
    root = find_root(start)
    document = _Document(root / FILE) if root is not None else None
    chosen = env or environ.get("HEADRACE_ENV") or None
    _refuse_misspelt(environ)
    found = _Found()
    if document is not None:
        document.check_envs()
        found.take(document, document.base, "")
        if chosen is not None:
            found.take(document, document.overlay(chosen), f"env.{chosen}")
    elif chosen is not None:
        raise SettingsError(f"there is no env {chosen!r}: {start} has no {FILE}", cure=f"go to a folder with {FILE}")
    for key, kind in _KEYS.items():
        text = environ.get(_variable(key))
        if text is not None:
            found.put(key, _from_text(key, kind, text), _variable(key))
    for key, value in (flags or {}).items():
        if value is not None:
            found.put(key, value, "flag")
    place = root or start.resolve()
    home = found.values.pop("home", None)
    return Settings(
        root=place,
        name=document.name if document is not None else as_package(place.name),
        modules=document.modules if document is not None else (),
        home=place / ".headrace" if home is None else (place / home).resolve(),
        is_project=document is not None,
        env=chosen,
        secrets=found.secrets,
        origins={key: found.origins.get(key, "default") for key in _KEYS},
        **found.values,
    )


def find_root(start: Path) -> Path | None:
    """The nearest folder, from `start` upwards, that holds a `headrace.toml`."""
    start = start.resolve()
    return next((folder for folder in (start, *start.parents) if (folder / FILE).is_file()), None)


# -- one file --------------------------------------------------------------------------------------------------------


class _Document:
    """A `headrace.toml`: its tables, and the line of every key for messages."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.text = path.read_text()
            self.base = tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            line = re.search(r"at line (\d+)", str(error))
            raise SettingsError(
                f"the file is not TOML: {error}", where=f"{path}:{line[1] if line else 1}", cure="mend this line"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"the file cannot be read: {error}", where=str(path), cure="mend the file") from error
        self.envs = self._table(self.base.pop("env", {}), "env")
        project = self._table(self.base.pop("project", {}), "project")
        self._refuse_unknown(project, _PROJECT_KEYS, "project")
        if not isinstance(project.get("name"), str) or not project["name"]:
            raise SettingsError(
                "[project] has no name", where=f"{path}:1", cure='write  [project]  name = "flights", the package'
            )
        self.name: str = project["name"]
        modules = project.get("modules", [])
        if not isinstance(modules, list) or not all(isinstance(name, str) for name in cast("list[Any]", modules)):
            raise self._unfit("project", "modules", "a list of dotted names", modules)
        self.modules = tuple(cast("list[str]", modules))

    def overlay(self, env: str) -> dict[str, Any]:
        if env not in self.envs:
            known = ", ".join(sorted(self.envs)) or "none"
            raise SettingsError(
                f"there is no [env.{env}]{near(env, self.envs)}; there is {known}",
                where=str(self.path),
                cure=f"add [env.{env}], or leave --env and HEADRACE_ENV out",
            )
        return self._table(self.envs[env], f"env.{env}")

    def check_envs(self) -> None:
        """Raises SettingsError for a mistake in any `[env.X]`, also in one that is not chosen now."""
        for env in self.envs:
            self.values(self.overlay(env), f"env.{env}")
            self.secrets(self.overlay(env), f"env.{env}")

    def values(self, table: dict[str, Any], section: str) -> dict[str, Any]:
        """The checked keys of the top level or of one `[env.X]`."""
        self._refuse_unknown(table, (*_KEYS, "secrets"), section)
        for key, value in table.items():
            if key != "secrets" and (type(value) is not _KEYS[key] or not _is_allowed(key, value)):
                raise self._unfit(section, key, _words(key), value)
        return {key: value for key, value in table.items() if key != "secrets"}

    def secrets(self, table: dict[str, Any], section: str) -> dict[str, str]:
        """References by name; paths of files are meant from the project's folder."""
        inner = f"{section}.secrets".lstrip(".")
        found = dict(self._table(table.get("secrets", {}), inner))
        for name, reference in list(found.items()):
            scheme, colon, target = str(reference).partition(":")
            if not isinstance(reference, str) or scheme not in _SCHEMES or not colon or not target:
                raise SettingsError(
                    f"the secret {name!r} says where its value is, never the value itself",
                    where=self.where(inner, name),
                    cure=f'{name} = "env:{name.upper()}"  or  {name} = "file:secrets/{name}"',
                    code="HR1310",
                )
            if scheme == "file":
                found[name] = f"file:{self.path.parent / Path(target).expanduser()}"
        return found

    def where(self, section: str, key: str) -> str:
        """`file:line` of a key, as well as a plain reading of the lines can tell."""
        current = ""
        for number, line in enumerate(self.text.splitlines(), 1):
            header = re.match(r"\s*\[([^\[\]]+)\]", line)
            if header:
                current = header[1].replace('"', "").replace(" ", "")
                if f"{current}.".startswith(f"{section}.{key}.".lstrip(".")):
                    return f"{self.path}:{number}"
            elif current == section and re.match(rf'\s*"?{re.escape(key)}"?\s*[=.]', line):
                return f"{self.path}:{number}"
        return f"{self.path}:1"

    def _refuse_unknown(self, table: dict[str, Any], known: tuple[str, ...], section: str) -> None:
        for key in table:
            if key not in known:
                place = f"[{section}]" if section else "the top of the file"
                listed = (*known, "project", "env") if not section else known
                raise SettingsError(
                    f"{place} has no key {key!r}{near(key, listed)}",
                    where=self.where(section, key),
                    cure=f"the keys are {', '.join(listed)}",
                    code="HR1301",
                )

    def _table(self, value: object, section: str) -> dict[str, Any]:
        if isinstance(value, dict):
            return cast("dict[str, Any]", value)
        parent, _, key = section.rpartition(".")
        raise self._unfit(parent, key, f"a table: [{section}]", value)

    def _unfit(self, section: str, key: str, wanted: str, value: object) -> SettingsError:
        return SettingsError(
            f"{key} is {wanted}, got {value!r}",
            where=self.where(section, key),
            cure=f"mend {key} in {self.path.name}",
            code="HR1302",
        )


class _Found:
    """Values by key, each from the strongest place that names it."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {"workers": max(2, os.cpu_count() or 2)}
        self.origins: dict[str, str] = {}
        self.secrets: dict[str, str] = {}

    def put(self, key: str, value: object, origin: str) -> None:
        self.values[key], self.origins[key] = value, origin

    def take(self, document: _Document, table: dict[str, Any], section: str) -> None:
        for key, value in document.values(table, section).items():
            self.put(key, value, document.where(section, key))
        self.secrets |= document.secrets(table, section)


# -- keys ------------------------------------------------------------------------------------------------------------

_KEYS: dict[str, type] = {
    "workers": int,
    "max_lost": int,
    "schedules": bool,
    "stream_processes": int,
    "allow_pickle": bool,
    "retention": str,
    "home": str,
}
_WORDS: dict[type, str] = {int: "a whole number from 0", bool: "true or false", str: "a text"}
_RETENTION = f'a length of time from 1s, such as "90d", or "{FOREVER}"'
_VARIABLES = ("HEADRACE_ENV", "HEADRACE_DEBUG")


def _variable(key: str) -> str:
    return f"HEADRACE_{key.upper()}"


def _refuse_misspelt(environ: Mapping[str, str]) -> None:
    """Only what looks like one of ours: other programs may use the prefix for their own."""
    known = (*map(_variable, _KEYS), *_VARIABLES)
    for name in environ:
        if name.startswith("HEADRACE_") and name not in known and closest(name, known, least=0.85) is not None:
            raise SettingsError(
                f"the variable {name} is not one of Headrace's{near(name, known)}",
                where=name,
                cure=f"unset {name}; the variables are {', '.join(known)}",
                code="HR1301",
            )


def _from_text(key: str, kind: type, text: str) -> object:
    wanted: object = None
    if kind is bool:
        wanted = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}.get(text.lower())
    elif kind is int:
        wanted = int(text) if text.isdecimal() else None
    else:
        wanted = text
    if wanted is None or not _is_allowed(key, wanted):
        raise SettingsError(
            f"{_variable(key)} is {_words(key)}, got {text!r}",
            where=_variable(key),
            cure=f"unset {_variable(key)}, or give it another value",
            code="HR1302",
        )
    return wanted


def _words(key: str) -> str:
    return _RETENTION if key == "retention" else _WORDS[_KEYS[key]]


def _is_allowed(key: str, value: object) -> bool:
    if key != "retention" or value == FOREVER:
        return not isinstance(value, int) or value >= 0
    try:
        return parse_duration(str(value)) >= timedelta(seconds=1)
    except ProjectError:
        return False


def as_package(name: str) -> str:
    """A folder's name as the name of a package.

    >>> as_package("My flights-2"), as_package("2013")
    ('my_flights_2', 'project_2013')
    """
    cleaned = re.sub(r"\W+", "_", name.lower(), flags=re.ASCII).strip("_")
    return cleaned if cleaned.isidentifier() else f"project_{cleaned}".rstrip("_")
