"""One attempt from its message to its report: arguments, the user's function, publication, the stored result."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from dataclasses import dataclass
from types import CoroutineType
from typing import Any, cast

import msgspec

from headrace.data.access import installed
from headrace.definitions.nodes import Node
from headrace.errors import CodecError, DamagedError, HeadraceError, NotFoundError, StoreError
from headrace.executors.inputs import Arguments, Pipeline
from headrace.executors.parts import AskPin, AttemptAccess, Parts
from headrace.executors.protocol import Done, Failed, Start
from headrace.executors.tracebacks import one_line, told, user_frames
from headrace.graph.signature import call_with
from headrace.host.failpoints import reach
from headrace.runs.effects import NO_EFFECTS

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class AttemptCancelled(BaseException):
    """Raised inside the user's code when its run is cancelled. No Exception, so `except Exception` lets it by."""


@dataclass(frozen=True, slots=True)
class CurrentAttempt:
    """What `hr.current()` returns inside a task."""

    run: str
    task: str
    item: tuple[int, ...]
    attempt: int
    key: str
    token: int

    @classmethod
    def of(cls, start: Start) -> CurrentAttempt:
        return cls(start.run, start.node, (*start.path, start.item), start.attempt, start.key, start.token)


@dataclass(frozen=True, slots=True)
class _Prepared:
    pipeline: Pipeline
    node: Node
    function: Callable[..., Any] | None
    by_name: bool  # every parameter can be given by name
    levels: int  # how deep maps go over its result


class AttemptRunner:
    """Runs attempts of one code version, one after the other."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._pipelines: dict[str, Pipeline] = {}
        self._prepared: dict[tuple[str, str], _Prepared] = {}

    def run(self, start: Start, ask: AskPin) -> Done | Failed:
        """Run it to its end. Whatever it raises becomes a `Failed`; only a dead process reports nothing."""
        began_ns, is_task = time.monotonic_ns(), True
        try:
            prepared = self._prepared.get((start.pipeline, start.node)) or self._prepare(start)
            is_task = prepared.node.kind == "task"
            access = self._parts.make_access(start, ask)
            # A context of its own: what the task sets in a context variable ends with it.
            result = copy_context().run(self._call, prepared, start, access)
            stored = self._parts.values.encode(
                result,
                prefix=self._parts.prefix(start),
                what=f"the result of task {start.node!r}",
                levels=prepared.levels,
            )
            effects = access.effects
            body = None if effects is NO_EFFECTS or effects == NO_EFFECTS else msgspec.json.encode(effects)
            return Done(start.serial, stored, _took_us(began_ns), access.reads, body)
        except BaseException as error:
            return failure(start.serial, error, _took_us(began_ns), is_task=is_task)

    def _prepare(self, start: Start) -> _Prepared:
        pipeline = self._pipelines.get(start.pipeline)
        if pipeline is None:
            loaded = self._parts.loaded.pipelines.get(start.pipeline)
            if loaded is None:
                raise NotFoundError(
                    f"this code version has no pipeline {start.pipeline!r} that loads",
                    cure="headrace check says why; then retry the run on today's code",
                )
            pipeline = self._pipelines[start.pipeline] = Pipeline(loaded)
        function = pipeline.loaded.functions.get(start.node)
        by_name = function is None or all(p.kind in _NAMED for p in inspect.signature(function).parameters.values())
        found = _Prepared(pipeline, pipeline.nodes[start.node], function, by_name, pipeline.levels.get(start.node, 0))
        self._prepared[start.pipeline, start.node] = found
        return found

    def _call(self, prepared: _Prepared, start: Start, access: AttemptAccess) -> Any:
        node, project = prepared.node, self._parts.loaded.project
        with installed(access):
            arguments = Arguments(self._parts, prepared.pipeline, node, start, access).all()
            match node.kind:
                case "register":
                    return access.register(project.models[node.target], **arguments)
                case "write":
                    return access.write_table(project.tables[node.target], arguments["rows"])
                case "append":
                    access.append(project.topics[node.target], arguments["rows"])
                    return None  # the offsets are assigned when the attempt is accepted
                case _:
                    reach("worker.before_function")
                    result = _returned(prepared, arguments)
                    reach("worker.after_function")
            if node.to is not None:
                access.write_table(project.tables[node.to], result)
            return result


def failure(serial: int, error: BaseException, took_us: int, *, is_task: bool = True) -> Failed:
    """The report for an exception, in words for the task's author. What Headrace does itself refuses once and for all."""
    line, detail, retryable = one_line(error), user_frames(error), True
    match error:
        case AttemptCancelled():
            line, retryable = "the run was cancelled", False
        case SystemExit(code=code):
            shown = "" if code is None else told(repr(code))[:80]
            line = f"SystemExit: the task called sys.exit({shown})"
            detail += "\nA task ends by returning, or fails by raising an exception."
        case KeyboardInterrupt():
            line = "KeyboardInterrupt: the task was interrupted"
        case CodecError():
            retryable = False  # the same value again would be refused again
        case HeadraceError():
            retryable = is_task or (isinstance(error, StoreError) and not isinstance(error, DamagedError))
        case _:
            pass
    return Failed(serial, line, detail, took_us, retryable)


def _returned(prepared: _Prepared, arguments: dict[str, Any]) -> Any:
    function = cast("Callable[..., Any]", prepared.function)
    if prepared.by_name:
        result = function(**arguments)
    else:
        args, kwargs = call_with(function, arguments)
        result = function(*args, **kwargs)
    return _awaited(cast("Coroutine[Any, Any, Any]", result)) if type(result) is CoroutineType else result


def _awaited(coroutine: Coroutine[Any, Any, Any]) -> Any:
    import asyncio  # 40 ms that most projects do not need
    from concurrent.futures import ThreadPoolExecutor

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    # In a notebook this thread already runs a loop: a thread of its own, with the same context, runs this one.
    with ThreadPoolExecutor(1) as aside:
        return aside.submit(copy_context().run, asyncio.run, coroutine).result()


def _took_us(began_ns: int) -> int:
    return (time.monotonic_ns() - began_ns) // 1000
