"""One seed from its draw to the auditor's verdict."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from headrace.store.sql.engine_store import EngineSqlStore
from headrace.testing.auditor import Violation, audit
from headrace.testing.auditor.audit import Evidence
from headrace.testing.auditor.witness import Witness
from headrace.testing.simulator.draw import Draw, draw
from headrace.testing.simulator.engines import Cluster, DiedByItselfError
from headrace.testing.simulator.graphs import draw_projects
from headrace.testing.simulator.people import People
from headrace.testing.simulator.shards import Streams, check_output
from headrace.testing.simulator.world import SECOND, World

QUIET_S = 3_600  # so long may it take until all has ended, once the faults have stopped
EVENTS_MOST = 8_000  # a schedule has a few hundred; what goes in circles is stopped here
SLOT_GRACE_US = 65 * SECOND
TIMERS_MOST = 2_000


@dataclass
class Result:
    """What a seed has shown. `violations` is empty where every promise was kept."""

    seed: int
    drawn: Draw
    violations: list[Violation]
    world: World
    faults: int
    runs: int
    events: int
    saw: Counter[str] = field(default_factory=Counter[str])

    def trace(self) -> str:
        """A hash of all that happened."""
        return self.world.trace()

    def report(self) -> str:
        """The story of the seed and how to run it again."""
        return "\n".join(
            [
                f"seed {self.seed}: {self.drawn}",
                *self.world.story(),
                "",
                *(f"VIOLATED {v}" for v in self.violations),
                f"again:  python -m headrace.testing.simulator --seed {self.seed}",
            ]
        )


def simulate(seed: int) -> Result:
    """Run one schedule. Deterministic: the same seed gives the same story."""
    world = World(seed)
    drawn = draw(world.rng)
    store = EngineSqlStore(":memory:")
    try:
        return _simulate(world, drawn, store)
    finally:
        store.close()


def _simulate(world: World, drawn: Draw, store: EngineSqlStore) -> Result:
    witness = Witness()
    cluster = Cluster(world, drawn, store, witness, draw_projects(world.rng, drawn))
    people = People(world, drawn, cluster)
    streams = Streams(world, drawn, store)
    violations: list[Violation] = []
    has_ended = False
    try:
        cluster.begin()
        people.plan()
        streams.plan()
        _plan_disasters(world, drawn, cluster)
        world.run_until(drawn.length_s * SECOND, most=EVENTS_MOST)
        has_ended = _settle(world, cluster, people, streams)
    except DiedByItselfError as error:
        violations.append(Violation("P1", "no engine ends without a cause", str(error)))
    evidence = Evidence(
        store.database, cluster.projects, witness, has_ended=has_ended, is_quiet=not violations,
        slots_until_us=world.now_us() - SLOT_GRACE_US if has_ended else None, code=cluster.code,
    )  # fmt: skip
    violations += audit(evidence)
    violations += check_output(store)
    if not has_ended and not violations and not streams.is_settled():
        violations.append(Violation("D5", "once faults stop, all comes to an end", "rows of a stream are unread"))
    if cluster.timers_most > TIMERS_MOST:
        violations.append(Violation("D6", "timers of the engine are bounded", f"{cluster.timers_most} at once"))
    runs = store.database.read("SELECT count(*) FROM runs")[0][0]
    _notice(world, store)
    return Result(
        world.seed, drawn, violations, world, sum(world.faults.values()), runs, world.events,
        world.saw,
    )  # fmt: skip


def _plan_disasters(world: World, drawn: Draw, cluster: Cluster) -> None:
    span_us = drawn.length_s * SECOND
    for _ in range(3):
        if world.chance(drawn.rate("engine is cut off")):
            world.faults["engine is cut off"] += 1
            world.after(world.within(0, span_us), cluster.cut_off)
        if world.chance(drawn.rate("wall clock jumps")):
            world.faults["wall clock jumps"] += 1
            world.after(world.within(0, span_us), _jump, world)


def _jump(world: World) -> None:
    by_s = world.rng.choice((-3_600, -600, -60, 60, 600, 3_600, 7_200))
    world.wall_offset_us += by_s * SECOND
    world.say(f"the wall clock jumps by {by_s} s")
    world.saw["the wall clock went back" if by_s < 0 else "the wall clock went forward"] += 1


def _settle(world: World, cluster: Cluster, people: People, streams: Streams) -> bool:
    """The quiet phase: faults stop, and all must come to an end within the bound."""
    world.is_quiet = True
    world.say("faults stop")
    cluster.end_zombies()
    for process in cluster.processes:
        process.is_paused = False
    if cluster.acting is None or not cluster.acting.is_up:
        cluster.begin()
    people.complete_all()
    if streams.processes:
        streams.begin()
        streams.wake()
    cluster.wake()
    end_us = world.mono_us + QUIET_S * SECOND
    while world.mono_us < end_us and world.events < EVENTS_MOST:
        world.run_until(min(world.mono_us + 10 * SECOND, end_us), most=EVENTS_MOST)
        if _is_settled(cluster) and streams.is_settled():
            return True
    return False


def _is_settled(cluster: Cluster) -> bool:
    ask = cluster.store.database.read
    return not ask(
        "SELECT 1 FROM runs WHERE ended_us IS NULL UNION ALL SELECT 1 FROM inbox WHERE status IS NULL LIMIT 1"
    )


def _notice(world: World, store: EngineSqlStore) -> None:
    """Count the interesting states that the facts show."""
    kinds = dict(store.database.read("SELECT kind, count(*) FROM facts GROUP BY kind"))
    for kind in (
        "AttemptLost", "AttemptReturned", "AttemptFailed", "AttemptCancelled", "MapExpanded", "NodeSkipped",
        "ItemSkipped", "InputPinned", "RunRetried", "RunCancelled", "SlotsSkipped", "TriggerSuppressed", "RunReady",
        "TablePublished", "AliasMoved", "VersionRejected", "RetrainAsked", "WindowJudged", "EventRejected",
        "BatchCommitted", "DeadLettered", "ShardDied",
    ):  # fmt: skip
        if kinds.get(kind):
            world.saw[kind] += 1
    epochs = kinds.get("LogTaken", 0)
    if epochs > 2:
        world.saw["a third engine took over"] += 1
