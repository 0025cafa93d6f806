"""Streams: functions that run for ever from a topic to a topic or table."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Generic, Literal, ParamSpec, Protocol, TypeVar, get_args

from headrace.base.instants import iso, to_us
from headrace.data.names import checked_name
from headrace.data.recording import act_now
from headrace.data.reference import Reference
from headrace.data.table import Table
from headrace.data.topic import Source, Topic
from headrace.data.where import line_of, user_line
from headrace.definitions.project import StreamDef
from headrace.errors import GraphError
from headrace.graph.annotations import hints, is_named

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
Rows = Literal["each", "some", "any"]


class Stream(Generic[P, R_co]):
    """A stream. Called, it is the plain function, for tests and batch use."""

    def __init__(
        self,
        fn: Callable[P, R_co],
        source: Source,
        to: Topic | Table,
        *,
        name: str | None,
        bind: Mapping[str, Reference],
        rows: str,
        start: str,
        retry_on: tuple[type[BaseException], ...],
    ) -> None:
        self.fn = fn
        self.source = source
        self.to = to
        self.bind: dict[str, Reference] = dict(bind)
        self.retry_on = retry_on
        self.name: str = checked_name("stream", name or fn.__name__)
        self.where: str = line_of(fn)
        if isinstance(to, Table) and to.definition.known is None:
            raise GraphError(
                f"the stream {self.name} writes to the table {to.name!r}, which keeps no history",
                where=self.where,
                cure=f'give the table known="…" (the column with the time from which a row may be read), or write to a '
                f'topic: to=hr.Topic("{to.name}")',
            )
        self.definition: StreamDef = StreamDef(
            name=self.name,
            target=f"{fn.__module__}:{fn.__qualname__}",
            source=source.definition,
            to=to.name,
            to_kind=to.kind,
            bind={parameter: reference.ref for parameter, reference in bind.items()},
            rows=rows,
            start=start,
            retry_on=tuple(_exception_name(kind) for kind in retry_on),
            mode=_mode(fn),
            doc=inspect.cleandoc(fn.__doc__ or ""),
        )
        self.__doc__ = fn.__doc__
        self.__name__: str = self.name
        self.__qualname__ = fn.__qualname__
        self.__module__ = fn.__module__
        self.__wrapped__ = fn

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        act_now(f"the stream {self.name}", "put what both need into a function, and call that inside a task")
        return self.fn(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<stream {self.name}>"


class _Decorate(Protocol):
    def __call__(self, fn: Callable[P, R], /) -> Stream[P, R]: ...


def stream(
    source: Topic | Source,
    *,
    to: Topic | Table,
    name: str | None = None,
    bind: Mapping[str, object] | None = None,
    rows: Rows = "each",
    start: Literal["now", "earliest"] | datetime | date | str = "now",
    retry_on: Sequence[type[BaseException]] = (),
) -> _Decorate:
    """Make a stream of a function whose first parameter is a batch.

    `bind` fills the other parameters with references such as `delay.champion()`, pinned once per batch. `rows` is the
    contract: "each" (output row i belongs to input row i), "some" (a subset, the key kept) or "any". Exceptions in
    `retry_on` (I/O, timeouts) hold the stream; any other puts the row that raises into the dead letters.
    Raises `GraphError` for a wrong value.
    """
    if rows not in get_args(Rows):
        raise _refused(f"rows= is one of {', '.join(get_args(Rows))}, got {rows!r}", 'write rows="each"')
    if not isinstance(source, Topic | Source):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise _refused(f"a stream reads a topic or a join on one, got {source!r}", "give the topic, not its rows")
    if not isinstance(to, Topic | Table):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise _refused(f"a stream writes to a topic or a table, got {to!r}", "give to=topic or to=table")
    bound = dict(bind or {})
    references = {parameter: value for parameter, value in bound.items() if isinstance(value, Reference)}
    for parameter in bound.keys() - references.keys():
        raise _refused(
            f"bind={{{parameter!r}: …}} is not a reference but a {type(bound[parameter]).__name__}",
            "bind references: table.latest(), model.champion()",
        )
    begin = start if isinstance(start, str) and start in ("now", "earliest") else iso(to_us(start))

    def decorate(fn: Callable[P, R], /) -> Stream[P, R]:
        if not inspect.isfunction(fn):
            raise _refused(f"a stream is a function, got {fn!r}", "decorate a function")
        return Stream(
            fn,
            source if isinstance(source, Source) else Source(source),
            to,
            name=name,
            bind=references,
            rows=rows,
            start=begin,
            retry_on=tuple(retry_on),
        )

    return decorate


def _mode(fn: Callable[..., Any]) -> str:
    """How the function wants its batch: by the annotation of its first parameter; an async one takes rows."""
    first = next(iter(inspect.signature(fn).parameters), None)
    annotation = hints(fn).get(first) if first else None
    if is_named(annotation, "polars", "Series"):
        return "series"
    if inspect.iscoroutinefunction(fn) or _is_row(annotation):
        return "row"
    return "frame"


def _is_row(annotation: Any) -> bool:
    plain = getattr(annotation, "__origin__", annotation)
    return plain in (dict, Mapping) or hasattr(plain, "__required_keys__")


def _exception_name(kind: type[BaseException]) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _refused(message: str, cure: str) -> GraphError:
    return GraphError(message, where=user_line(), cure=cure, code="HR1202")
