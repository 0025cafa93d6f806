"""The words for everything that waits, is skipped or failed: the same in UI, CLI and API.

Pure functions from rows to reasons. A reason says what it is about, in which state, why, and what happens or is to be
done next.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from headrace.base.instants import iso
from headrace.data.where import is_library, is_own
from headrace.definitions.nodes import Graph, Node, refs
from headrace.definitions.project import ModelDef, MonitorDef, PipelineDef
from headrace.models.controller import ControllerState

UPSTREAM = "upstream "  # every reason that begins so means: something before it failed
BRANCH_NOT_TAKEN = "branch not taken"

NO_ENGINE = "no engine is alive"
START_ENGINE = "headrace dev"
NO_CHAMPION = "no champion yet"

_SLOT = re.compile(r"\bslot (\d{10,18})\b")
_FRAME = re.compile(r'^ +(?:[|] +)?File "([^"]+)", line (\d+)', re.MULTILINE)
_OWN_ERROR = re.compile(r"^\w+ HR\d{4}: ")
_ABSOLUTE = re.compile(r"[:'\s]['\"]?/")


@dataclass(frozen=True, slots=True)
class Reason:
    """Why one thing is in its state, and the next step: a command, or what it waits for. `next` is "" for none."""

    about: str
    state: str
    why: str
    next: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """A run may not begin: `most` of its pipeline may be at work at a time, and `runs` are."""

    most: int
    runs: tuple[str, ...]


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
    def window(self) -> tuple[int, int] | None: ...
    @property
    def waits(self) -> tuple[str, ...]: ...
    @property
    def cancelled_by(self) -> str | None: ...
    @property
    def end_why(self) -> str | None: ...


class CellState(Protocol):
    """Counts of a task run's items at one path."""

    @property
    def node(self) -> str: ...
    @property
    def running(self) -> int: ...
    @property
    def succeeded(self) -> int: ...
    @property
    def failed(self) -> int: ...
    @property
    def skipped(self) -> int: ...
    @property
    def is_skipped(self) -> bool: ...
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
    def why(self) -> str | None: ...


class ShardState(Protocol):
    """One shard of a stream."""

    @property
    def stream(self) -> str: ...
    @property
    def shard(self) -> int: ...
    @property
    def next_offset(self) -> int | None: ...
    @property
    def model(self) -> str | None: ...
    @property
    def model_version(self) -> int | None: ...
    @property
    def model_problem(self) -> str | None: ...
    @property
    def why(self) -> str | None: ...
    @property
    def is_stopped(self) -> bool: ...
    @property
    def until_us(self) -> int | None: ...
    @property
    def dead(self) -> int: ...


def waits_for(topic: str, end_us: int, watermarks: Mapping[str, int]) -> str:
    """
    >>> waits_for("departures", 86_400_000_000, {"departures": 85_260_000_000})
    'waits for departures: complete through 1970-01-01T23:41Z, needed 1970-01-02T00:00Z'
    """
    reached = watermarks.get(topic)
    so_far = "nobody has said how far it is complete" if reached is None else f"complete through {iso(reached)}"
    return f"waits for {topic}: {so_far}, needed {iso(end_us)}"


def evidence_in_words(text: str) -> str:
    """What an ask for a training rests on: only what was found first, and slots as instants.

    >>> evidence_in_words("schedule: slot 86400000000"), evidence_in_words("psi of temp 0.3 is above 0.2; auc 0.7 …")
    ('schedule: slot 1970-01-02T00:00Z', 'psi of temp 0.3 is above 0.2')
    """
    return _SLOT.sub(lambda found: f"slot {iso(int(found[1]))}", text.partition("; ")[0])


# -- runs ------------------------------------------------------------------------------------------------------------


def of_run(
    run: RunState,
    graph: Graph,
    cells: Sequence[CellState],
    items: Iterable[ItemState],
    *,
    watermarks: Mapping[str, int],
    has_engine: bool,
    deployed: Graph | None = None,
    held_by: Held | None = None,
    root: str = "",
) -> list[Reason]:
    """Why a run and its tasks are where they are. `items` are those that have not succeeded.

    `deployed` is the graph that the pipeline has now, where the deployed code is another than the run's, and `root` the
    folder that relative paths of tasks begin at.
    """
    about = f"run {run.run}"
    if run.state == "succeeded":
        return [Reason(about, "succeeded", "nothing waits or fails")]
    if run.state in ("failed", "lost", "cancelled"):
        why = (run.end_why or "").removeprefix(f"{run.state}: ") or "it has ended"
        next_step = _again(run, graph, deployed)
        ended = Reason(about, run.state, f"{why} (by {run.cancelled_by})" if run.cancelled_by else why, next_step)
        return [ended, *_failed_items(run, items, root), *_skipped(run, cells)]
    if not has_engine and run.cause != "here":
        return [Reason(about, run.state, NO_ENGINE, START_ENGINE)]
    if run.state == "cancelling":
        return [Reason(about, run.state, f"{run.cancelled_by} cancelled it", "its running attempts are told to stop")]
    if run.state == "waiting" and run.window is not None:
        end_us = run.window[1]
        behind = [topic for topic in run.waits if watermarks.get(topic, 0) < end_us]
        return [Reason(about, "waiting", waits_for(topic, end_us, watermarks), "rows up to then") for topic in behind]
    if held_by is not None:
        others = ", ".join(held_by.runs)
        why = f"max_active = {held_by.most}: waits for run{'' if len(held_by.runs) == 1 else 's'} {others}"
        return [Reason(about, "held", why, f"headrace why {held_by.runs[0]}")]
    items = list(items)
    pending = _pending(run, graph, cells, {item.node for item in items})
    return [*_items(run, items, root), *_skipped(run, cells), *pending]


def _again(run: RunState, graph: Graph, deployed: Graph | None) -> str:
    """How a run that went wrong is run again: with the deployed code where that is another one and can go on with it."""
    pipeline = shlex.quote(run.pipeline)
    if run.cause == "here":
        return f"headrace run {pipeline}"
    if deployed is None or run.cause == "monitor":
        return f"headrace runs retry {run.run}"
    return f"headrace runs retry {run.run} --current-code" if deployed == graph else f"headrace trigger {pipeline}"


def _items(run: RunState, items: Sequence[ItemState], root: str) -> list[Reason]:
    reasons: list[Reason] = []
    for item in items:
        match item.state:
            case "running":
                since = f" since {_second(item.started_us)}" if item.started_us is not None else ""
                worker = f" in worker {(item.worker or '').partition('#')[0]}" if item.worker else ""
                step = f"{_logs(run, item)} --follow"
                reasons.append(Reason(place(run, item), "running", f"attempt {item.attempt}{since}{worker}", step))
            case "waiting_retry":
                at = f"tried again at {_second(item.retry_at_us)}" if item.retry_at_us is not None else "tried again"
                why = f"attempt {item.attempt} failed: {_error(item, root)}"
                reasons.append(Reason(place(run, item), "waiting", why, at))
            case "pending" | "returned":
                reasons.append(Reason(place(run, item), "waiting", "waits for a free worker", "goes by itself"))
            case _:
                pass
    return reasons + _failed_items(run, items, root)


def _failed_items(run: RunState, items: Iterable[ItemState], root: str) -> list[Reason]:
    reasons: list[Reason] = []
    for x in items:
        if x.state in ("failed", "lost"):
            cure, logs = _cure(x), _logs(run, x)
            step = f"{cure} ({logs})" if cure else logs
            reasons.append(Reason(place(run, x), "failed", f"attempt {x.attempt}: {_error(x, root)}", step))
    return reasons


def _second(us: int) -> str:
    """An instant of this machine, to the second."""
    return iso(us - us % 1_000_000)


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


def _pending(run: RunState, graph: Graph, cells: Sequence[CellState], seen: set[str]) -> list[Reason]:
    """Tasks that have not begun: what they wait for, or that they are ready."""
    begun = {cell.node for cell in cells} | seen
    ended = {c.node for c in cells if (c.succeeded or c.failed or c.skipped or c.is_skipped) and not c.running} - seen
    reasons: list[Reason] = []
    for node in graph.nodes:
        if node.name in begun:
            continue
        open_ = [name for name in upstream_of(graph, node) if name not in ended]
        why = f"waits for {', '.join(open_)}" if open_ else "ready: waits for a free worker"
        reasons.append(Reason(f"run {run.run} task {node.name}", "waiting", why, "goes by itself"))
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


# -- pipelines, models, monitors, streams ----------------------------------------------------------------------------


def of_pipeline(
    pipeline: PipelineDef,
    *,
    paused_by: str | None,
    next_slot_us: int | None,
    fires_schedules: bool,
    has_engine: bool,
    held_events: int = 0,
) -> list[Reason]:
    """Why no run of the pipeline starts now."""
    about = f"pipeline {pipeline.name}"
    reasons: list[Reason] = []
    if paused_by is not None:
        reasons.append(
            Reason(about, "paused", f"paused by {paused_by}", f"headrace pipelines resume {shlex.quote(pipeline.name)}")
        )
    if not has_engine:
        reasons.append(Reason(about, "waiting", NO_ENGINE, START_ENGINE))
    if next_slot_us is not None and not fires_schedules:
        reasons.append(Reason(about, "waiting", "schedules do not fire here", "schedules = true in headrace.toml"))
    elif next_slot_us is not None:
        reasons.append(Reason(about, "waiting", f"its next slot is {iso(next_slot_us)}", "goes by itself"))
    if held_events:
        reasons.append(Reason(about, "waiting", f"{held_events} events are held for a group", "more events"))
    if not pipeline.triggers:
        reasons.append(Reason(about, "waiting", "it has no trigger", f"headrace trigger {shlex.quote(pipeline.name)}"))
    return reasons


def of_model(
    model: ModelDef,
    *,
    champion: int | None,
    versions: int,
    controller: ControllerState,
    last_ask: str | None,
    trainer: str | None,
) -> list[Reason]:
    """Why the model serves what it serves, and why no training starts. `last_ask` is the controller's last answer."""
    about = f"model {model.name}"
    reasons: list[Reason] = []
    if champion is None:
        step = f"headrace trigger {shlex.quote(trainer)}" if trainer else "a pipeline that registers a version"
        why = f"{NO_CHAMPION}: {'no version was promoted' if versions else 'it has no version'}"
        reasons.append(Reason(about, "waiting", why, step))
    if controller.blocked is not None:
        reasons.append(Reason(about, "blocked", controller.blocked, "mend the data, or trigger it by hand"))
    if controller.phase == "cooling" and controller.trained_us is not None:
        until_us = controller.trained_us + model.cooldown_us
        reasons.append(Reason(about, "cooling", f"cool-down until {iso(until_us)}", "evidence from after then"))
    elif controller.phase in ("asked", "training", "judging"):
        step = f"headrace why {controller.run}" if controller.run else "goes by itself"
        asked = (
            f"asked by {controller.ask.by}: {evidence_in_words(controller.ask.evidence)}"
            if controller.ask
            else controller.phase
        )
        reasons.append(Reason(about, controller.phase, asked, step))
    if last_ask is not None:
        reasons.append(Reason(about, "suppressed", evidence_in_words(last_ask), "goes by itself"))
    return reasons


def of_monitor(
    monitor: MonitorDef,
    model: ModelDef | None,
    *,
    has_champion: bool,
    next_end_us: int | None,
    watermarks: Mapping[str, int],
) -> list[Reason]:
    """What the next window of the monitor waits for. `next_end_us` is its end, None before the first champion."""
    about = f"monitor {monitor.name}"
    if not has_champion or next_end_us is None:
        why = f"{NO_CHAMPION} of {monitor.model}: there is nothing to compare with"
        return [Reason(about, "waiting", why, f"headrace why {monitor.model}")]
    mature_us = 0 if model is None else model.mature_us
    topics = [monitor.topic, *([model.labels] if model is not None and model.labels else [])]
    due_us = next_end_us + mature_us
    window = f"the window up to {iso(next_end_us)}"
    return [
        Reason(about, "waiting", f"{window} {waits_for(topic, due_us, watermarks)}", "rows up to then")
        for topic in topics
        if watermarks.get(topic, 0) < due_us
    ]


def of_shard(shard: ShardState, *, lag: int | None) -> list[Reason]:
    """Why a shard of a stream does not advance, or lags by `lag` rows (None where it has not started)."""
    about = f"stream {shard.stream}/{shard.shard}"
    reasons: list[Reason] = []
    if shard.why:
        state = "stopped" if shard.is_stopped else "held"
        step = f"tries again at {_second(shard.until_us)}" if shard.until_us is not None else ""
        reasons.append(Reason(about, state, shard.why, step or ("mend it and save" if shard.is_stopped else "")))
    if shard.model_problem:
        why = f"{shard.model} stays at version {shard.model_version}: {shard.model_problem}"
        reasons.append(Reason(about, "held", why, f"headrace models show {shard.model}"))
    if lag and not reasons:
        reasons.append(Reason(about, "running", f"{lag:,} rows behind", "goes by itself"))
    if shard.dead:
        step = f"headrace dead-letters ls {shard.stream}"
        rows = "1 row" if shard.dead == 1 else f"{shard.dead:,} rows"
        reasons.append(Reason(about, "dead letters", f"{rows} could not be processed", step))
    return reasons
