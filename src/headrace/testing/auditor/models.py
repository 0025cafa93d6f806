"""A1, A2: one retraining per crossing and per accepted ask, one at a time; exactly one champion; windows judged once."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from headrace.definitions.project import OnMonitor, PipelineDef, Project
from headrace.models.facts import AliasMoved, RetrainAsked, StreakMoved, VersionRegistered, WindowJudged
from headrace.runs.facts import CodeDeployed, PipelinePaused, RunCreated, RunEnded, RunRetried, TriggerSuppressed
from headrace.store.sql.connection import Database
from headrace.testing.auditor.evidence import Evidence, Place, Violation
from headrace.testing.auditor.triggers import BY_WINDOW

CHAMPION = "champion"


class ModelCheck:
    """`training`: model → the run that trains it now; `due`: what the last window must be followed by."""

    def __init__(self, database: Database, projects: Mapping[str, Project]) -> None:
        self.database, self.projects = database, projects
        self.code = ""
        self.accepted: Counter[str] = Counter()
        self.trainings: dict[str, list[str]] = defaultdict(list)
        self.training: dict[str, str] = {}
        self.of_run: dict[str, str] = {}
        self.versions: Counter[str] = Counter()
        self.aliases: dict[tuple[str, str], int] = {}
        self.windows: dict[str, int] = {}  # monitor → the end of its newest judged window
        self.judged: set[tuple[str, int]] = set()
        self.streaks: Counter[str] = Counter()
        self.due_streaks: dict[str, tuple[int, int]] = {}
        self.due_asks: Counter[tuple[str, int]] = Counter()
        self.due_starts: Counter[tuple[str, str, bool]] = Counter()  # pipeline, key, whether it is paused
        self.paused: set[str] = set()

    def take(self, place: Place) -> Iterator[Violation]:
        match place.fact:
            case CodeDeployed(code=code):
                self.code = code
            case PipelinePaused() as pause:
                (self.paused.add if pause.is_paused else self.paused.discard)(pause.pipeline)
            case RetrainAsked() as asked:
                yield from self._asked(place, asked)
            case RunCreated(cause="monitor", pipeline=pipeline, key=key) if key.startswith(BY_WINDOW):
                yield from self._started(place, (pipeline, key, False))
            case TriggerSuppressed(pipeline=pipeline, key=key) if key.startswith(BY_WINDOW):
                yield from self._started(place, (pipeline, key, True))
            case RunCreated(cause="retrain", key=key, run=run):
                model = key.split(":")[1]
                self.trainings[model].append(key)
                if model in self.training:
                    yield Violation("A1", "one training at a time", f"{place} while run {self.training[model]} trains")
                self.training[model] = run
                self.of_run[run] = model
            case RunEnded(run=run) if self.training.get(self.of_run.get(run, "")) == run:
                del self.training[self.of_run[run]]
            case VersionRegistered() as version:
                self.versions[version.model] += 1
                if version.version_number != self.versions[version.model]:
                    yield Violation("A2", "versions of a model are 1 to n", str(place))
            case AliasMoved() as moved:
                now = self.aliases.get((moved.model, moved.alias), 0)
                if moved.previous != now or not 1 <= moved.version_number <= self.versions[moved.model]:
                    yield Violation("A2", "an alias moves from where it is to a version", f"{place}; it is {now}")
                self.aliases[moved.model, moved.alias] = moved.version_number
            case WindowJudged() as judged:
                yield from self._judged(place, judged)
            case StreakMoved() as streak:
                if self.due_streaks.pop(streak.asker, None) != (streak.length, streak.window_end_us):
                    yield Violation("A1", "streaks follow the windows", str(place))
                self.streaks[streak.asker] = streak.length
            case RunRetried(run=run) if run in self.of_run:
                model = self.of_run[run]
                if model in self.training:
                    yield Violation("A1", "one training at a time", f"{place} while run {self.training[model]} trains")
                self.training[model] = run
            case _:
                pass

    def compare(self) -> Iterator[Violation]:
        if self.due_streaks or +self.due_asks or +self.due_starts:
            found = f"windows without their consequence: {self.due_streaks} {self.due_asks} {self.due_starts}"
            yield Violation("A1", "one crossing, one ask", found)
        for model in self.accepted.keys() | self.trainings.keys():
            wanted = [f"retrain:{model}:{n + 1}" for n in range(self.accepted[model])]
            if self.trainings[model] != wanted:
                found = f"{self.trainings[model]}, asked {self.accepted[model]} times"
                yield Violation("A1", "one retraining per accepted ask", found)
        sql = "SELECT model, version FROM model_versions WHERE state = 'champion' ORDER BY model, version"
        champions = self.database.read(sql) if self.versions else []
        wanted = sorted((model, version) for (model, alias), version in self.aliases.items() if alias == CHAMPION)
        if champions != wanted:
            yield Violation("A2", "exactly one champion", f"{champions}, alias {wanted}")

    def close(self, end: Evidence) -> Iterator[Violation]:
        if not end.has_ended:
            return
        for model, state in self.database.read("SELECT model, state FROM controllers"):
            if any(f'"phase":"{phase}"' in state for phase in ("asked", "training", "judging")):
                yield Violation("D5", "once faults stop, all comes to an end", f"{model} is still {state}")

    def _asked(self, place: Place, asked: RetrainAsked) -> Iterator[Violation]:
        self.accepted[asked.model] += asked.accepted
        monitor, dot, _ = asked.by.partition(".")
        if not dot or monitor not in self.windows:
            return
        due = (monitor, asked.event_us)
        self.due_asks[due] -= 1
        if self.due_asks[due] < 0:
            yield Violation("A1", "one crossing, one ask", str(place))

    def _started(self, place: Place, due: tuple[str, str, bool]) -> Iterator[Violation]:
        self.due_starts[due] -= 1
        if self.due_starts[due] < 0:
            yield Violation("S6", "what a monitor asks for starts, unless it is paused", str(place))

    def _judged(self, place: Place, judged: WindowJudged) -> Iterator[Violation]:
        """Work out from the window what every asker's streak must be now, and who must ask."""
        end_us, last_us = judged.window[1], self.windows.get(judged.monitor, -1)
        if (judged.monitor, end_us) in self.judged:
            yield Violation("A1", "a window is judged once", str(place))
        self.judged.add((judged.monitor, end_us))
        # The run of an older window that was tried again says nothing new about streaks.
        is_new = end_us > last_us
        end_us = self.windows[judged.monitor] = max(end_us, last_us)
        project = self.projects.get(self.code)
        moved: dict[str, int] = {}
        asking: dict[str, PipelineDef] = {}
        for pipeline in project.pipelines.values() if project else ():
            for trigger in pipeline.triggers:
                if not isinstance(trigger, OnMonitor) or trigger.monitor != judged.monitor:
                    continue
                asker = f"{trigger.monitor}:{trigger.which}:{pipeline.name}"
                crossed = judged.crossed.get(trigger.which)
                length = self.streaks[asker]
                moved[asker] = length if crossed is None or not is_new else length + 1 if crossed else 0
                if crossed and is_new and moved[asker] >= trigger.consecutive:
                    asking[pipeline.name] = pipeline
        self.due_streaks = {asker: (0 if asking else length, end_us) for asker, length in moved.items()}
        model = project.models.get(judged.model) if project else None
        for pipeline in asking.values():
            is_paused = pipeline.name in self.paused
            if pipeline.registers is None or is_paused:
                self.due_starts[pipeline.name, f"{BY_WINDOW}{pipeline.name}:{judged.monitor}:{end_us}", is_paused] += 1
            elif model is not None:
                self.due_asks[judged.monitor, end_us + model.mature_us] += 1
