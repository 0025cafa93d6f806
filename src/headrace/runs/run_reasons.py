"""Why a run and its tasks are where they are, in the words of `reasons`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

import msgspec

from headrace.base.durations import format_duration
from headrace.base.instants import iso, to_the_second
from headrace.data.where import is_library, is_own
from headrace.definitions.nodes import Graph, Node, refs
from headrace.runs.extent import Counted, Extent
from headrace.runs.reach import NOTHING_KNOWN, Reach, to_come, waits_for
from headrace.runs.reasons import NO_ENGINE, START_ENGINE, Reason
from headrace.runs.rows import ScopeRow

_FRAME = re.compile(r'^ +(?:[|] +)?File "([^"]+)", line (\d+)', re.MULTILINE)
_OWN_ERROR = re.compile(r"^\w+ HR\d{4}: ")
_SHOWN = 3

QUEUED = "queued"  # what is told of a run that is held; its row says `running`
NOT_IN_CODE = "it is not in the project's code"
NO_WORKERS = "there are no workers: workers = 0"
MORE_WORKERS = "workers = 2 in headrace.toml, then headrace dev"
_ABSOLUTE = re.compile(r"[:'\s]['\"]?/")


@dataclass(frozen=True, slots=True)
class HeldBy:
    """A run may not begin: `most` of its pipeline may be at work at a time, and `runs` are."""

    most: int
    runs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AtWork:
    """A run of which so many attempts are with workers."""

    run: str
    pipeline: str
    attempts: int


class RunState(Protocol):
    """A run's row, as far as reasons need it."""

    @property
    def run(self) -> str: ...
    @property
    def pipeline(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def cause(self) -> str: ...
    @property
    def params(self) -> Mapping[str, Any]: ...
    @property
    def window(self) -> tuple[int, int] | None: ...
    @property
    def waits(self) -> tuple[str, ...]: ...
    @property
    def cancelled_by(self) -> str | None: ...
    @property
    def end_why(self) -> str | None: ...
    @property
    def dropped_us(self) -> int | None: ...


class CellState(Counted, Protocol):
    """The same with what is at work, and why what was skipped was."""

    @property
    def running(self) -> int: ...
    @property
    def why(self) -> str | None: ...


class ItemState(Protocol):
    """One item of a task run, after its first attempt."""

    @property
    def node(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def item(self) -> int: ...
    @property
    def state(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def worker(self) -> str | None: ...
    @property
    def started_us(self) -> int | None: ...
    @property
    def retry_at_us(self) -> int | None: ...
    @property
    def error(self) -> str | None: ...
    @property
    def detail(self) -> str | None: ...
    @property
    def was_lost(self) -> bool: ...
    @property
    def why(self) -> str | None: ...


def of_run(
    run: RunState,
    graph: Graph,
    cells: Sequence[CellState],
    items: Iterable[ItemState],
    *,
    reaches: Mapping[str, Reach],
    has_engine: bool,
    scopes: Iterable[ScopeRow] = (),
    deployed: Graph | None = None,
    held_by: HeldBy | None = None,
    at_work: Sequence[AtWork] = (),
    root: str = "",
    workers: int = 1,
    is_in_code: bool = True,
) -> list[Reason]:
    """Why a run and its tasks are where they are. `items` are those that have not succeeded.

    `deployed` is the graph that the pipeline has now, where the deployed code is another than the run's, `at_work` the
    runs that hold the workers, most attempts first, and `root` the folder that relative paths of tasks begin at.
    `workers` is how many there may be, and a pipeline that is not `is_in_code` cannot be run again.
    """
    about = f"run {run.run}"
    if run.state == "succeeded":
        return [Reason(about, "succeeded", "nothing waits or fails")]
    if run.state in ("failed", "lost", "cancelled"):
        why = run.end_why or "it has ended"
        next_step = _again(run, graph, deployed) if is_in_code else ""
        why += "" if is_in_code else f" ({run.pipeline}: {NOT_IN_CODE})"
        why += "" if run.dropped_us is None else f" (its details were dropped on {to_the_second(run.dropped_us)})"
        why += f" (cancelled by {run.cancelled_by})" if run.cancelled_by and run.state != "cancelled" else ""
        ended = Reason(about, run.state, why, next_step)
        return [ended, *_failed_items(run, items, root), *_skipped(run, cells)]
    if not has_engine and run.cause != "here":
        return [Reason(about, run.state, NO_ENGINE, START_ENGINE)]
    if run.state == "cancelling":
        return [Reason(about, run.state, f"{run.cancelled_by} cancelled it", "its running attempts are told to stop")]
    if run.state == "waiting" and run.window is not None:
        return _topics(run, run.window, reaches)
    if held_by is not None:
        others = ", ".join(held_by.runs)
        why = f"max_active = {held_by.most}: waits for run{'' if len(held_by.runs) == 1 else 's'} {others}"
        return [Reason(about, QUEUED, why, f"headrace why {held_by.runs[0]}")]
    items = list(items)
    free = _free_worker(at_work) if workers else NO_WORKERS
    ready = {node.name: _ready(node, cells, free) for node in graph.nodes}
    pending = _pending(run, graph, cells, {item.node for item in items}, Extent(graph, cells, scopes), ready)
    return [*_items(run, items, root, ready, free), *_skipped(run, cells), *pending]


def _topics(run: RunState, window: tuple[int, int], reaches: Mapping[str, Reach]) -> list[Reason]:
    """The topics that have not come to the end of its window, each with the ways on."""
    by_hand = f"headrace trigger {_asked(run)}"
    return [
        Reason(
            f"run {run.run}",
            "waiting",
            waits_for(topic, window[1], reach),
            f"{to_come(window[1], reach)}; without them ready_within= of the pipeline, or {by_hand} "
            f"(a run beside this one, which still comes unless you headrace runs cancel {run.run})",
        )
        for topic in run.waits
        if (reach := reaches.get(topic, NOTHING_KNOWN)).is_behind(window[1])
    ]


def _again(run: RunState, graph: Graph, deployed: Graph | None) -> str:
    """How a run that went wrong is run again: with the deployed code where that is another one and can go on with it."""
    asked = _asked(run)
    if run.cause == "here":
        return f"headrace run {asked}"
    if run.dropped_us is not None:
        return f"headrace trigger {asked}"
    if deployed is None or run.cause == "monitor":
        return f"headrace runs retry {run.run}"
    return f"headrace runs retry {run.run} --current-code" if deployed == graph else f"headrace trigger {asked}"


def _asked(run: RunState) -> str:
    """The pipeline with the run's parameters and window, as `headrace run` and `headrace trigger` take them."""
    words = [f"{name}={x if isinstance(x, str) else msgspec.json.encode(x).decode()}" for name, x in run.params.items()]
    span = [] if run.window is None else ["--window", iso(run.window[0]), iso(run.window[1])]
    return shlex.join([run.pipeline, *words, *span])


def _free_worker(at_work: Sequence[AtWork]) -> str:
    """What a ready task waits for, and what holds it."""
    if not at_work:
        return "waits for a free worker"
    attempts = [f"{x.attempts} attempt{'s' if x.attempts > 1 else ''} of run {x.run} ({x.pipeline})" for x in at_work]
    more = f" and those of {len(attempts) - _SHOWN} more runs" if len(attempts) > _SHOWN else ""
    return f"waits for a free worker: they have {', '.join(attempts[:_SHOWN])}{more}"


def _ready(node: Node, cells: Sequence[CellState], free: str) -> str:
    """What a task that is ready waits for: its own limits first."""
    options = node.options
    running = sum(cell.running for cell in cells if cell.node == node.name)
    if free == NO_WORKERS:
        return free
    if options.concurrency is not None and running >= options.concurrency:
        return f"concurrency = {options.concurrency}: waits for one of its {running} running attempts"
    if options.rate is not None:
        length = format_duration(timedelta(microseconds=options.rate_us))
        return f"waits for its rate, at most {options.rate} starts in {length}, and for a free worker"
    return free


def _then(ready: str) -> str:
    return MORE_WORKERS if ready == NO_WORKERS else "goes by itself"


def _items(run: RunState, items: Sequence[ItemState], root: str, ready: Mapping[str, str], free: str) -> list[Reason]:
    reasons: list[Reason] = []
    for item in items:
        match item.state:
            case "running":
                since = f" since {to_the_second(item.started_us)}" if item.started_us is not None else ""
                worker = f" in worker {(item.worker or '').partition('#')[0]}" if item.worker else ""
                step = f"{_logs(run, item)} --follow"
                reasons.append(Reason(place(run, item), "running", f"attempt {item.attempt}{since}{worker}", step))
            case "waiting_retry":
                is_held = ready.get(item.node, free) not in (free, NO_WORKERS)
                at = "as soon as its limits and a worker allow" if is_held else "as soon as a worker is free"
                if item.retry_at_us is not None:
                    at = f"tried again at {to_the_second(item.retry_at_us)}, or {at} then"
                ended = "lost" if item.was_lost else "failed"
                why = f"attempt {item.attempt} {ended}: {_error(item, root)}"
                reasons.append(Reason(place(run, item), "waiting", why, at))
            case "pending" | "returned":
                why = ready.get(item.node, free)
                reasons.append(Reason(place(run, item), "waiting", why, _then(why)))
            case _:
                pass
    return reasons + _failed_items(run, items, root)


def _failed_items(run: RunState, items: Iterable[ItemState], root: str) -> list[Reason]:
    reasons: list[Reason] = []
    for x in items:
        if x.state in ("failed", "lost"):
            cure, logs = _cure(x), _logs(run, x)
            step = f"{cure} ({logs})" if cure else logs
            lost = " was lost" if x.was_lost else ""
            reasons.append(Reason(place(run, x), "failed", f"attempt {x.attempt}{lost}: {_error(x, root)}", step))
    return reasons


def _logs(run: RunState, item: ItemState) -> str:
    return f"headrace logs {run.run} {shlex.quote(item.node)}"


def _error(item: ItemState, root: str) -> str:
    """The error in one line, with the innermost line of the user's code that it came through."""
    text = item.error or item.why or "no reason is known"
    if root and text.startswith("FileNotFoundError") and not _ABSOLUTE.search(text):
        text = f"{text} (relative to {root})"
    frames: list[tuple[str, str]] = _FRAME.findall(item.detail or "")
    users = [
        f"{file}:{line}" for file, line in frames if not (file.startswith("<") or is_library(file) or is_own(file))
    ]
    return f"{text}, at {users[-1]}" if users else text


def _cure(item: ItemState) -> str:
    """The next step that an error of Headrace itself names: in its text, the indented line after the message."""
    last = (item.detail or "").rstrip().rpartition("\n")[2]
    is_told = _OWN_ERROR.match(item.error or "") and last.startswith("  ") and not last.startswith("    ")
    return last.strip() if is_told else ""


def _skipped(run: RunState, cells: Sequence[CellState]) -> list[Reason]:
    return [Reason(f"run {run.run} task {c.node}", "skipped", c.why or "skipped") for c in cells if c.is_skipped]


def _pending(
    run: RunState,
    graph: Graph,
    cells: Sequence[CellState],
    seen: set[str],
    extent: Extent,
    ready: Mapping[str, str],
) -> list[Reason]:
    """Tasks that have not begun, and maps of which items have not: what they wait for, or that they are ready."""
    begun = {cell.node for cell in cells} | seen
    reasons: list[Reason] = []
    for node in graph.nodes:
        left = extent.left(node.name)
        running = sum(cell.running for cell in cells if cell.node == node.name)
        if left == (0, 0) or (node.name in begun and (not node.scope or left is None or left[0] <= running)):
            continue
        open_ = [name for name in upstream_of(graph, node) if not extent.has_ended(name)]
        why = f"waits for {', '.join(open_)}" if open_ else f"ready: {ready[node.name]}"
        if node.name in begun and left is not None:
            why = f"{left[0] - running:,} of {left[1]:,} items are to come; {why}"
        step = "goes by itself" if open_ else _then(ready[node.name])
        reasons.append(Reason(f"run {run.run} task {node.name}", "waiting", why, step))
    return reasons


def upstream_of(graph: Graph, node: Node) -> list[str]:
    """The nodes whose results or ends this one waits for, in the order of the graph."""
    overs = {scope.name: scope.over for scope in graph.scopes}
    inputs = [*node.inputs.values(), *(condition.test for condition in node.when), *(overs[s] for s in node.scope)]
    needed = {ref.node for value in inputs for ref in refs(value)} | set(node.after)
    return [other.name for other in graph.nodes if other.name in needed]


def place(run: RunState, item: ItemState) -> str:
    """`run r1 task train`, or `run r1 task load[3]` for an item of a map: nested maps are `load[3.0]`."""
    if not item.path and item.item == 0:
        return f"run {run.run} task {item.node}"
    return f"run {run.run} task {item.node}[{item.path + '.' if item.path else ''}{item.item}]"
