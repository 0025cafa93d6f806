"""Monitors: one run per closed window, and what its judgement asks for.

A monitor is a built-in pipeline of one task. Its run is due when the watermarks of predictions and labels have passed
the window's end plus the time labels need; windows of one monitor are judged in order.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from headrace.base.facts import Fact
from headrace.base.instants import from_us, to_us
from headrace.definitions.nodes import BUILT_IN, Graph, Node, Param
from headrace.definitions.project import MonitorDef, OnMonitor, ParamDef, PipelineDef
from headrace.drift.policy import Streak, advance
from headrace.models.facts import StreakMoved, WindowJudged
from headrace.runs import facts as f
from headrace.runs.effects import JudgedWindow
from headrace.runs.rows import Restored
from headrace.triggers.wall_time import zone_of

if TYPE_CHECKING:
    from headrace.runs.office import Office
    from headrace.runs.training import ModelDesk

PREFIX = "monitor:"
_DAY_US = 86_400_000_000


def monitor_pipeline(monitor: MonitorDef) -> PipelineDef:
    """The built-in pipeline that judges one window of a monitor."""
    judge = Node("judge", "monitor", monitor.name, {"window": Param("window")}, options=BUILT_IN)
    window = ParamDef("window", "json", required=True, kind="window")
    return PipelineDef(PREFIX + monitor.name, monitor.name, Graph((judge,)), (window,), doc="Judges one window.")


class MonitorDesk:
    """The last window of every monitor that has a run, and the streaks of everyone who asks."""

    heeds = (f.RunCreated, StreakMoved)

    def __init__(self) -> None:
        self.last_end_us: dict[str, int] = {}
        self.streaks: dict[str, Streak] = {}

    def restore(self, rows: Restored) -> None:
        self.last_end_us = dict(rows.monitored_us)
        self.streaks = {asker: Streak(length, 0, end_us) for asker, (length, end_us) in rows.streaks.items()}

    def apply(self, fact: Fact) -> None:
        match fact:
            case f.RunCreated(cause="monitor", window=window) if window is not None and fact.pipeline.startswith(
                PREFIX
            ):
                self.last_end_us[fact.pipeline.removeprefix(PREFIX)] = window[1]
            case StreakMoved():
                self.streaks[fact.asker] = Streak(fact.length, 0, fact.window_end_us)
            case _:
                pass

    def due(self, office: Office, watermarks: dict[str, int], models: ModelDesk) -> Iterator[Fact]:
        """At most one run per monitor: the next window, once it is closed and its labels are mature."""
        for monitor in office.project.monitors.values():
            model = office.project.models.get(monitor.model)
            since_us = models.champion_since_us.get(monitor.model)
            if model is None or since_us is None or office.is_active(PREFIX + monitor.name):
                continue
            end_us = next_end(monitor, self.last_end_us.get(monitor.name), since_us)
            topics = [monitor.topic, *([model.labels] if model.labels else [])]
            if min(watermarks.get(topic, 0) for topic in topics) < end_us + model.mature_us:
                continue
            start_us = self.last_end_us.get(monitor.name) or after(monitor, end_us, -1)
            window = (start_us, end_us)
            yield f.RunCreated(
                office.new_id(),
                PREFIX + monitor.name,
                office.code,
                f"{PREFIX}{monitor.name}:{end_us}",
                "monitor",
                office.now_us,
                {},
                window,
                max_lost=office.max_lost,
            )

    def on_judged(self, office: Office, run: str, judged: JudgedWindow, models: ModelDesk) -> Iterator[Fact]:
        """The window's fact, the streaks that it moves, and what they ask for."""
        yield WindowJudged(
            judged.monitor,
            judged.model,
            judged.window,
            judged.version_number,
            judged.n,
            judged.judged,
            judged.why,
            judged.judgement,
            run,
            office.now_us,
            judged.crossed,
        )
        end_us = judged.window[1]
        moved: dict[str, Streak] = {}
        asks: list[tuple[PipelineDef, OnMonitor]] = []
        for definition in office.project.pipelines.values():
            for trigger in definition.triggers:
                if not isinstance(trigger, OnMonitor) or trigger.monitor != judged.monitor:
                    continue
                asker = f"{trigger.monitor}:{trigger.which}:{definition.name}"
                streak, asks_now = advance(
                    self.streaks.get(asker, Streak()),
                    window_end_us=end_us,
                    crossed=judged.crossed.get(trigger.which),
                    consecutive=trigger.consecutive,
                )
                moved[asker] = streak
                if asks_now:
                    asks.append((definition, trigger))
        if asks:  # an ask clears every asker's streak, so that one crossing gives one retraining
            moved = {asker: streak.cleared() for asker, streak in moved.items()}
        for asker, streak in moved.items():
            yield StreakMoved(asker, streak.crossings, streak.window_end_us or end_us)
        asked: set[str] = set()
        for definition, trigger in asks:
            if definition.name in asked:
                continue
            asked.add(definition.name)
            by = " and ".join(t.which for d, t in asks if d.name == definition.name)
            yield from self._ask(office, definition, trigger, by, judged, models)

    def _ask(
        self,
        office: Office,
        definition: PipelineDef,
        trigger: OnMonitor,
        by: str,
        judged: JudgedWindow,
        models: ModelDesk,
    ) -> Iterator[Fact]:
        end_us = judged.window[1]
        if definition.registers is not None:
            window = (0, end_us)
            yield from models.asked(office, definition, f"{trigger.monitor}.{by}", judged.why, window)
            return
        key = f"asked:{definition.name}:{trigger.monitor}:{end_us}"
        yield f.RunCreated(
            office.new_id(),
            definition.name,
            office.code,
            key,
            "monitor",
            office.now_us,
            {},
            judged.window,
            why=judged.why,
            max_lost=office.max_lost,
        )


def first_window_end(monitor: MonitorDef, since_us: int) -> int:
    """The end of the first window that lies wholly after the model began to serve.

    >>> m = MonitorDef("m", "t", "d", window_us=7, anchor_us=1)
    >>> first_window_end(m, 1), first_window_end(m, 2)
    (8, 15)
    """
    whole = max((since_us - monitor.anchor_us) // monitor.window_us - 1, 0)
    start_us = monitor.anchor_us if whole == 0 else after(monitor, monitor.anchor_us, whole)
    while start_us < since_us:
        start_us = after(monitor, start_us)
    return after(monitor, start_us)


def next_end(monitor: MonitorDef, last_end_us: int | None, since_us: int) -> int:
    """The end of the window that is judged next: after the last that has a run, else the first of all."""
    return first_window_end(monitor, since_us) if last_end_us is None else after(monitor, last_end_us)


def after(monitor: MonitorDef, us: int, windows: int = 1) -> int:
    """The instant so many windows later. Windows of whole days follow the calendar of the monitor's zone."""
    length_us = windows * monitor.window_us
    if length_us % _DAY_US or monitor.timezone == "UTC":
        return us + length_us
    local = from_us(us).astimezone(zone_of(monitor.timezone))
    return to_us(local + timedelta(microseconds=length_us))  # wall time: the clock shows the same hour


def due_ends(monitor: MonitorDef, since_us: int, complete_us: int) -> list[int]:
    """Ends of all windows that can be judged when data and labels are complete through `complete_us`."""
    ends: list[int] = []
    end_us = first_window_end(monitor, since_us)
    while end_us <= complete_us:
        ends.append(end_us)
        end_us = after(monitor, end_us)
    return ends
