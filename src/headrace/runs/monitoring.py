"""Monitors: one run per closed window, and what its judgement asks for.

A monitor is a built-in pipeline of one task. Its run is due when the watermarks of predictions and labels have passed
the window's end plus the time labels need; windows of one monitor are judged in order.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from headrace.base.facts import Fact
from headrace.definitions.nodes import BUILT_IN, Graph, Node, Param
from headrace.definitions.project import MonitorDef, OnMonitor, ParamDef, PipelineDef
from headrace.drift.policy import Streak, advance
from headrace.models.facts import StreakMoved, WindowJudged
from headrace.runs import facts as f
from headrace.runs.creation import created
from headrace.runs.effects import JudgedWindow
from headrace.runs.rows import Restored
from headrace.triggers.wall_time import instant_of, wall_of, zone_of

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
            window = next_window(monitor, self.last_end_us.get(monitor.name), since_us)
            end_us = window[1]
            topics = [monitor.topic, *([model.labels] if model.labels else [])]
            if min(watermarks.get(topic, 0) for topic in topics) < end_us + model.mature_us:
                continue
            yield created(office, PREFIX + monitor.name, f"{PREFIX}{monitor.name}:{end_us}", "monitor", window)

    def on_judged(
        self, office: Office, run: str, judged: JudgedWindow, paused: set[str], models: ModelDesk
    ) -> Iterator[Fact]:
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
            if definition.name in paused:
                key = _key(definition, trigger, end_us)
                yield f.TriggerSuppressed(definition.name, key, "the pipeline is paused", office.now_us)
                continue
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
        key = _key(definition, trigger, end_us)
        yield created(office, definition.name, key, "monitor", judged.window, why=judged.why)


def _key(definition: PipelineDef, trigger: OnMonitor, end_us: int) -> str:
    return f"asked:{definition.name}:{trigger.monitor}:{end_us}"


def first_window(monitor: MonitorDef, since_us: int) -> tuple[int, int]:
    """The first window (start, end) that lies wholly after that instant, and not before the anchor.

    >>> m = MonitorDef("m", "t", "d", window_us=7, anchor_us=1)
    >>> first_window(m, 1), first_window(m, 2)
    ((1, 8), (8, 15))
    """
    number = max((since_us - monitor.anchor_us) // monitor.window_us - 1, 0)
    while border(monitor, number) < since_us:
        number += 1
    return border(monitor, number), border(monitor, number + 1)


def next_window(monitor: MonitorDef, last_end_us: int | None, since_us: int) -> tuple[int, int]:
    """The window that is judged next: after the last that has a run, else the first since a model serves."""
    return first_window(monitor, since_us if last_end_us is None else last_end_us)


def border(monitor: MonitorDef, number: int) -> int:
    """Where so many windows since the anchor end. Windows of whole days follow the calendar of the monitor's zone.

    Counted from the anchor, not from border to border: after a midnight that is skipped days begin at midnight again.
    """
    length_us = number * monitor.window_us
    if monitor.window_us % _DAY_US or monitor.timezone == "UTC":
        return monitor.anchor_us + length_us
    zone = zone_of(monitor.timezone)
    return instant_of(zone, wall_of(zone, monitor.anchor_us) + timedelta(microseconds=length_us))


def due_ends(monitor: MonitorDef, since_us: int, complete_us: int) -> list[int]:
    """Ends of all windows that can be judged when data and labels are complete through `complete_us`."""
    ends: list[int] = []
    _, end_us = first_window(monitor, since_us)
    while end_us <= complete_us:
        ends.append(end_us)
        _, end_us = first_window(monitor, end_us)
    return ends
