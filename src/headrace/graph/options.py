"""How a task is executed: the options that a user writes, and their frozen form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal, TypedDict, cast, get_args

from headrace.base.durations import micros
from headrace.base.near import near
from headrace.data.table import Table
from headrace.data.where import user_line
from headrace.definitions.nodes import Options
from headrace.errors import GraphError, ProjectError

TriggerRule = Literal["all_success", "all_done", "one_success", "one_failed", "none_failed"]

_RATE = re.compile(r"([1-9][0-9]{0,11})/(s|m|h|d)")
_SPAN_US = {"s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
_COUNTS = {"retries": 0, "max_lost": 0, "concurrency": 1, "allow_failed": 0}


class TaskOptions(TypedDict, total=False):
    """Options of `@hr.task(…)` and `.using(…)`. Durations are `"10s"`, `"10m"` … or `timedelta`."""

    name: str
    to: Table  # publish the result to this table, with the task's acceptance
    retries: int
    backoff: str | timedelta  # the first wait before a retry; doubles, with jitter
    backoff_max: str | timedelta
    timeout: str | timedelta  # per attempt
    max_lost: int  # so many attempts may be lost with their process
    trigger_rule: TriggerRule
    concurrency: int  # at most so many attempts of this task at once, per run
    rate: str  # "500/m": at most so many starts per s, m, h or d
    allow_failed: int  # so many items of a map may fail and its consumer still runs


def checked(given: Mapping[str, Any]) -> TaskOptions:
    """The options, known by name. Raises `GraphError` for an unknown one, and for a value that none can have."""
    unknown = sorted(given.keys() - TaskOptions.__annotations__.keys())
    if unknown:
        known = ", ".join(TaskOptions.__annotations__)
        raise _refused(
            f"a task has no option {unknown[0]!r}{near(unknown[0], TaskOptions.__annotations__)}",
            f"options are {known}",
        )
    frozen(cast("TaskOptions", given))
    name, to = given.get("name"), given.get("to")
    if name is not None and not _is_text(name):
        raise _refused(f"the name of a task is text, got {name!r}", 'write name="load"')
    if to is not None and not isinstance(to, Table):
        raise _refused(f"to= of a task is a table, got {to!r}", "rows for a topic are written by topic.append(rows)")
    return cast("TaskOptions", dict(given))


def frozen(options: TaskOptions) -> Options:
    """The options of a node. Raises `GraphError` for a value that no option can have."""
    chosen: dict[str, Any] = {}
    for name, least in _COUNTS.items():
        if name in options:
            chosen[name] = _count(name, cast("dict[str, Any]", options)[name], least)
    for name in ("backoff", "backoff_max", "timeout"):
        if name in options:
            chosen[f"{name}_us"] = _length(name, cast("dict[str, Any]", options)[name])
    if "rate" in options:
        chosen["rate"], chosen["rate_us"] = _rate(options["rate"])
    if "trigger_rule" in options:
        if options["trigger_rule"] not in get_args(TriggerRule):
            raise _refused(f"there is no trigger rule {options['trigger_rule']!r}", " | ".join(get_args(TriggerRule)))
        chosen["trigger_rule"] = options["trigger_rule"]
    return Options(**chosen)


def _count(name: str, value: object, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise _refused(f"{name}= is a whole number from {least}, got {value!r}", f"write {name}={max(least, 3)}")
    return value


def _length(name: str, value: Any) -> int:
    try:
        return micros(value)
    except ProjectError as error:
        raise _refused(f"{name}= of a task: {error.message}", error.cure or "") from None


def _is_text(name: object) -> bool:
    """Text that can be stored: half a character cannot."""
    return isinstance(name, str) and name == name.encode("utf-8", "ignore").decode()


def _rate(text: object) -> tuple[int, int]:
    match = _RATE.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise _refused(f"expected a rate, got {text!r}", 'write starts per second, minute, hour or day: "500/m"')
    return int(match[1]), _SPAN_US[match[2]]


def _refused(message: str, cure: str) -> GraphError:
    return GraphError(message, where=user_line(), cure=cure, code="HR1102")
