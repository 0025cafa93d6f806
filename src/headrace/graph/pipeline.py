"""Pipelines: functions whose body is recorded once into a graph, and what they need of their triggers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, cast, overload

from headrace.base.durations import micros
from headrace.base.instants import to_us
from headrace.base.upward import upward
from headrace.data.names import checked_name
from headrace.data.recording import act_now
from headrace.data.where import line_of, user_line
from headrace.definitions.project import Schedule
from headrace.errors import GraphError, ProjectError
from headrace.graph.recorder import active
from headrace.graph.signature import bind
from headrace.graph.task import Task
from headrace.graph.trigger import Trigger
from headrace.triggers.schedule import parse_schedule

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Run(Protocol[R_co]):
    """A run in this process: its identity, how it ended, and the values it made."""

    @property
    def id(self) -> str: ...
    @property
    def state(self) -> str: ...
    def result(self) -> R_co:
        """What the pipeline function returns. Raises `RunFailedError` when the run did not succeed."""
        ...

    def __getitem__(self, task: Task[..., R]) -> R: ...


class Pipeline(Generic[P, R_co]):
    """A pipeline. Called in another pipeline's body it is inlined there; `run` runs it here."""

    def __init__(
        self,
        fn: Callable[P, R_co],
        *,
        name: str | None = None,
        window: str | None = None,
        ready_within: str | None = None,
        max_active: int | None = None,
    ) -> None:
        self.fn = fn
        self.name: str = checked_name("pipeline", name or fn.__name__)
        self.target: str = f"{fn.__module__}:{fn.__qualname__}"
        self.where: str = line_of(fn)
        self.window = window
        self.ready_within_us: int | None = None if ready_within is None else micros(ready_within)
        self.max_active = max_active
        self.triggers: tuple[Trigger, ...] = ()
        self.__doc__ = fn.__doc__
        self.__name__: str = self.name
        self.__qualname__ = fn.__qualname__
        self.__module__ = fn.__module__
        self.__wrapped__ = fn

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        recorder = active()
        if recorder is None:
            raise GraphError(
                f"{self.name} is a pipeline: its body is recorded, not run",
                where=user_line(),
                cure=f"run it here with {self.name}.run(…); start it in the engine with: headrace trigger {self.name}",
            )
        with recorder.inline(self.name, bind(self.fn, self.name, args, kwargs)):
            return self.fn(*args, **kwargs)

    def run(self, *args: P.args, **kwargs: P.kwargs) -> Run[R_co]:
        """Run it now, in this process, to its end, with a record that the UI shows.

        Works in scripts, notebooks and tests. Raises `RunFailedError` when it does not succeed.
        """
        act_now(f"{self.name}.run()", f"call {self.name}(…) to take its tasks into this pipeline")
        arguments = bind(self.fn, self.name, args, kwargs)
        return cast("Run[R_co]", upward.run_pipeline(self, arguments))

    def on(self, *triggers: Trigger) -> None:
        """Add triggers; it may stand in another module of the project."""
        for trigger in triggers:
            if not isinstance(trigger, Trigger):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise GraphError(
                    f"{trigger!r} is not a trigger",
                    where=user_line(),
                    cure="hr.event(topic, …), hr.updated(table), monitor.drift(…) or monitor.performance(…)",
                )
        self.triggers += triggers

    def __repr__(self) -> str:
        return f"<pipeline {self.name}>"


class _Decorate(Protocol):
    def __call__(self, fn: Callable[P, R], /) -> Pipeline[P, R]: ...


@overload
def pipeline(fn: Callable[P, R], /) -> Pipeline[P, R]: ...
@overload
def pipeline(
    *,
    name: str | None = None,
    schedule: str | None = None,
    timezone: str = "UTC",
    catchup: bool = False,
    start: datetime | date | str | None = None,
    window: str | None = None,
    triggers: Sequence[Trigger] = (),
    ready_within: str | None = None,
    max_active: int | None = None,
) -> _Decorate: ...
def pipeline(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    schedule: str | None = None,
    timezone: str = "UTC",
    catchup: bool = False,
    start: datetime | date | str | None = None,
    window: str | None = None,
    triggers: Sequence[Trigger] = (),
    ready_within: str | None = None,
    max_active: int | None = None,
) -> Any:
    """Make a pipeline of a function: `@hr.pipeline`, `@hr.pipeline(schedule="@daily", window="60d")`.

    `schedule` is a cron expression, "@daily" … or "every 10m", in `timezone`; `catchup` runs the slots missed since
    `start`. `window` is what `hr.Window` parameters get: the slot's interval, "all", or a length such as "60d" that
    ends at the slot, at the newest event, or at the end of the drifted window. `ready_within` starts a run so long
    after its slot even if a topic it reads is not complete. Raises `ProjectError` for text that is none of these.
    """
    if window not in (None, "all"):
        micros(window)
    timed = [] if schedule is None else [_scheduled(schedule, timezone, catchup, start)]

    def decorate(function: Callable[..., Any]) -> Pipeline[..., Any]:
        if not inspect.isfunction(function):
            raise GraphError(f"a pipeline is a function, got {function!r}", where=user_line(), cure="decorate one")
        made = Pipeline[..., Any](function, name=name, window=window, ready_within=ready_within, max_active=max_active)
        made.on(*timed, *triggers)
        return made

    return decorate if fn is None else decorate(fn)


def _scheduled(text: str, timezone: str, catchup: bool, start: datetime | date | str | None) -> Trigger:
    try:
        parse_schedule(text, timezone)
    except ProjectError as error:
        raise GraphError(error.message, where=user_line(), cure=error.cure, code="HR1102") from None
    return Trigger(
        Schedule(
            expression=text,
            timezone=timezone,
            catchup=catchup,
            start_us=None if start is None else to_us(start),
        )
    )
