"""`headrace pipelines`: what is deployed, when it runs next, and pausing it."""

from __future__ import annotations

from typing import Any

from headrace.cli.client import ask_and_wait
from headrace.cli.here import Here, now_us, open_here
from headrace.cli.names import known
from headrace.cli.output import show_fields, show_json, show_line, show_table
from headrace.cli.parser import PLAIN, Common, Wait, make_app
from headrace.cli.queued import as_told
from headrace.cli.words import local
from headrace.definitions.project import AnyTrigger, OnEvent, OnMonitor, PipelineDef, Schedule, Updated

app = make_app("pipelines", "Pipelines: what is deployed, when it runs next, and pausing it.")


@app.command
def ls(*, common: Common = PLAIN) -> None:
    """All pipelines with their last run and their next slot."""
    from headrace.store.sql.reads import runs

    with open_here(common) as here:
        latest = {row.pipeline: row for row in as_told(here, runs.latest(here.db).values())}
        documents: list[dict[str, Any]] = []
        for pipeline in here.project.pipelines.values():
            last = latest.get(pipeline.name)
            documents.append(
                {
                    "pipeline": pipeline.name,
                    "triggers": [in_words(trigger) for trigger in pipeline.triggers],
                    "paused_by": paused_by(here, pipeline.name),
                    "next_slot_us": next_slot_us(pipeline, now_us()),
                    "last_run": None if last is None else last.run,
                    "last_state": None if last is None else last.state,
                }
            )
    if common.json:
        return show_json(documents)
    return show_table(
        ("PIPELINE", "STATE", "TRIGGERS", "LAST RUN", "LAST"),
        [
            (
                x["pipeline"],
                "paused" if x["paused_by"] else "active",
                ", ".join(x["triggers"]) or "by hand",
                x["last_run"] or "-",
                x["last_state"] or "never ran",
            )
            for x in documents
        ],
        empty="no pipelines: decorate a function with @hr.pipeline, then  headrace check",
    )


@app.command
def show(name: str, /, *, common: Common = PLAIN) -> None:
    """One pipeline: its tasks, parameters, triggers and last runs.

    Parameters
    ----------
    name
        The pipeline.
    """
    from headrace.runs.run_reasons import upstream_of
    from headrace.store.sql.reads import runs

    with open_here(common) as here:
        pipeline = here.project.pipelines[known("pipeline", name, here.project.pipelines, here=here)]
        last = as_told(here, runs.runs(here.db, pipeline=name, limit=5))
        paused = paused_by(here, name)
    if common.json:
        return show_json({"definition": pipeline, "paused_by": paused, "runs": last})
    show_fields(
        [
            ("pipeline", name),
            ("about", pipeline.doc.strip().partition("\n")[0]),
            ("code", pipeline.target),
            ("paused by", paused),
            ("triggers", ", ".join(map(in_words, pipeline.triggers)) or "by hand"),
            ("next slot", local(next_slot_us(pipeline, now_us()))),
            ("window", pipeline.window),
            ("registers", pipeline.registers),
            ("parameters", " ".join(f"{p.name}:{p.type}={p.default}" for p in pipeline.params if p.kind == "value")),
        ]
    )
    print()
    rows = [
        (node.name, node.kind, ", ".join(upstream_of(pipeline.graph, node)) or "-", node.group or "")
        for node in pipeline.graph.nodes
    ]
    show_table(("TASK", "KIND", "AFTER", "GROUP"), rows, empty="it has no tasks")
    print()
    return show_table(
        ("RUN", "STATE", "CREATED"), [(r.run, r.state, local(r.created_us)) for r in last], empty="it never ran"
    )


@app.command
def pause(name: str, /, *, no_wait: bool = False, timeout: Wait = 10.0, common: Common = PLAIN) -> None:
    """Start no more runs of a pipeline; slots and events that come meanwhile are recorded as skipped.

    Parameters
    ----------
    name
        The pipeline.
    no_wait
        Return as soon as the request is stored.
    """
    _set_paused(name, True, no_wait, timeout, common)


@app.command
def resume(name: str, /, *, no_wait: bool = False, timeout: Wait = 10.0, common: Common = PLAIN) -> None:
    """Let a paused pipeline start runs again.

    Parameters
    ----------
    name
        The pipeline.
    no_wait
        Return as soon as the request is stored.
    """
    _set_paused(name, False, no_wait, timeout, common)


def _set_paused(name: str, is_paused: bool, no_wait: bool, timeout: float, common: Common) -> None:
    with open_here(common, writes=True) as here:
        known("pipeline", name, here.project.pipelines, here=here)
        body = {"pipeline": name, "paused": is_paused}
        asked, answer = ask_and_wait(here, "pause", body, no_wait=no_wait, timeout_s=timeout)
    if common.json:
        return show_json({"request": asked.id, "answer": answer})
    done = "asked to be " if answer is None else ""
    return show_line(f"{name} is {done}{'paused' if is_paused else 'active'}")


def paused_by(here: Here, name: str) -> str | None:
    """Who paused the pipeline; None where it is active."""
    from headrace.store.sql.reads.project import paused

    return next((row.by for row in paused(here.db) if row.pipeline == name and row.is_paused), None)


def next_slot_us(pipeline: PipelineDef, after_us: int) -> int | None:
    """The next slot of the pipeline's schedule; None without one."""
    from headrace.triggers.schedule import parse_schedule

    slots = [
        parse_schedule(trigger.expression, trigger.timezone).next_after(after_us)
        for trigger in pipeline.triggers
        if isinstance(trigger, Schedule)
    ]
    return min(slots, default=None)


def in_words(trigger: AnyTrigger) -> str:
    """
    >>> in_words(OnEvent("outcomes", where="diverted", count=20))
    '20 x outcomes.diverted'
    """
    match trigger:
        case Schedule():
            return trigger.expression if trigger.timezone == "UTC" else f"{trigger.expression} {trigger.timezone}"
        case Updated():
            return f"new {trigger.table}"
        case OnEvent():
            what = f"{trigger.topic}.{trigger.where}" if trigger.where else trigger.topic
            return what if trigger.count == 1 else f"{trigger.count} x {what}"
        case OnMonitor():
            return f"{trigger.monitor}.{trigger.which} x {trigger.consecutive}"
