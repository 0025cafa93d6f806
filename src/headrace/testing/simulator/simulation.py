"""One schedule from its recipe to the auditor's verdict."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from headrace.runs.timers import LONGEST_WAIT_US
from headrace.testing.auditor import Violation
from headrace.testing.auditor.audit import Auditor
from headrace.testing.auditor.evidence import Evidence
from headrace.testing.auditor.witness import Witness
from headrace.testing.simulator.cluster import Cluster
from headrace.testing.simulator.engines import DiedByItselfError
from headrace.testing.simulator.here import RunsElsewhere
from headrace.testing.simulator.outputs import check_output
from headrace.testing.simulator.people import People
from headrace.testing.simulator.probes import Probes
from headrace.testing.simulator.projects import draw_projects
from headrace.testing.simulator.recipe import Recipe, recipe_of
from headrace.testing.simulator.shards import Streams
from headrace.testing.simulator.store import MemoryStore
from headrace.testing.simulator.world import SECOND, World

_FORGIVEN = (  # failures that are older than the first start of a generation that came after
    "SELECT 1 FROM items i JOIN runs r USING (run)"
    " WHERE r.generation > 1 AND i.state = 'failed' AND i.started_us < r.started_us LIMIT 1"
)
QUIET_S = 3_600  # so long may it take until all has ended, once the faults have stopped
EVENTS_MOST = 8_000  # a schedule has a few hundred; what goes in circles is stopped here
SLOT_GRACE_US = 65 * SECOND
OVERDUE_GRACE_US = 30 * SECOND  # the details go at one look, their files at the next
TIMERS_MOST = 2_000
NOTICED = (
    "AttemptLost", "AttemptReturned", "AttemptFailed", "AttemptCancelled", "MapExpanded", "NodeSkipped",
    "ItemSkipped", "InputPinned", "RunRetried", "RunCancelled", "SlotsSkipped", "TriggerSuppressed", "RunReady",
    "TablePublished", "AliasMoved", "VersionRejected", "RetrainAsked", "WindowJudged", "EventRejected",
    "BatchCommitted", "DeadLettered", "ShardDied", "TriggerFired", "DetailsDropped", "FilesDropped",
)  # fmt: skip


@dataclass
class Result:
    """What a schedule has shown. `violations` is empty where every promise was kept."""

    recipe: Recipe
    violations: list[Violation]
    world: World
    runs: int
    planned: int
    saw: Counter[str] = field(default_factory=Counter[str])

    @property
    def faults(self) -> int:
        return sum(self.world.faults.values())

    def trace(self) -> str:
        """A hash of all that happened."""
        return self.world.trace()


@dataclass
class Scene:
    """Everyone who plays in a schedule."""

    world: World
    cluster: Cluster
    people: People
    streams: Streams
    elsewhere: RunsElsewhere
    probes: Probes
    auditor: Auditor
    witness: Witness
    length_us: int

    def run(self) -> tuple[bool, str]:
        """Faults, then quiet. Whether all came to its end, and what ended an engine without a cause."""
        try:
            self.cluster.begin()
            self.people.plan()
            self.streams.plan(self.people)
            self.elsewhere.plan(self.people)
            self.probes.plan(self.length_us // SECOND)
            self._plan_disasters()
            self.world.run_until(self.length_us, most=EVENTS_MOST)
            return self._settle(), ""
        except DiedByItselfError as error:
            return False, str(error)

    def _plan_disasters(self) -> None:
        world = self.world
        for fault, happens in (
            ("engine is cut off", self.cluster.cut_off),
            ("host dies", self.cluster.host_dies),
            ("wall clock jumps", self._jump),
        ):
            for _ in range(3):
                if world.strikes(fault):
                    world.after(world.dice("disasters").randint(0, self.length_us), happens)

    def _jump(self) -> None:
        by_s = self.world.dice("jumps").choice((-3_600, -600, -60, 60, 600, 3_600, 7_200))
        self.world.wall_offset_us += by_s * SECOND
        if by_s > 0:
            self.witness.leapt_us = self.world.mono_us
        self.world.say(f"the wall clock jumps by {by_s} s")
        self.world.saw["the wall clock went back" if by_s < 0 else "the wall clock went forward"] += 1

    def _settle(self) -> bool:
        """The quiet phase: faults stop, and all must come to an end within the bound."""
        world = self.world
        self.probes.look()
        world.is_quiet = True
        world.say("faults stop")
        self.cluster.end_zombies()
        for process in self.cluster.processes:
            process.is_paused = False
        if self.cluster.acting is None or not self.cluster.acting.is_up:
            self.cluster.begin()
        self.people.complete_all()
        self.streams.settle()
        self.cluster.wake()
        noticed_us = world.mono_us + LONGEST_WAIT_US  # so long may a jump of the wall clock go unnoticed
        end_us = world.mono_us + QUIET_S * SECOND
        while world.mono_us < end_us and world.events < EVENTS_MOST and not world.violations:
            world.run_until(min(world.mono_us + 10 * SECOND, end_us), most=EVENTS_MOST)
            if world.mono_us >= noticed_us and self.is_settled():
                return True
        return False

    def is_settled(self) -> bool:
        ask = self.cluster.store.database.read
        is_open = ask(
            "SELECT 1 FROM runs WHERE ended_us IS NULL UNION ALL SELECT 1 FROM inbox WHERE status IS NULL LIMIT 1"
        )
        is_rest = not is_open and self.streams.is_settled() and not self.cluster.store.news()
        return is_rest and not self.overdue()

    def overdue(self) -> list[str]:
        """Runs that ended longer ago than the retention, and are not forgotten in spite of the looks for them since."""
        keep_us = self.cluster.drawn.retention_s * SECOND
        if not keep_us:
            return []
        before_us = self.world.now_us() - keep_us - keep_us // 10 - OVERDUE_GRACE_US
        sql = "SELECT run FROM runs WHERE ended_us < ? AND (dropped_us IS NULL OR has_files = 1) ORDER BY run"
        return [run for (run,) in self.cluster.store.database.read(sql, (before_us,))]


def simulate(recipe: int | Recipe) -> Result:
    """Run one schedule, of a seed or a recipe. Deterministic: the same gives the same story."""
    recipe = recipe_of(recipe) if isinstance(recipe, int) else recipe
    drawn = recipe.draw
    world = World(recipe.seed, drawn.faults, recipe.left_out, drawn.start_us, recipe.salt)
    store, witness = MemoryStore(), Witness()
    try:
        projects = draw_projects(recipe.seed, drawn, recipe.most_nodes)
        cluster = Cluster(world, drawn, store, witness, projects)
        people = People(world, drawn, cluster, witness, recipe.undone)
        auditor = Auditor(store.database, projects, witness)
        cluster.before_drop = lambda: world.violations.extend(auditor.look())
        scene = Scene(
            world, cluster, people, Streams(world, cluster, witness),
            RunsElsewhere(world, cluster, witness), Probes(world, cluster, auditor), auditor, witness,
            drawn.length_s * SECOND,
        )  # fmt: skip
        has_ended, died = scene.run()
        violations = [Violation("P1", "no engine ends without a cause", died)] if died else []
        violations += _verdict(scene, has_ended=has_ended, is_quiet=not died)
        runs = store.database.read("SELECT count(*) FROM runs")[0][0]
        _notice(world, store)
        return Result(recipe, violations, world, runs, people.planned, world.saw)
    finally:
        store.close()


def _verdict(scene: Scene, *, has_ended: bool, is_quiet: bool) -> list[Violation]:
    world, cluster = scene.world, scene.cluster
    if world.violations:  # it was stopped in the middle of things
        return world.violations
    evidence = Evidence(
        cluster.store.database, cluster.projects, scene.witness, has_ended=has_ended, is_quiet=is_quiet,
        slots_until_us=world.now_us() - SLOT_GRACE_US if has_ended else None, code=cluster.code,
    )  # fmt: skip
    found: list[Violation] = []
    if is_quiet and (overdue := scene.overdue()):
        found.append(Violation("D8", "what is older than the retention goes in the end", ", ".join(overdue)))
    found += [*scene.auditor.close(evidence), *check_output(cluster.store, scene.streams.blamed)]
    if not has_ended and is_quiet and not found:
        what = "rows of a stream or events are unread" if world.events < EVENTS_MOST else "it goes in circles"
        found.append(Violation("D5", "once faults stop, all comes to an end", what))
    for (run,) in cluster.store.database.read("SELECT run FROM runs WHERE has_files = 0"):
        if run not in cluster.files_gone:
            found.append(Violation("D8", "files are said to be gone once they are", run))
    if has_ended and cluster.acting is not None:
        state = cluster.acting.engine.machine.state
        if state.runs or any(worker.flights for worker in state.pool.workers.values()):
            found.append(Violation("D6", "an engine at rest holds nothing", f"{list(state.runs)}"))
    if cluster.timers_most > TIMERS_MOST:
        found.append(Violation("D6", "timers of the engine are bounded", f"{cluster.timers_most} at once"))
    return found


def _notice(world: World, store: MemoryStore) -> None:
    """Count the interesting states that the facts show."""
    kinds = dict(store.database.read("SELECT kind, count(*) FROM facts GROUP BY kind"))
    for kind in NOTICED:
        if kinds.get(kind):
            world.saw[kind] += 1
    if kinds.get("LogTaken", 0) > 2:
        world.saw["a third engine took over"] += 1
    if store.database.read(_FORGIVEN):
        world.saw["a retry left failures that are forgiven"] += 1
