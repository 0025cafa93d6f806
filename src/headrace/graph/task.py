"""Tasks: functions that a run executes. A call in a pipeline body is recorded, anywhere else it is a plain call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar, Unpack, cast, overload

from headrace.data.reference import Reference, use_refused
from headrace.data.where import line_of, user_line
from headrace.errors import GraphError, RefusedError
from headrace.graph.annotations import hints
from headrace.graph.flow import Chain, map_over, ordered
from headrace.graph.options import TaskOptions, checked, frozen
from headrace.graph.recorder import Recorder, active
from headrace.graph.signature import bind, required

if TYPE_CHECKING:
    import polars as pl

P = ParamSpec("P")
A = TypeVar("A")
A_contra = TypeVar("A_contra", contravariant=True)
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class _One(Protocol[A_contra, R_co]):
    """Callable with one item; further parameters are fine if they have defaults."""

    def __call__(self, item: A_contra, /) -> R_co: ...


class Task(Generic[P, R_co]):
    """A function as a task. `task.fn` is the untouched function.

    A call in a pipeline body records a node and stands, for type checkers, for the value that the next task receives.
    Outside a body, and inside another task, a call is a plain call: no retry, no record.
    """

    def __init__(self, fn: Callable[P, Any], options: TaskOptions, *, where: str | None = None) -> None:
        self._fn = fn
        self.options = options
        self.name: str = options.get("name") or getattr(fn, "__name__", "")
        self.target: str = f"{fn.__module__}:{getattr(fn, '__qualname__', self.name)}"
        self.where: str = where or line_of(fn)
        self.__doc__ = fn.__doc__
        self.__name__: str = self.name
        self.__qualname__ = getattr(fn, "__qualname__", self.name)
        self.__module__ = fn.__module__
        self.__wrapped__ = fn

    @property
    def fn(self) -> Callable[P, Any]:
        """The function as it was written."""
        return self._fn

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        recorder = active()
        if recorder is not None:
            return cast("R_co", self._record(recorder, args, kwargs))
        for value in (*args, *kwargs.values()):
            if isinstance(value, Reference):
                raise use_refused(value, f"is passed to {self.name} outside a pipeline body")
        return self._plain(*args, **kwargs)

    @overload
    def map(self: _One[dict[str, Any], R], items: pl.DataFrame, /) -> list[R]: ...
    @overload
    def map(self: _One[A, R], items: Iterable[A], /) -> list[R]: ...
    def map(self, items: Any, /, *further: object, **named: object) -> Any:
        """One call per item; the value is the list of the results, in order. A frame maps over its rows as dicts."""
        if further or named:
            rest = ", ".join((*("…" for _ in further), *(f"{name}=…" for name in named)))
            raise GraphError(
                f"{self.name}.map takes the items and nothing else, got {rest} as well",
                where=user_line(),
                cure=f"write the call out: hr.map(lambda item: {self.name}(item, {rest}), items)",
                code="HR1102",
            )
        return map_over(cast("Callable[[Any], Any]", self), items)

    def using(self, **options: Unpack[TaskOptions]) -> Task[P, R_co]:
        """The same task with other options here: `load.using(name="load orders", retries=5)(x)`."""
        return type(self)(self._fn, checked({**self.options, **options}), where=self.where)

    def __rshift__(self, then: object) -> Chain:
        return ordered(self, then)

    def __rrshift__(self, before: object) -> Chain:
        return ordered(before, self)

    def record_uncalled(self, recorder: Recorder) -> str:
        """The node of this task where it stands uncalled in `>>`."""
        needed = required(self._fn)
        if needed:
            raise GraphError(
                f"{self.name} stands uncalled in an order and needs {', '.join(needed)}",
                where=user_line(),
                cure=f"order calls with hr.chain(…, {self.name}(…))",
                code="HR1102",
            )
        return recorder.uncalled(self, lambda: self._record(recorder, (), {}))

    def _plain(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        return self._fn(*args, **kwargs)

    def _record(self, recorder: Recorder, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        recorder.tasks.append(self)
        return recorder.call(
            self.name,
            self.target,
            bind(self._fn, self.name, args, kwargs),
            function=self._fn,
            annotations=hints(self._fn),
            options=frozen(self.options),
            to=self.options.get("to"),
        )

    def __repr__(self) -> str:
        return f"<task {self.name}>"


class AsyncTask(Task[P, R_co]):
    """A task whose function is `async`. A plain call runs it to its end."""

    @property
    def fn(self) -> Callable[P, Coroutine[Any, Any, R_co]]:
        """The function as it was written; `await` its call inside a running event loop."""
        return self._fn

    def using(self, **options: Unpack[TaskOptions]) -> AsyncTask[P, R_co]:
        """The same task with other options here."""
        return AsyncTask(self._fn, checked({**self.options, **options}), where=self.where)

    def _plain(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        import asyncio  # 40 ms that most projects do not need

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(self.fn(*args, **kwargs))
        raise RefusedError(
            f"{self.name} is async and is called as a plain function inside a running event loop",
            where=user_line(),
            cure=f"await {self.name}.fn(…)",
        )


class _Decorate(Protocol):
    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> Task[P, R]: ...


@overload
def task(fn: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...
@overload
def task(fn: Callable[P, R], /) -> Task[P, R]: ...
@overload
def task(**options: Unpack[TaskOptions]) -> _Decorate: ...
def task(fn: Callable[..., Any] | None = None, /, **options: Unpack[TaskOptions]) -> Any:
    """Make a task of a function: `@hr.task`, `@hr.task(retries=3, timeout="10m")`, or `hr.task(script.load)`.

    Options, all by name; `.using(…)` takes the same. Lengths of time are `"10s"`, `"1h30m"` … or `timedelta`.

    name           identity in its pipeline (default: the function's name)
    to             table that the returned frame is published to, with the task's acceptance
    retries        further tries after the code raised or timed out (0)
    backoff        first wait before a retry; doubles, with jitter ("1s")
    backoff_max    longest wait before a retry ("10m")
    timeout        per attempt; its process is killed. In `pipeline.run` it does not act (none)
    max_lost       so many attempts may be lost with their process (the project's: 5)
    trigger_rule   "all_success" (default), "all_done", "one_success", "one_failed" or "none_failed"
    concurrency    at most so many attempts of this task at once, per run (none)
    rate           "500/m": at most so many starts per s, m, h or d (none)
    allow_failed   so many items of a map may fail and its consumer still runs (0)

    Raises `GraphError` for an option that does not exist or cannot have that value.
    """
    chosen = checked(options)
    if fn is None:
        return lambda function: _made(function, chosen)  # pyright: ignore[reportUnknownLambdaType]
    return _made(fn, chosen)


def _made(fn: Callable[..., Any], options: TaskOptions) -> Task[..., Any]:
    if isinstance(fn, Task):
        raise GraphError(f"{fn!r} is a task already", where=user_line(), cure="change its options with .using(…)")
    if not callable(fn) or inspect.isclass(fn):
        raise GraphError(f"a task is a function, got {fn!r}", where=user_line(), cure="decorate a function")
    name = options.get("name") or getattr(fn, "__name__", "<lambda>")
    if name == "<lambda>":
        raise GraphError(f"{fn!r} has no name", where=user_line(), cure='give one: name="load"', code="HR1103")
    kind = AsyncTask if inspect.iscoroutinefunction(fn) else Task
    return kind(fn, options)
