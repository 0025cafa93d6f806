"""Random pipelines and projects, built directly as data. A node's target says what its attempts return."""

from __future__ import annotations

import random
from dataclasses import dataclass

import msgspec

from headrace.definitions.nodes import (
    AnyInput,
    Choice,
    Condition,
    Const,
    Element,
    Graph,
    Node,
    Options,
    Param,
    Ref,
    Scope,
)
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

MINUTE = 60_000_000
_RULES = ("all_done", "one_success", "one_failed", "none_failed")


@dataclass
class _Made:
    name: str
    scope: tuple[str, ...]
    gives: str  # "list" | "lists" | "bool" | "plain"


class _Growing:
    """A graph while it is drawn."""

    def __init__(self, rng: random.Random, drawn: Draw, size: int) -> None:
        self.rng, self.drawn = rng, drawn
        self.nodes: list[Node] = []
        self.scopes: list[Scope] = []
        self.made: list[_Made] = []
        self.paths: list[tuple[str, ...]] = [()]
        for i in range(size):
            self._grow(f"n{i}")

    def graph(self) -> Graph:
        return Graph(tuple(self.nodes), tuple(self.scopes))

    def _grow(self, name: str) -> None:
        rng = self.rng
        scope = rng.choice(self.paths[-3:]) if rng.random() < 0.7 else ()
        gives = self._gives(scope)
        inputs: dict[str, AnyInput] = {}
        if scope:
            inputs["item"] = Element(scope[-1])
        for i in range(min(len(self.made), rng.choice((0, 1, 1, 1, 2)))):
            inputs[f"a{i}"] = self._input(scope)
        after = (rng.choice(self.made).name,) if self.made and rng.random() < 0.1 else ()
        when: tuple[Condition, ...] = ()
        tests = self._tests(scope)
        if tests and rng.random() < 0.5:
            when = (Condition(Ref(rng.choice(tests).name), rng.random() < 0.5),)
        to = f"t{rng.randint(0, 1)}" if self.drawn.has("tables") and rng.random() < 0.25 else None
        appends = gives == "plain" and self.drawn.has("tables") and rng.random() < 0.15
        kind, target = ("append", "notes") if appends else ("task", f"m:{gives}")
        to = None if appends else to
        node = Node(name, kind, target, inputs, after, scope, when, to=to, options=self._options(scope))
        self.nodes.append(node)
        self.made.append(_Made(name, scope, gives))
        if gives in ("list", "lists") and self.drawn.has("maps"):
            self._open(name, scope, gives)

    def _gives(self, scope: tuple[str, ...]) -> str:
        roll = self.rng.random()
        if self.drawn.has("maps") and roll < 0.4 and len(scope) < 2:
            return "lists" if roll < 0.1 else "list"
        return "bool" if self.drawn.has("branches") and roll < 0.65 else "plain"

    def _input(self, scope: tuple[str, ...]) -> AnyInput:
        first = self.rng.choice(self.made[-4:])
        tests = self._tests(scope)
        if tests and self.rng.random() < 0.2:
            return Choice(Ref(self.rng.choice(tests).name), Ref(first.name), Ref(self.rng.choice(self.made).name))
        return Ref(first.name)

    def _tests(self, scope: tuple[str, ...]) -> list[_Made]:
        """Nodes that can be the test of a branch in this scope: they stand in it or around it."""
        return [m for m in self.made if m.gives == "bool" and m.scope == scope[: len(m.scope)]]

    def _open(self, name: str, scope: tuple[str, ...], gives: str) -> None:
        rng = self.rng
        if len(scope) >= 3 or rng.random() < 0.3:
            return
        over: AnyInput = Ref(name)
        if not scope and rng.random() < 0.2:
            over = rng.choice((Const([1, 2]), Param("items")))
        # A map over everything that another map made stands outside of it.
        parent = scope if rng.random() < 0.8 else ()
        outer = (*parent, f"s{len(self.scopes)}")
        self.scopes.append(Scope(outer[-1], over, parent))
        self.paths.append(outer)
        if gives == "lists" and over == Ref(name) and parent == scope and rng.random() < 0.7:
            inner = (*outer, f"s{len(self.scopes)}")
            self.scopes.append(Scope(inner[-1], Element(outer[-1]), outer))
            self.paths.append(inner)

    def _options(self, scope: tuple[str, ...]) -> Options:
        rng, has = self.rng, self.drawn.has
        return Options(
            retries=rng.choice((0, 0, 1, 2)),
            backoff_us=rng.choice((10_000, 1_000_000, 5_000_000)),
            timeout_us=rng.choice((None, 2_000_000, 20_000_000)) if has("timeouts") else None,
            max_lost=rng.choice((None, None, 0, 1)),
            trigger_rule=rng.choice(_RULES) if has("rules") and rng.random() < 0.4 else "all_success",
            concurrency=rng.choice((None, 1, 2)) if has("limits") else None,
            rate=rng.choice((None, None, 2)) if has("limits") else None,
            rate_us=2_000_000,
            allow_failed=rng.choice((0, 1, 5)) if scope and rng.random() < 0.3 else 0,
        )


def draw_projects(rng: random.Random, drawn: Draw) -> dict[str, Project]:
    """Two code versions of one project: the same names and triggers, other graphs."""
    policies = _policies(rng, drawn)
    first = _project(rng, drawn, policies)
    if drawn.has("deploys") and rng.random() < 0.3:
        # The other version is without a pipeline: what was due for it stays due, or is recorded as not wanted.
        gone = rng.choice(("timed", "react"))
        policies = {name: definition for name, definition in policies.items() if name != gone}
    return {"c1": first, "c2": _project(rng, drawn, policies)}


def _policies(rng: random.Random, drawn: Draw) -> dict[str, PipelineDef]:
    """Every pipeline without its graph."""
    nothing = Graph(())
    made = [PipelineDef("plain", "m:plain", nothing, (ParamDef("items", "json", default=[1, 2, 3]),))]
    if drawn.has("schedules"):
        made.append(_scheduled(rng, drawn))
    if drawn.has("events"):
        made.append(PipelineDef("react", "m:react", nothing, triggers=(OnEvent("clicks"),)))
    if drawn.has("tables"):
        made.append(PipelineDef("follow", "m:follow", nothing, triggers=(Updated("t0"),)))
    if drawn.has("models"):
        asks: list[OnMonitor | Schedule] = [OnMonitor("watch", "drift", consecutive=rng.choice((1, 2)))]
        if rng.random() < 0.5:
            asks.append(OnMonitor("watch", "performance", consecutive=rng.choice((1, 2))))
        if rng.random() < 0.5:
            asks.append(Schedule("every 10m", catchup=rng.random() < 0.5))
        made.append(PipelineDef("retrain", "m:retrain", nothing, window="all", triggers=tuple(asks), registers="model"))
    if drawn.has("limits"):
        made = [msgspec.structs.replace(m, max_active=rng.choice((None, 1, 2))) for m in made]
    return {definition.name: definition for definition in made}


def _scheduled(rng: random.Random, drawn: Draw) -> PipelineDef:
    catchup = rng.random() < 0.5
    # Catching up on hours of minutes takes thousands of messages and shows nothing that tens of slots do not.
    expression = rng.choice(("every 10m", "every 1h") if catchup else ("every 1m", "every 10m", "every 1h"))
    slot = Schedule(expression, catchup=catchup)
    has_window = drawn.has("waits") or rng.random() < 0.5
    return PipelineDef(
        "timed",
        "m:timed",
        Graph(()),
        (ParamDef("window", "json", required=True, kind="window"),) if has_window else (),
        ready_within_us=rng.choice((None, 30_000_000)) if drawn.has("waits") else None,
        triggers=(slot,),
        reads=("clicks",) if drawn.has("waits") else (),
    )


def _project(rng: random.Random, drawn: Draw, policies: dict[str, PipelineDef]) -> Project:
    pipelines: dict[str, PipelineDef] = {}
    for name, definition in policies.items():
        graph = _training() if name == "retrain" else _Growing(rng, drawn, rng.randint(1, 5)).graph()
        if name == "follow":  # a pipeline that publishes the table that starts it never ends
            graph = Graph(tuple(_without_table(node) for node in graph.nodes), graph.scopes)
        params = definition.params
        if name != "plain" and any(scope.over == Param("items") for scope in graph.scopes):
            params = (*params, ParamDef("items", "json", default=[1, 2]))
        pipelines[name] = msgspec.structs.replace(definition, graph=graph, params=params)
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


def _training() -> Graph:
    fit = Node("fit", "task", "m:plain", {"window": Param("window")}, options=Options(retries=1))
    return Graph((fit, Node("register", "register", "model", {"model": Ref("fit")})))


def _without_table(node: Node) -> Node:
    return msgspec.structs.replace(node, to=None)
