"""A loaded project: the user's objects by name, frozen as data, and what was found wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from headrace.data.model import Model
from headrace.data.secret import Secret
from headrace.data.table import Table
from headrace.data.topic import Source, Topic
from headrace.data.where import line_of_error
from headrace.definitions.project import Problem, Project
from headrace.errors import HeadraceError
from headrace.graph.compile import Compiled, compile_pipeline
from headrace.graph.misuse import misused
from headrace.graph.monitor import Monitor
from headrace.graph.pipeline import Pipeline
from headrace.graph.reads import behind
from headrace.graph.stream import Stream
from headrace.graph.task import Task

AnyDeclared = (
    Topic | Table | Model[Any] | Secret | Task[..., Any] | Pipeline[..., Any] | Stream[..., Any] | Monitor | Source
)
_EXTRAS = {"lightgbm": "lightgbm", "sklearn": "sklearn", "skops": "sklearn", "matplotlib": "demo"}
"""Package → the extra that brings it."""

_KINDS = (Topic, Table, Model, Secret, Task, Pipeline, Stream, Monitor, Source)


@dataclass(frozen=True)
class Loaded:
    """A project as data (`project`) and as the objects of this process. `problems` are what loading itself found.

    `bodies` are all pipelines, also those in `problems` that could not be compiled.
    """

    project: Project
    pipelines: dict[str, Compiled]
    streams: dict[str, Stream[..., Any]]
    monitors: dict[str, Monitor]
    topics: dict[str, Topic]
    tables: dict[str, Table]
    models: dict[str, Model[Any]]
    secrets: dict[str, Secret]
    tasks: tuple[Task[..., Any], ...]
    bodies: dict[str, Pipeline[..., Any]]
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that keep the project from running; warnings do not."""
        return tuple(problem for problem in self.problems if problem.level == "error")


def declared(value: object) -> Iterator[AnyDeclared]:
    """The Headrace objects that a module-level value is, or holds one level down in a list, tuple or dict."""
    if isinstance(value, _KINDS):
        yield value
        return
    items: Iterable[object] = ()
    if type(value) is dict:
        items = value.values()
    elif type(value) in (list, tuple):
        items = value  # pyright: ignore[reportAssignmentType]
    for item in items:
        if isinstance(item, _KINDS):
            yield item


def freeze(
    name: str,
    found: Iterable[AnyDeclared],
    *,
    modules: tuple[str, ...] = (),
    problems: tuple[Problem, ...] = (),
) -> Loaded:
    """Freeze the objects of a project, with all that stands behind them. What is wrong with one of them is a problem.

    Also the project of a single pipeline, for a run in this process: `freeze("here", [pipeline])`.
    """
    gathering = _Gathering(list(problems))
    for item in found:
        gathering.take(item)
    return gathering.loaded(name, modules)


class _Gathering:
    """Objects by kind and name, while they are collected."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        self.compiled: dict[str, Compiled] = {}
        self.bodies: dict[str, Pipeline[..., Any]] = {}
        self.streams: dict[str, Stream[..., Any]] = {}
        self.monitors: dict[str, Monitor] = {}
        self.topics: dict[str, Topic] = {}
        self.tables: dict[str, Table] = {}
        self.models: dict[str, Model[Any]] = {}
        self.secrets: dict[str, Secret] = {}
        self.tasks: dict[int, Task[..., Any]] = {}
        self._names: dict[tuple[str, str], object] = {}
        self._seen: set[int] = set()

    def take(self, item: AnyDeclared) -> None:
        match item:
            case Topic() | Table() | Model() | Source():
                self._take_data(item)
            case Secret():
                self.secrets.setdefault(item.name, item)
            case Task():
                self.tasks[id(item)] = item
            case Pipeline():
                if self._is_new("pipeline or stream", item):
                    self.bodies[item.name] = item
                    self._compile(item)
                    for trigger in item.triggers:
                        self._take_data(*trigger.datasets)
                        if trigger.monitor is not None:
                            self.take(trigger.monitor)
            case Stream():
                if self._is_new("pipeline or stream", item):
                    self.streams[item.name] = item
                    self._take_data(item.source, item.to, *(reference.dataset for reference in item.bind.values()))
            case Monitor():
                if self._is_new("monitor", item):
                    self.monitors[item.name] = item
                    self._take_data(item.topic, item.model)

    def loaded(self, name: str, modules: tuple[str, ...]) -> Loaded:
        project = Project(
            name=name,
            pipelines={key: item.definition for key, item in sorted(self.compiled.items())},
            streams={key: item.definition for key, item in sorted(self.streams.items())},
            monitors={key: item.definition for key, item in sorted(self.monitors.items())},
            topics={key: item.definition for key, item in sorted(self.topics.items())},
            tables={key: item.definition for key, item in sorted(self.tables.items())},
            models={key: item.definition for key, item in sorted(self.models.items())},
            secrets=tuple(sorted(self.secrets)),
            modules=modules,
        )
        return Loaded(
            project=project,
            pipelines=self.compiled,
            streams=self.streams,
            monitors=self.monitors,
            topics=self.topics,
            tables=self.tables,
            models=self.models,
            secrets=self.secrets,
            tasks=tuple(self.tasks.values()),
            bodies=self.bodies,
            problems=tuple(self.problems),
        )

    def _compile(self, pipeline: Pipeline[..., Any]) -> None:
        try:
            compiled = compile_pipeline(pipeline)
        except Exception as error:  # the body is the user's code: whatever it raises is a finding about it
            self.problems.append(problem_of(error, pipeline.where))
            return
        self.compiled[pipeline.name] = compiled
        self._take_data(*compiled.datasets)

    def _take_data(self, *items: object) -> None:
        for item in items:
            for dataset in behind(item):
                if self._is_new("dataset", dataset):
                    kept = {"topic": self.topics, "table": self.tables, "model": self.models}[dataset.kind]
                    kept[dataset.name] = dataset  # pyright: ignore[reportArgumentType]

    def _is_new(self, kind: str, item: Any) -> bool:
        other: Any = self._names.setdefault((kind, item.name), item)
        if id(item) in self._seen:  # an object is met wherever it is imported
            return False
        self._seen.add(id(item))
        if other is not item and not _same_dataset(kind, other, item):
            self.problems.append(
                Problem(
                    code="HR1003",
                    message=f"the name {item.name!r} is given twice: to {other!r} at {other.where}, and here to {item!r}",
                    where=item.where,
                    cure=f"a name is the identity of a {kind}: give one of them another, {_spelled(kind, item)}",
                )
            )
            return False
        return True


def _spelled(kind: str, item: Any) -> str:
    """How the name of such a thing is written."""
    return f'hr.{type(item).__name__}("…")' if kind == "dataset" else 'name="…"'


def _same_dataset(kind: str, one: Any, other: Any) -> bool:
    """Whether two objects declare one dataset in the same way, as a notebook's cell does when it is run again."""
    return kind == "dataset" and one.kind == other.kind and one.definition == other.definition


def problem_of(error: BaseException, where: str) -> Problem:
    """An error as a finding, at the user's line: the error's own, else the innermost of the user's in its traceback."""
    if isinstance(error, HeadraceError):
        return Problem(error.code, error.message, error.where or line_of_error(error) or where, error.cure or "")
    if isinstance(error, SyntaxError):
        return Problem("HR1001", f"SyntaxError: {error.msg}", f"{error.filename}:{error.lineno}", "mend the syntax")
    place = line_of_error(error) or where
    if isinstance(error, TypeError) and (cure := misused(error)) is not None:
        return Problem("HR1102", str(error), place, cure)
    cure = "mend what raises at this line"
    if isinstance(error, ModuleNotFoundError) and (extra := _EXTRAS.get((error.name or "").partition(".")[0])):
        cure = f'pip install "headrace[{extra}]"'
    return Problem("HR1001", f"{type(error).__name__}: {error}", place, cure)
