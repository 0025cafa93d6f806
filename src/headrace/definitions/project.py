"""What a loaded project consists of: pipelines, streams, monitors and datasets as plain frozen data.

The loader makes one `Project` from the user's package; engine, workers, CLI and simulator read nothing else of it.
Durations and times are microseconds (UTC).
"""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.definitions.nodes import DatasetRef, Graph

CHAMPION = "champion"  # the alias of the version that serves


class TopicDef(msgspec.Struct, frozen=True, omit_defaults=True):
    """A topic. `schema` maps columns to types (str int float bool datetime date bytes json), None = taken from the first append."""

    name: str
    schema: dict[str, str] | None = None
    required: tuple[str, ...] = ()  # columns that may not be null: those declared without `| None`
    key: str | None = None
    event_time: str | None = None  # None: the time of the append
    known: str | None = None
    partitions: int = 4


class TableDef(msgspec.Struct, frozen=True, omit_defaults=True):
    """A table and how it is written: whole, the run's window replaced, or upserted by key.

    With `known` it keeps its history: its rows lie in a topic of the same name, and `as_of` joins read that topic.
    """

    name: str
    schema: dict[str, str] | None = None
    mode: str = "whole"  # "whole" | "window" | "key"
    key: str | None = None
    known: str | None = None


class GateDef(msgspec.Struct, frozen=True, omit_defaults=True):
    """`hr.if_better`: promote when `metric` gains more than `by` on the same rows."""

    metric: str
    by: float = 0.0
    inconclusive: str | None = None  # None: `gain > by` decides; "keep" | "promote" within one standard error


class ModelDef(msgspec.Struct, frozen=True, omit_defaults=True):
    """A model with its labels and its policy."""

    name: str
    labels: str | None = None  # topic
    on: str | None = None
    label: str | None = None
    mature_us: int = 0
    missing: str = "error"  # a mature row without label: "error" | "late" (counted and left out) …
    promote: GateDef | None = None  # None: every version that registers is promoted
    cooldown_us: int = 0


class Schedule(msgspec.Struct, frozen=True, tag="schedule", omit_defaults=True):
    """Fires at each slot of `expression`. `slug` is its identity across deploys."""

    expression: str
    timezone: str = "UTC"
    catchup: bool = False
    start_us: int | None = None
    slug: str = "schedule"


class Updated(msgspec.Struct, frozen=True, tag="updated", omit_defaults=True):
    """Fires when a version of the table is published."""

    table: str


class OnEvent(msgspec.Struct, frozen=True, tag="event", omit_defaults=True):
    """Fires for each row (or each `count` rows within `within_us` of event time) where the boolean column is true."""

    topic: str
    where: str | None = None
    count: int = 1
    within_us: int | None = None
    slug: str = "event"


class OnMonitor(msgspec.Struct, frozen=True, tag="monitor", omit_defaults=True):
    """Asks when a monitor's `which` limit was crossed in `consecutive` windows in a row."""

    monitor: str
    which: str  # "drift" | "performance"
    consecutive: int = 1


AnyTrigger = Schedule | Updated | OnEvent | OnMonitor


class ParamDef(msgspec.Struct, frozen=True, omit_defaults=True):
    """A parameter of a pipeline. `type` is str | int | float | bool | list | dict | json; window and events have their own kinds."""

    name: str
    type: str
    required: bool = False
    default: Any = None
    kind: str = "value"  # "value" | "window" | "events"


class PipelineDef(msgspec.Struct, frozen=True, omit_defaults=True):
    """A pipeline: its graph, what it needs of its trigger, and its triggers."""

    name: str
    target: str
    graph: Graph
    params: tuple[ParamDef, ...] = ()
    window: str | None = None  # None: the slot's interval; "all"; or a duration such as "60d"
    ready_within_us: int | None = None
    triggers: tuple[AnyTrigger, ...] = ()
    max_active: int | None = None
    registers: str | None = (
        None  # the model that it registers: then it is asked, never started, by monitors and schedules
    )
    reads: tuple[str, ...] = ()  # topics whose watermark a run with a window waits for
    doc: str = ""


class RunningDef(msgspec.Struct, frozen=True, omit_defaults=True):
    """`topic.running(by=…, sums=…, within=…)`: count of rows and sums of columns by key over the span before a moment."""

    by: str
    sums: tuple[str, ...] = ()
    within_us: int | None = None


class JoinDef(msgspec.Struct, frozen=True, omit_defaults=True):
    """As-of join: per row the newest row of `topic` with the same `on` and `known <= as_of`, no older than the tolerance."""

    topic: str
    on: str
    as_of: str
    known: str
    tolerance_us: int | None = None
    running: RunningDef | None = None
    columns: tuple[str, ...] | None = None


class SourceDef(msgspec.Struct, frozen=True, omit_defaults=True):
    """A topic with the as-of joins that stand on it, in order."""

    topic: str
    joins: tuple[JoinDef, ...] = ()


class StreamDef(msgspec.Struct, frozen=True, omit_defaults=True):
    """A stream: source, function, output, and its contract about rows."""

    name: str
    target: str
    source: SourceDef
    to: str
    to_kind: str = "topic"  # "topic" | "table"
    bind: dict[str, DatasetRef] = {}
    rows: str = "each"  # "each" | "some" | "any"
    start: str = "now"  # "now" | "earliest" | an ISO time
    retry_on: tuple[str, ...] = ()  # names of exceptions that hold the shard instead of dead letters
    mode: str = "frame"  # "frame" | "series" | "row"
    doc: str = ""


class StatLimit(msgspec.Struct, frozen=True, omit_defaults=True):
    """`hr.unseen(above=0.10)`: a statistic of `drift.statistics` with its limit."""

    statistic: str
    above: float


class PerformanceLimit(msgspec.Struct, frozen=True, omit_defaults=True):
    """`hr.auc(prediction=…, below=…)`: a metric of `models.metrics` on matured labels, with its limit."""

    metric: str
    prediction: str
    below: float | None = None
    above: float | None = None


class MonitorDef(msgspec.Struct, frozen=True, omit_defaults=True):
    """A monitor: one run per closed window over the predictions of one model."""

    name: str
    topic: str
    model: str
    window_us: int
    min_rows: int = 0
    drift: dict[str, StatLimit] = {}
    performance: PerformanceLimit | None = None
    anchor_us: int = 345_600_000_000  # windows are counted from here: Monday, January 5, 1970, UTC
    timezone: str = "UTC"  # whose days a window of whole days counts


class Project(msgspec.Struct, frozen=True):
    """A loaded project, keyed by name."""

    name: str
    pipelines: dict[str, PipelineDef] = {}
    streams: dict[str, StreamDef] = {}
    monitors: dict[str, MonitorDef] = {}
    topics: dict[str, TopicDef] = {}
    tables: dict[str, TableDef] = {}
    models: dict[str, ModelDef] = {}
    secrets: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()


class Problem(msgspec.Struct, frozen=True):
    """One finding of `headrace check`: what is wrong, where, and the cure."""

    code: str
    message: str
    where: str  # file:line
    cure: str = ""
    level: str = "error"  # "error" | "warning": a project with warnings may be deployed


def encode(project: Project) -> bytes:
    """Canonical JSON of a project; `decode(encode(p)) == p`."""
    return msgspec.json.encode(project, order="sorted")


def decode(body: bytes) -> Project:
    return msgspec.json.decode(body, type=Project)
