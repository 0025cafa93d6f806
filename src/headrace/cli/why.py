"""`headrace why`: what waits or fails, the reason, and the next step. The reasons themselves are in `runs.reasons`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from headrace.base.near import near
from headrace.base.shown import shown
from headrace.cli.client import WAITS_UNTIL
from headrace.cli.foreseen import subject_of
from headrace.cli.here import Here, now_us, open_here
from headrace.cli.names import LAST, run_named
from headrace.cli.output import show_json, show_line
from headrace.cli.parser import PLAIN, Common, make_app
from headrace.cli.pipelines import next_slot_us, paused_by
from headrace.cli.queued import held_by
from headrace.cli.streams import lag_of
from headrace.cli.tasks import graph_of, unfinished_items
from headrace.cli.windows import backfill_runs, missed, of_failed
from headrace.definitions.nodes import Graph
from headrace.definitions.project import CHAMPION
from headrace.errors import NotFoundError
from headrace.models.controller import ControllerState
from headrace.runs import reasons, run_reasons, window_reasons
from headrace.runs.monitoring import PREFIX, next_window
from headrace.runs.reasons import FailedTraining, Reason
from headrace.runs.run_reasons import NOT_IN_CODE, AtWork
from headrace.runs.state import definition_of
from headrace.triggers.groups import EventGroup

if TYPE_CHECKING:
    from headrace.runs.rows import RunRow
    from headrace.store.sql.reads.inbox import RequestRow

app = make_app("why", "Say what waits or fails, the reason and the next step.")

ACTIVE = ("waiting", "running", "cancelling")
ENDED_BADLY = ("failed", "lost")
RECENT_US = 86_400_000_000


@app.default
def why(subject: str | None = None, /, *, common: Common = PLAIN) -> None:
    """Say what waits or fails, the reason and the next step: of one thing, or of everything.

    Parameters
    ----------
    subject
        A run, a backfill, a pipeline, a stream, a monitor or a model; the word last for the newest run. All of them
        without it.
    """
    with open_here(common) as here:
        found = list(dict.fromkeys(everything(here) if subject is None else about(here, subject)))
    if common.json:
        return show_json(found)
    if not found:
        return show_line(f"nothing waits or fails{'' if subject is None else f' in {subject}'}", "ok")
    for about_it in dict.fromkeys(reason.about for reason in found):
        own = [reason for reason in found if reason.about == about_it]
        show_line(f"{about_it}: {'; '.join(f'{reason.state}: {reason.why}' for reason in own)}", own[0].state)
        for step in dict.fromkeys(reason.next for reason in own if reason.next):
            show_line(f"  next: {step}")
    return None


def everything(here: Here) -> Iterator[Reason]:
    """What went wrong, newest first, then windows that failed, runs that have not ended, streams, monitors and models.

    What went wrong more than a day ago is one line, but for windows.
    """
    from headrace.store.sql.reads import runs

    if here.engine is None:
        yield Reason("engine", "stopped", reasons.NO_ENGINE, reasons.START_ENGINE)
        yield from of_requests(here)
    went_wrong = [row for row in runs.latest(here.db).values() if row.state in ENDED_BADLY]
    old = [row for row in went_wrong if (row.ended_us or 0) < now_us() - RECENT_US]
    errors = [(row.ended_us or 0, of_run(here, row.run)) for row in went_wrong if row not in old]
    errors += [(at_us, [reason]) for at_us, reason in of_refused(here)]
    for _, found in sorted(errors, key=lambda error: -error[0]):  # newest first
        yield from found
    yield from of_failed(here, told={row.run for row in went_wrong})
    for row in runs.runs(here.db, states=ACTIVE, limit=100):
        yield from of_run(here, row.run)
    if left := sorted(row.pipeline for row in old if definition_of(here.project, row.pipeline) is not None):
        why = f"the newest run of {', '.join(left)} went wrong more than a day ago"
        yield Reason("older runs", "failed", why, f"headrace why {shlex.quote(left[0])}")
    yield from of_rejected(here)
    project = here.project
    for name, pipeline in project.pipelines.items():
        is_still = next_slot_us(pipeline, now_us()) is not None and not here.settings.schedules
        is_still = is_still or missed(here, pipeline) > 0
        if is_still or paused_by(here, name) is not None:
            yield from _of_pipeline_itself(here, name)
    for names, of in ((project.streams, of_stream), (project.monitors, of_monitor), (project.models, of_model)):
        for name in names:
            yield from of(here, name)


def about(here: Here, subject: str) -> Iterator[Reason]:
    """The reasons of everything that has that name. Raises NotFoundError, with the near match, where nothing has."""
    from headrace.store.sql.reads import runs

    project = here.project
    if subject == LAST:
        subject = run_named(here, subject).run
    is_known = False
    if here.engine is None:
        yield from of_requests(here, subject)
    yield from (reason for _, reason in of_refused(here, subject))
    if runs.run(here.db, subject) is not None:
        is_known = True
        yield from of_run(here, subject)
    for names, of in (
        (project.pipelines, of_pipeline),
        (project.streams, of_stream),
        (project.monitors, of_monitor),
        (project.models, of_model),
    ):
        if subject in names:
            is_known = True
            yield from of(here, subject)
    if subject in project.models:
        yield from of_newest_version(here, subject)
    if not is_known and (last := runs.runs(here.db, pipeline=subject, limit=1)):
        is_known = True
        yield Reason(f"pipeline {subject}", "gone", NOT_IN_CODE, f"headrace runs ls {shlex.quote(subject)}")
        if last[0].state in (*ACTIVE, *ENDED_BADLY):
            yield from of_run(here, last[0].run)
    if not is_known and (rows := backfill_runs(here, subject)):
        is_known = True
        yield from window_reasons.of_backfill(subject, rows)
    if not is_known:
        names = [*project.pipelines, *project.streams, *project.monitors, *project.models]
        raise NotFoundError(
            f"there is nothing that is called {shown(subject)}{near(subject, names)}",
            cure="a run's id (headrace runs ls), a backfill's, a pipeline, a stream, a monitor or a model",
            code="HR2010",
        )


def of_requests(here: Here, subject: str | None = None) -> Iterator[Reason]:
    """What was asked while no engine was alive: of one thing, or all of it."""
    from headrace.store.sql.reads import inbox

    for asked in reversed(inbox.requests(here.db)):
        what = subject_of(asked.body)
        if asked.status is None and subject in (None, what):
            why = f"{_verb(asked)} {what} is stored: {reasons.NO_ENGINE}"
            yield Reason(f"request {asked.id}", "waiting", why, reasons.START_ENGINE)


def of_refused(here: Here, subject: str | None = None) -> Iterator[tuple[int, Reason]]:
    """What was asked and refused within the last day, and when: of one thing, or all of it.

    Not where the same was done since, and not what was told to the client, which waited for it.
    """
    from headrace.store.sql.reads import inbox

    seen: set[tuple[str, str]] = set()
    for asked in inbox.requests(here.db):
        name = (_verb(asked), subject_of(asked.body))
        is_old = (asked.answered_us or 0) < now_us() - RECENT_US
        if asked.status is None or name in seen or is_old or subject not in (None, name[1]):
            continue
        seen.add(name)
        answered_us = asked.answered_us or 0
        if asked.status != "done" and answered_us > asked.body.get(WAITS_UNTIL, 0):
            told = asked.answer or {}
            why = f"{' '.join(name)}: {told.get('code', '')} {told.get('message', '')}"
            yield answered_us, Reason(f"request {asked.id}", "refused", why, told.get("cure") or "")


def of_rejected(here: Here) -> Iterator[Reason]:
    """Events that the engine could not decide on since the last deploy: nothing comes of them."""
    from headrace.store.sql.reads.project import current_code, rejected

    code = current_code(here.db)
    for row in [] if code is None else rejected(here.db, code.at_us):
        about = f"event {row.about_log}/{row.about_seq}" if row.about_log is not None else "event"
        yield Reason(about, "rejected", row.error, "headrace doctor shows it whole")


def _verb(asked: RequestRow) -> str:
    """What was asked, in the words of the command line."""
    if asked.verb == "alias":
        return f"move the {asked.body.get('alias')} of"
    return "resume" if asked.verb == "pause" and not asked.body.get("paused") else asked.verb


def of_newest_version(here: Here, model: str) -> Iterator[Reason]:
    """Why the newest version of a model does not serve, where it was rejected."""
    from headrace.store.sql.reads import models

    for row in models.versions(here.db, model, limit=1):
        if row.state == "rejected":
            step = f"headrace models show {shlex.quote(model)}"  # a gate that said no is not argued with
            yield Reason(f"model {model} version {row.version}", "rejected", row.why or "", step)


def of_run(here: Here, run: str) -> list[Reason]:
    from headrace.store.sql.reads import runs
    from headrace.store.sql.reads.watermarks import reaches

    row = runs.run(here.db, run)
    if row is None:
        return []
    cells = runs.cells(here.db, run)
    items = unfinished_items(here, run, cells)
    return run_reasons.of_run(
        row,
        graph_of(here, row),
        cells,
        items,
        reaches=reaches(here.db, here.project),
        has_engine=here.engine is not None,
        scopes=runs.scopes(here.db, run),
        deployed=_deployed(here, row),
        held_by=held_by(here, row),
        at_work=() if row.cause == "here" else [AtWork(*held) for held in runs.attempts_at_work(here.db)],
        root=str(here.settings.root),
        workers=here.settings.workers,
        is_in_code=definition_of(here.project, row.pipeline) is not None,
    )


def _deployed(here: Here, run: RunRow) -> Graph | None:
    """The graph that the run's pipeline has in the deployed code; None where that is the code of the run."""
    from headrace.definitions import project as definitions
    from headrace.store.sql.reads.project import current_code

    now = current_code(here.db)
    if now is None or now.code == run.code:
        return None
    pipeline = definitions.decode(now.project).pipelines.get(run.pipeline)
    return None if pipeline is None else pipeline.graph


def of_pipeline(here: Here, name: str) -> Iterator[Reason]:
    from headrace.store.sql.reads import runs

    definition = here.project.pipelines[name]
    for row in runs.runs(here.db, pipeline=name, states=ACTIVE, limit=20):
        yield from of_run(here, row.run)
    last = runs.runs(here.db, pipeline=name, limit=1)
    if last and last[0].state in ENDED_BADLY:
        yield from of_run(here, last[0].run)
    yield from of_failed(here, name, told={row.run for row in last})
    yield from _of_pipeline_itself(here, name)
    if definition.registers is not None and definition.registers in here.project.models:
        yield from of_model(here, definition.registers)


def _of_pipeline_itself(here: Here, name: str) -> list[Reason]:
    from headrace.store.sql.reads import streams

    definition = here.project.pipelines[name]
    rows = [row for row in streams.triggers(here.db) if row.pipeline == name]
    groups = [msgspec.json.decode(row.held, type=EventGroup) for row in rows]
    held = [Reason(f"trigger {row.slug}", "stopped", row.why, "mend it and save") for row in rows if row.why]
    return held + reasons.of_pipeline(
        definition,
        paused_by=paused_by(here, name),
        next_slot_us=next_slot_us(definition, now_us()),
        missed=missed(here, definition),
        fires_schedules=here.settings.schedules,
        has_engine=here.engine is not None,
        held_events=sum(len(group.held) for group in groups),
    )


def of_stream(here: Here, name: str) -> Iterator[Reason]:
    from headrace.store.sql.reads import streams

    definition = here.project.streams[name]
    shards = streams.shards(here.db, name)
    dead = streams.dead_since(here.db, name, now_us() - RECENT_US)
    if here.engine is None:
        yield Reason(f"stream {name}", "stopped", reasons.NO_ENGINE, reasons.START_ENGINE)
    elif not shards:
        yield Reason(f"stream {name}", "waiting", "it has not started", "goes by itself")
    for shard in shards:
        yield from reasons.of_shard(shard, lag=lag_of(here, definition, shard), dead=dead.get(shard.shard, (0, 0)))


def of_monitor(here: Here, name: str) -> Iterator[Reason]:
    from headrace.store.sql.reads import models, monitors, runs
    from headrace.store.sql.reads.watermarks import reaches

    definition = here.project.monitors[name]
    for row in runs.runs(here.db, pipeline=PREFIX + name, states=(*ACTIVE, *ENDED_BADLY), limit=1):
        yield from of_run(here, row.run)
    since_us = models.champions_since_us(here.db).get(definition.model)
    last_end_us = monitors.last_ends(here.db.read).get(name)
    yield from reasons.of_monitor(
        definition,
        here.project.models.get(definition.model),
        next_end_us=None if since_us is None else next_window(definition, last_end_us, since_us)[1],
        reaches=reaches(here.db, here.project),
    )


def of_model(here: Here, name: str) -> list[Reason]:
    from headrace.store.sql.reads import models

    row = models.controller(here.db, name)
    asks = models.asks(here.db, name, limit=1)
    versions = models.versions(here.db, name, limit=1)
    trainers = [p.name for p in here.project.pipelines.values() if p.registers == name]
    return reasons.of_model(
        here.project.models[name],
        champion=models.alias(here.db, name, CHAMPION),
        versions=versions[0].version if versions else 0,
        controller=ControllerState() if row is None else msgspec.json.decode(row.state, type=ControllerState),
        last_ask=f"{asks[0].by}: {asks[0].why}" if asks and not asks[0].is_accepted else None,
        trainer=next(iter(trainers), None),
        failed=_failed_training(here, trainers),
    )


def _failed_training(here: Here, trainers: list[str]) -> FailedTraining | None:
    """The newest training, where it went wrong."""
    from headrace.store.sql.reads import runs

    found = [row for trainer in trainers for row in runs.runs(here.db, pipeline=trainer, limit=1)]
    last = max(found, key=lambda row: row.created_us, default=None)
    if last is None or last.state not in ENDED_BADLY:
        return None
    return FailedTraining(last.run, last.pipeline, last.end_why or last.state)
