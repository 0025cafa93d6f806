"""The shape of a body beyond calls: order (`>>`, `chain`), groups, maps and branches."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast, overload, runtime_checkable

from headrace.data.where import user_line
from headrace.errors import GraphError
from headrace.graph.handle import Handle
from headrace.graph.recorder import Recorder, active

if TYPE_CHECKING:
    import polars as pl

A = TypeVar("A")
B = TypeVar("B")
R = TypeVar("R")


@runtime_checkable
class Uncalled(Protocol):
    """A task as `>>` takes it."""

    def record_uncalled(self, recorder: Recorder) -> str: ...


class Chain:
    """Steps in order: what `a >> b` gives, to be continued with `>> c`."""

    def __init__(self, first: tuple[str, ...], last: tuple[str, ...]) -> None:
        self.first = first
        self.last = last

    def __rshift__(self, then: object) -> Chain:
        return ordered(self, then)

    def __rrshift__(self, before: object) -> Chain:
        return ordered(before, self)


def ordered(before: object, then: object) -> Chain:
    """`before >> then`. Raises `GraphError` outside a body and for anything but uncalled tasks and lists of them."""
    recorder = _recorder(">>")
    first, second = _steps(before, recorder, calls=False), _steps(then, recorder, calls=False)
    recorder.order(first.last, second.first)
    return Chain(first.first, second.last)


def chain(*steps: object) -> None:
    """Order without data, for calls: `hr.chain(a(x), [b(y), c(z)], d)`. A list is a step of several nodes.

    Raises `GraphError` outside a pipeline body.
    """
    recorder = _recorder("hr.chain")
    taken = [_steps(step, recorder, calls=True) for step in steps]
    for before, then in pairwise(taken):
        recorder.order(before.last, then.first)


@contextmanager
def group(name: str) -> Generator[None]:
    """Show the calls inside `with hr.group("load"):` as one group, nested as deep as wanted. It changes no run."""
    with _recorder("hr.group").group(name):
        yield


@overload
def map(body: Callable[[dict[str, Any]], R], items: pl.DataFrame, /) -> list[R]: ...  # noqa: A001
@overload
def map(body: Callable[[A], R], items: Iterable[A], /) -> list[R]: ...  # noqa: A001
def map(body: Callable[[Any], Any], items: Any, /) -> Any:  # noqa: A001
    """Run `body` once per item: `hr.map(lambda c: score_one(c, model), chunks)`, nested as deep as wanted.

    In a pipeline body it is recorded, and each item is retried by itself; elsewhere it is a plain loop. A frame maps
    over its rows as dicts. The body returns the result of a task that it calls.
    """
    return map_over(body, items)


@overload
def when(ok: bool, then: Callable[[], A], /) -> A | None: ...
@overload
def when(ok: bool, then: Callable[[], A], otherwise: Callable[[], B], /) -> A | B: ...
def when(ok: bool, then: Callable[[], Any], otherwise: Callable[[], Any] | None = None, /) -> Any:
    """Choose a branch: `m = hr.when(ok, lambda: train_big(x), lambda: train_small(x))`.

    Both are recorded, one runs, and its value is the value here (None where there is no second one). Elsewhere, and for
    a constant, it is a plain choice.
    """
    recorder = active()
    if recorder is None or type(ok) is bool:
        return then() if ok else otherwise() if otherwise else None
    return recorder.when(ok, then, otherwise)


def map_over(body: Callable[[Any], Any], items: Any) -> Any:
    """The map of this place: recorded in a body, done elsewhere."""
    recorder = active()
    if recorder is not None:
        return recorder.map(body, items)
    rows = getattr(items, "iter_rows", None)
    return [body(item) for item in (rows(named=True) if rows else items)]


def _steps(step: object, recorder: Recorder, *, calls: bool) -> Chain:
    match step:
        case Chain():
            return step
        case Handle() if calls:
            nodes = recorder.nodes_of(step)
            if nodes:
                return Chain(nodes, nodes)
        case list() | tuple():
            parts = [_steps(part, recorder, calls=calls) for part in cast("list[object]", step)]
            return Chain(tuple(t for p in parts for t in p.first), tuple(t for p in parts for t in p.last))
        case Handle():
            raise GraphError(
                f"`>>` orders uncalled tasks, and here stands {step.note}",
                where=user_line(),
                cure="order calls with hr.chain(a(x), b(y))",
                code="HR1104",
            )
        case _ if isinstance(step, Uncalled):
            node = step.record_uncalled(recorder)
            return Chain((node,), (node,))
        case _:
            pass
    raise GraphError(
        "only tasks and their results have an order", where=user_line(), cure="a >> [b, c] >> d", code="HR1104"
    )


def _recorder(what: str) -> Recorder:
    recorder = active()
    if recorder is None:
        raise GraphError(f"{what} is for the body of a pipeline", where=user_line(), cure="put it under @hr.pipeline")
    return recorder
