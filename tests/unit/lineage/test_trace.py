"""A prediction is traced to its batch, raw row, model, training run, code, and the data that went into it."""

from __future__ import annotations

import msgspec
import polars as pl
import pytest

from headrace.base.facts import Fact
from headrace.connectors.appends import append, prepare
from headrace.data.facts import Part, TablePublished
from headrace.definitions.project import Project, SourceDef, StreamDef, TopicDef
from headrace.errors import NotFoundError
from headrace.lineage.trace import find_row, trace
from headrace.models.facts import AliasMoved, VersionRegistered
from headrace.ports import Append
from headrace.runs.facts import AttemptStarted, AttemptSucceeded, CodeDeployed, Read, RunCreated, RunEnded, Value
from headrace.store.sql.store import SqlStore
from headrace.streams.facts import BatchCommitted, Bound, DeadLettered, ShardStarted

FLIGHTS = TopicDef("flights", schema={"id": "str", "x": "float"}, key="id", partitions=1)
SCORES = TopicDef("scores", schema={"id": "str", "p": "float"}, key="id", partitions=4)
SCORE = StreamDef("score", "m:score", SourceDef("flights"), "scores")
PROJECT = Project("demo", streams={"score": SCORE}, topics={"flights": FLIGHTS, "scores": SCORES})
T = 1_357_000_000_000_000


class World:
    """A model trained by a run from a table and a topic, and a stream that scores with it."""

    def __init__(self) -> None:
        self.store = SqlStore(":memory:")
        self.n = 0

    def happens(self, *facts: Fact, log: str = "engine") -> None:
        self.store.commit([Append(log, self.store.head(log), facts)])

    def ran(self, run: str, node: str, *after: Fact, reads: tuple[Read, ...] = ()) -> None:
        """A run of one task, and what is published with it."""
        self.happens(
            RunCreated(
                run, "retrain", "c1", f"key:{run}", "retrain", T, {"rounds": 9}, (T, T + 60_000_000), why="drift"
            )
        )
        self.happens(AttemptStarted(run, node, "", 0, 1, 1, "w1", T))
        done = AttemptSucceeded(run, node, "", 0, 1, 1, T + 1, 1, Value("json", "1"), reads=reads)
        self.happens(done, *after)
        self.happens(RunEnded(run, "succeeded", T + 2))

    def train(self) -> None:
        self.happens(CodeDeployed("c1", msgspec.Raw(b"{}"), T))
        part = Part("one.parquet", 5, 10, "xxh3:0", None, "loads")
        self.ran("loads", "load", TablePublished("prices", 1, (part,), 5, "loads", "load", 0, 1, T + 1))
        evidence = {
            "metrics": {"auc": 0.7, "auc_se": 0.012},
            "gain": None,
            "against": 0,
            "verdict": "the first version",
        }
        self.ran(
            "trains",
            "register",
            VersionRegistered(
                "delay",
                1,
                "json",
                "p",
                "xxh3:1",
                3,
                "trains",
                "register",
                "c1",
                "m:predict",
                T,
                T + 1,
                80,
                20,
                evidence,
            ),
            AliasMoved("delay", "champion", 1, 0, "gate", "the first version", T + 1),
            reads=(Read("table", "prices", 1), Read("topic", "outcomes", {"0": 7, "1": 1234})),
        )

    def score(self, ids: list[str]) -> None:
        first = self.heads()
        append(self.store, "clients", FLIGHTS, [{"id": i, "x": 1.5} for i in ids], T)
        log = "shard-score-0"
        if self.n == 0:
            self.happens(ShardStarted("score", 0, 0, T), log=log)
        bound = (Bound("model", "model", "delay", 1),)
        n = len(ids)
        batch = BatchCommitted(
            "score",
            0,
            self.n,
            first,
            first + n,
            n,
            n,
            0,
            0,
            "c1",
            T,
            bound=bound,
            sides={"weather:0": 5, "weather:1": 6},
        )
        out = prepare(SCORES, [{"id": i, "p": 0.25} for i in ids], T)
        bodies = {1 + at: body for at, (_, body) in enumerate(out)}
        self.store.commit([Append(log, self.store.head(log), (batch, *(fact for fact, _ in out)), bodies)])
        self.n += 1

    def heads(self) -> int:
        return sum(row[0] for row in self.store.database.read("SELECT next FROM topic_parts WHERE topic = 'flights'"))


@pytest.fixture
def world() -> World:
    world = World()
    world.train()
    world.score(["a", "b", "c"])
    world.score(["d", "e"])
    return world


def test_a_prediction_is_traced_to_everything_that_it_came_from(world: World) -> None:
    found = trace(world.store, PROJECT, "d")
    assert [(step.kind, step.name.partition("/")[0]) for step in found.root.all()] == [
        ("row", "scores"),
        ("batch", "score"),
        ("row", "flights"),
        ("topic", "weather"),
        ("model", "delay:1"),
        ("run", "trains"),
        ("table", "prices:1"),
        ("run", "loads"),
        ("code", "c1"),
        ("topic", "outcomes"),
        ("code", "c1"),
        ("code", "c1"),
        ("code", "c1"),
    ]
    batch = found.find("batch")
    assert batch is not None
    assert (batch.name, batch.data["first"], batch.data["end"]) == ("score/0/1", 3, 5)
    raw = found.find("row", "flights/0/3")
    assert raw is not None
    assert raw.data["values"] == {"id": "d", "x": 1.5}


def test_the_lines_say_offsets_reasons_and_evidence(world: World) -> None:
    text = "\n".join(trace(world.store, PROJECT, "d").lines())
    for said in (
        "    id d, p 0.25",
        "  batch score/0/1\n      read flights/0 at offsets [3, 5): 2 in, 2 out, 0 filtered, 0 dead",
        "topic weather\n        read at offsets 0 to 5, 1 to 6",
        "champion since 2013-01-01T00:26:40Z, by gate: the first version",
        "fitted on 80 rows before 2013-01-01T00:26:40Z, tested on 20 after it",
        "auc 0.7 ± 0.012",
        "retrain about 2013-01-01T00:26:40Z to 2013-01-01T00:27:40Z, succeeded",
        "retrain: drift",
        "with rounds=9",
        "read at offsets 0 to 7, 1 to 1,234",
        "deployed 2013-01-01T00:26:40Z",
    ):
        assert said in text


def test_a_trace_is_plain_json(world: World) -> None:
    body = msgspec.json.encode(trace(world.store, PROJECT, "d"))
    assert msgspec.json.decode(body)["root"]["kind"] == "row"


def test_of_several_rows_with_a_key_the_newest_is_traced(world: World) -> None:
    world.score(["d"])
    batch = trace(world.store, PROJECT, "d").find("batch")
    assert batch is not None
    assert batch.name == "score/0/2"


def test_a_row_by_its_place_a_run_and_a_version_are_traced_too(world: World) -> None:
    client = trace(world.store, PROJECT, "flights/0/1").root.sources[0]
    assert (client.kind, client.name) == ("client", "outside of runs")
    assert trace(world.store.database, PROJECT, "trains").root.kind == "run"
    assert trace(world.store, PROJECT, "delay:1").root.name == "delay:1"


def test_a_row_that_was_not_scored_says_why(world: World) -> None:
    first = world.heads()
    append(world.store, "clients", FLIGHTS, [{"id": i, "x": 1.5} for i in ("dies", "waits")], T)
    batch = BatchCommitted("score", 0, world.n, first, first + 1, 1, 0, 0, 1, "c1", T)
    error = "Traceback:\n  line 3\nValueError: no delay"
    letter = DeadLettered("score", 0, world.n, "flights", 0, first, "error", error, "{}", "c1", T)
    world.happens(batch, letter, log="shard-score-0")
    (told,) = [line for line in trace(world.store, PROJECT, "dies").lines() if "score made" in line]
    assert told.strip().startswith("score made nothing of it: dead letter ")
    assert told.endswith("(error): ValueError: no delay")
    waits = "\n".join(trace(world.store, PROJECT, "waits").lines())
    assert f"score has not come to it: it is at offset {first + 1}" in waits


def test_what_is_not_there_says_where_was_looked(world: World) -> None:
    with pytest.raises(NotFoundError, match="looked in scores, flights"):
        trace(world.store, PROJECT, "nobody")
    with pytest.raises(NotFoundError, match="no row at offset 99"):
        trace(world.store, PROJECT, "flights/0/99")


def test_tables_that_are_made_of_themselves_end(world: World) -> None:
    part = Part("two.parquet", 5, 10, "xxh3:0", None, "loops")
    published = TablePublished("prices", 2, (part,), 5, "loops", "t", 0, 1, T)
    world.ran("loops", "t", published, reads=(Read("table", "prices", 1), Read("table", "prices", 2)))
    steps = [step.name for step in trace(world.store, PROJECT, "loops").root.all()]
    assert steps.count("prices:2") == 1


def test_the_oldest_of_many_blobs_is_found_too() -> None:
    store = SqlStore(":memory:")
    for start in range(0, 1200, 10):
        append(
            store,
            "clients",
            SCORES,
            pl.DataFrame({"id": [str(n) for n in range(start, start + 10)], "p": [0.1] * 10}),
            T,
        )
    found = find_row(store.database, SCORES, "0")
    assert found is not None
    assert found[0].first == 0
