"""Random projects: what pipelines there are and what starts them. Two code versions: the same names, other graphs."""

from __future__ import annotations

import random

import msgspec

from headrace.definitions.nodes import Graph, Node, Options, Param, Ref
from headrace.definitions.project import (
    GateDef,
    ModelDef,
    MonitorDef,
    OnEvent,
    OnMonitor,
    ParamDef,
    PipelineDef,
    Project,
    Schedule,
    StatLimit,
    TableDef,
    TopicDef,
    Updated,
)
from headrace.testing.simulator.draw import Draw
from headrace.testing.simulator.graphs import FORGIVING_LEAST, draw_graph

MINUTE = 60_000_000
ZONES = ("UTC", "Europe/Berlin")
CRONS = ("*/10 * * * *", "*/20 2 * * *", "30 2 * * *", "15 * * * *", "0 3 * * *")


def draw_projects(seed: int, drawn: Draw, most_nodes: int = 99) -> dict[str, Project]:
    """By code version: c1 and c2 are deployed, "here" is what runs in process have."""
    rng = random.Random(f"{seed}/policies")
    policies = _policies(rng, drawn)
    made = {code: _project(seed, code, drawn, policies, most_nodes) for code in ("c1", "here")}
    if drawn.has("deploys") and rng.random() < 0.3:
        # The other version is without a pipeline: what was due for it stays due, or is recorded as not wanted.
        gone = rng.choice(("timed", "react"))
        policies = {name: definition for name, definition in policies.items() if name != gone}
    # Now and then the same graphs, so that a run may go on in the other code version.
    graphs = "c1" if rng.random() < 0.3 else "c2"
    made["c2"] = _project(seed, graphs, drawn, policies, most_nodes)
    return made


def _policies(rng: random.Random, drawn: Draw) -> dict[str, PipelineDef]:
    """Every pipeline without its graph."""
    nothing = Graph(())
    window = ParamDef("window", "json", required=False, kind="window")
    made = [PipelineDef("plain", "m:plain", nothing, (ParamDef("items", "json", default=[1, 2, 3]), window))]
    if drawn.has("backfills"):
        made[0] = msgspec.structs.replace(made[0], window="60s")
    else:
        made[0] = msgspec.structs.replace(made[0], params=made[0].params[:1])
    if drawn.has("schedules"):
        made.append(_scheduled(rng, drawn))
    if drawn.has("cron"):
        slot = Schedule(rng.choice(CRONS), rng.choice(ZONES), catchup=rng.random() < 0.5)
        made.append(PipelineDef("daily", "m:daily", nothing, triggers=(slot,)))
    if drawn.has("events"):
        count = rng.choice((2, 3)) if drawn.has("groups") else 1
        within_us = rng.choice((None, MINUTE, 10 * MINUTE)) if count > 1 else None
        made.append(PipelineDef("react", "m:react", nothing, triggers=(OnEvent("clicks", None, count, within_us),)))
    if drawn.has("tables"):
        made.append(PipelineDef("follow", "m:follow", nothing, triggers=(Updated("t0"),)))
    if drawn.has("models"):
        made.append(_retrained(rng))
    if drawn.has("limits"):
        made = [msgspec.structs.replace(m, max_active=rng.choice((None, 1, 2))) for m in made]
    return {definition.name: definition for definition in made}


def _scheduled(rng: random.Random, drawn: Draw) -> PipelineDef:
    catchup = rng.random() < 0.5
    # Catching up on hours of minutes takes thousands of messages and shows nothing that tens of slots do not.
    expression = rng.choice(("every 10m", "every 1h") if catchup else ("every 1m", "every 10m", "every 1h"))
    has_window = drawn.has("waits") or rng.random() < 0.5
    return PipelineDef(
        "timed",
        "m:timed",
        Graph(()),
        (ParamDef("window", "json", required=True, kind="window"),) if has_window else (),
        ready_within_us=rng.choice((None, 30_000_000)) if drawn.has("waits") else None,
        triggers=(Schedule(expression, catchup=catchup),),
        reads=("clicks",) if drawn.has("waits") else (),
    )


def _retrained(rng: random.Random) -> PipelineDef:
    asks: list[OnMonitor | Schedule] = [OnMonitor("watch", "drift", consecutive=rng.choice((1, 2)))]
    if rng.random() < 0.5:
        asks.append(OnMonitor("watch", "performance", consecutive=rng.choice((1, 2))))
    if rng.random() < 0.5:
        asks.append(Schedule("every 10m", catchup=rng.random() < 0.5))
    return PipelineDef("retrain", "m:retrain", Graph(()), window="all", triggers=tuple(asks), registers="model")


def _project(seed: int, code: str, drawn: Draw, policies: dict[str, PipelineDef], most_nodes: int) -> Project:
    pipelines: dict[str, PipelineDef] = {}
    for name, definition in policies.items():
        rng = random.Random(f"{seed}/{code}/{name}")
        graph = _training() if name == "retrain" else _graph(rng, drawn, name, most_nodes)
        if name == "follow":  # a pipeline that publishes the table that starts it never ends
            graph = msgspec.structs.replace(graph, nodes=tuple(_without_table(node) for node in graph.nodes))
        params = definition.params
        if name != "plain" and any(scope.over == Param("items") for scope in graph.scopes):
            params = (*params, ParamDef("items", "json", default=[1, 2]))
        pipelines[name] = msgspec.structs.replace(definition, graph=graph, params=params)
    rng = random.Random(f"{seed}/models")
    topics = {name: TopicDef(name, partitions=1) for name in ("clicks", "scores")}
    monitors: dict[str, MonitorDef] = {}
    models: dict[str, ModelDef] = {}
    if drawn.has("models"):
        limit = {"temp": StatLimit("unseen", 0.1)}
        monitors["watch"] = MonitorDef("watch", "scores", "model", 5 * MINUTE, drift=limit, anchor_us=0)
        gate = GateDef("auc") if rng.random() < 0.5 else None
        models["model"] = ModelDef("model", promote=gate, cooldown_us=rng.choice((0, 7 * MINUTE, 30 * MINUTE)))
    tables = {name: TableDef(name) for name in ("t0", "t1")}
    return Project("simulated", pipelines, {}, monitors, topics, tables, models)


def _graph(rng: random.Random, drawn: Draw, name: str, most_nodes: int) -> Graph:
    is_forgiving = name == "plain" and drawn.has("forgiving")  # the one whose failed runs people retry
    size = rng.randint(FORGIVING_LEAST, 5) if is_forgiving else rng.randint(1, 5)
    return draw_graph(rng, drawn, size, most_nodes, is_forgiving=is_forgiving)


def _training() -> Graph:
    fit = Node("fit", "task", "m:plain", {"window": Param("window")}, options=Options(retries=1))
    return Graph((fit, Node("register", "register", "model", {"model": Ref("fit")})))


def _without_table(node: Node) -> Node:
    return msgspec.structs.replace(node, to=None)
