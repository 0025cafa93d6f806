"""The engine's policies, one desk each: schedules, monitors, tables, models. Each turns events into facts.

Nothing here touches attempts or workers. What a desk keeps in memory stands in rows and can be read from them again:
`apply` changes it as facts say, `hearing` as events tell that bring what others have written (watermarks, versions of
tables, slots that ran). Besides it has an agenda, which deciding strikes out: reads that are on their way, trainings
whose end their controller has not heard of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from headrace.base.facts import Fact
from headrace.data.facts import TopicShaped
from headrace.definitions.project import ModelDef, PipelineDef
from headrace.runs import facts as f
from headrace.runs.commands import ReadSlots
from headrace.runs.creation import created, reached, run_window
from headrace.runs.effects import Effects
from headrace.runs.events import AliasAsked, RunAsked, TriggerSeen
from headrace.runs.firing import Firing, fire
from headrace.runs.monitoring import MonitorDesk
from headrace.runs.office import Office
from headrace.runs.pool import Flight
from headrace.runs.publishing import TableDesk
from headrace.runs.rows import Restored, RunRow
from headrace.runs.scheduling import ScheduleDesk
from headrace.runs.training import ModelDesk


class Desks:
    """All desks of one engine."""

    def __init__(self, *, fires_schedules: bool = True, fires_triggers: bool = True) -> None:
        """An in-process run fires neither: what it publishes or judges, a living engine follows and acts on."""
        self.fires_triggers = fires_triggers
        self.watermarks: dict[str, int] = {}
        self.columns: dict[str, dict[str, str]] = {}  # of topics without schema=
        self.paused: set[str] = set()
        self.schedules = ScheduleDesk(fires=fires_schedules)
        self.tables = TableDesk()
        self.models = ModelDesk()
        self.monitors = MonitorDesk()
        self._heeding: dict[type[Fact], list[Callable[[Any], None]]] = {
            f.PipelinePaused: [self._paused],
            TopicShaped: [self._shaped],
        }
        for desk in (self.schedules, self.tables, self.models, self.monitors):
            for kind in desk.heeds:
                self._heeding.setdefault(kind, []).append(desk.apply)

    def restore(self, rows: Restored) -> None:
        """Know what the rows say, instead of whatever was known."""
        self.paused = set(rows.paused)
        self.columns = dict(rows.columns)
        for desk in (self.schedules, self.tables, self.models, self.monitors):
            desk.restore(rows)

    def apply(self, fact: Fact) -> None:
        """Most facts are about attempts, which no desk heeds."""
        for change in self._heeding.get(type(fact), ()):
            change(fact)

    def _paused(self, fact: f.PipelinePaused) -> None:
        (self.paused.add if fact.is_paused else self.paused.discard)(fact.pipeline)

    def _shaped(self, fact: TopicShaped) -> None:
        self.columns[fact.topic] = fact.schema

    def due(self, office: Office, now_us: int) -> Iterator[Fact | ReadSlots]:
        """Runs that time or a watermark has made due."""
        if self.fires_triggers:
            yield from self.schedules.due(office, now_us, self.paused, self.models)
            yield from self.models.due(office)
            yield from self.monitors.due(office, self.watermarks, self.models)

    def on_run_asked(self, office: Office, definition: PipelineDef, event: RunAsked) -> Iterator[Fact]:
        """A client asks. Where the pipeline registers a model its controller decides; a person overrules it."""
        if definition.registers is not None and event.cause != "here":
            yield from self.models.asked_by_person(office, definition, event, self.watermarks)
            return
        about_us = event.at_us or reached(definition, self.watermarks, office.now_us)
        window = event.window or run_window(definition, about_us)
        yield created(
            office,
            definition.name,
            event.key,
            event.cause,
            window,
            params=event.params,
            events=event.events,
            why=event.why,
        )

    def on_effects(self, office: Office, run: str, code: str, flight: Flight, effects: Effects) -> Iterator[Fact]:
        """Publish what an accepted attempt made."""
        for write in effects.tables:
            published = self.tables.published(office, run, flight, write)
            yield published
            yield from self.on_published(office, published.table, published.version_number)
        for registered in effects.models:
            yield from self.models.on_registered(office, run, flight, code, registered)
        for judged in effects.windows:
            yield from self.monitors.on_judged(office, run, judged, self.paused, self.models)

    def on_published(self, office: Office, table: str, version: int) -> Iterator[Fact]:
        if self.fires_triggers:
            paused, watermarks = self.paused, self.watermarks
            yield from self.tables.on_published(office, table, version, paused, watermarks, self.models)

    def on_trigger(self, office: Office, event: TriggerSeen) -> Iterator[Fact]:
        """An event group is complete: exactly one run, or one recorded suppression."""
        definition = office.project.pipelines.get(event.pipeline)
        if definition is None:
            why = "the pipeline is not in the deployed code"
        elif event.pipeline in self.paused:
            why = "the pipeline is paused"
        else:
            rows = sum(end - first for _, _, first, end in event.ranges)
            seen = f"{rows} row{'s' if rows != 1 else ''} of {', '.join(sorted({r[0] for r in event.ranges}))}"
            firing = Firing("event", event.key, event.event_time_us, seen, event.ranges)
            yield from fire(office, definition, firing, self.models)
            return
        yield f.TriggerSuppressed(event.pipeline, event.key, why, office.now_us)

    def on_retry(self, office: Office, row: RunRow) -> Iterator[Fact]:
        yield from self.models.on_retry(office, row)

    def on_alias(self, office: Office, event: AliasAsked) -> Iterator[Fact]:
        yield from self.models.move_alias(office, event)

    def on_run_ended(self, office: Office, model: ModelDef | None, ended: f.RunEnded) -> Iterator[Fact]:
        yield from self.models.on_run_ended(office, model, ended)
