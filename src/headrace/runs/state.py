"""What the engine knows: its unfinished runs, its desks, its workers, and what it waits for.

Three functions change what it knows, and each is told of one kind of thing: `applying.apply` of facts, which are
committed and stand in rows; `hearing.hear` of events, which tell about the world outside; `sending.send` of commands,
which are on their way into it. It begins with what `restoring.restore` reads in rows.

Whoever decides reads that, and strikes out its own work on the agenda: what to look at (`touched`, `Progress.todo`), who
waits to be served (`Handout`'s queue, `Lanes`, the queues of ready items), when to look again (`wake_in`, the quiet stretch
of a schedule). Nothing is known by the agenda alone: it is made again from what is known.
"""

from __future__ import annotations

from collections.abc import Mapping

from headrace.base.ids import make_id
from headrace.base.shown import shown
from headrace.definitions.project import ModelDef, PipelineDef, Project
from headrace.errors import NotFoundError
from headrace.runs.active import Active
from headrace.runs.desks import Desks
from headrace.runs.lanes import Lanes
from headrace.runs.monitoring import PREFIX as MONITOR_PREFIX
from headrace.runs.monitoring import monitor_pipeline
from headrace.runs.plan import GraphPlan
from headrace.runs.pool import Pool
from headrace.runs.timers import Timers

_NO_PROJECT = Project("none")


class State:
    """State of one engine, or of one in-process run. It is what desks work in: see `office.Office`."""

    def __init__(
        self,
        *,
        pool_size: int,
        max_lost: int = 5,
        worker_prefix: str = "w",
        desks: Desks | None = None,
        now_us: int = 0,
        mono_us: int = 0,
    ) -> None:
        """`now_us` and `mono_us` are the time now: runs may be restored before the first step, with their deadlines."""
        self.max_lost = max_lost
        # Of facts.
        self.code = ""
        self.runs: dict[str, Active] = {}
        self.lanes = Lanes()
        self.desks = desks or Desks()
        self.plans: dict[str, GraphPlan] = {}  # of the current code, by pipeline
        self.keys: set[str] = set()  # of runs made in this step: the store knows the others
        # Of the world outside: code that was loaded, workers, deadlines, runs whose rows are being read.
        self.projects: dict[str, Project] = {}
        self.pool = Pool(pool_size, worker_prefix)
        self.unready: dict[str, int] = {}
        self.timers = Timers()
        self.reviving: dict[str, bool] = {}  # runs that go again and are not read yet: whether they are cancelled
        # Agenda: where the step has to look. Nothing is known by it alone.
        self.touched: dict[str, None] = {}
        # The moment.
        self.now_us, self.mono_us = now_us, mono_us
        self.begun: Mapping[str, tuple[int, int]] = {}
        self._entropy = self._ids = 0

    def begin_step(self, now_us: int, mono_us: int, entropy: int, begun: Mapping[str, tuple[int, int]]) -> None:
        """`begun` maps a worker to (serial, monotonic microseconds) of the attempt that it is in."""
        self.now_us, self.mono_us, self.begun = now_us, mono_us, begun
        self._entropy, self._ids = entropy, 0
        self.keys.clear()
        self.timers.begin_step()

    # -- looking up ----------------------------------------------------------------------------------------------

    @property
    def project(self) -> Project:
        return self.projects.get(self.code, _NO_PROJECT)

    def pipeline(self, name: str) -> PipelineDef:
        """Raises NotFoundError, with what there is."""
        definition = definition_of(self.project, name)
        if definition is None:
            known = ", ".join(sorted(self.project.pipelines)) or "none"
            raise NotFoundError(
                f"there is no pipeline {shown(name)}; known: {known}",
                cure="headrace check lists what was found",
                code="HR2010",
            )
        return definition

    def is_active(self, pipeline: str) -> bool:
        return self.lanes.is_active(pipeline)

    def window_of(self, run: str) -> tuple[int, int] | None:
        active = self.runs.get(run)
        return None if active is None else active.window

    def model_of(self, run: str) -> ModelDef | None:
        """What the run registers, as the code version says that the run was made with."""
        active = self.runs.get(run)
        return None if active is None else active.model

    # -- for those who decide ------------------------------------------------------------------------------------

    def new_id(self) -> str:
        self._ids += 1
        return make_id(self.now_us, self._entropy + self._ids)

    def wake_in(self, delay_us: int) -> None:
        """Ask for a step, as `Timers.wake_at` does."""
        self.timers.wake_at(self.mono_us + delay_us)


def definition_of(project: Project, name: str) -> PipelineDef | None:
    """A pipeline of the project, the built-in ones of its monitors included."""
    if name.startswith(MONITOR_PREFIX):
        monitor = project.monitors.get(name.removeprefix(MONITOR_PREFIX))
        return None if monitor is None else monitor_pipeline(monitor)
    return project.pipelines.get(name)
