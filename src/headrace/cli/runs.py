"""`headrace runs`: what ran and runs, stopping a run, and running a failed one again."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Literal

from headrace.cli.client import ask_and_wait
from headrace.cli.here import Here, now_us, open_here
from headrace.cli.names import known, run_named
from headrace.cli.output import notice, show_fields, show_json, show_line, show_table
from headrace.cli.parser import PAGE, PLAIN, Common, Limit, Wait, make_app
from headrace.cli.queued import as_told
from headrace.cli.tasks import dropped, graph_of, task_rows, unfinished_items
from headrace.cli.words import count, length, local, span
from headrace.errors import RefusedError
from headrace.runs.run_reasons import QUEUED

if TYPE_CHECKING:
    from headrace.runs.rows import RunRow

app = make_app("runs", "Runs: what ran and runs, stopping a run, and running a failed one again.")

State = Literal["waiting", "queued", "running", "cancelling", "succeeded", "failed", "cancelled", "lost"]


@app.command
def ls(
    pipeline: str | None = None,
    /,
    *,
    state: State | None = None,
    before: str | None = None,
    limit: Limit = 20,
    common: Common = PLAIN,
) -> None:
    """Runs, newest first.

    Parameters
    ----------
    pipeline
        Only runs of this pipeline, or of the backfill of this id.
    state
        Only runs in this state.
    before
        The id of the last run of the page before.
    limit
        How many, at most 1000; 20 without it.
    """
    with open_here(common) as here:
        rows = _page(here, pipeline, state, before, limit)
        has_more = len(rows) == limit and bool(_page(here, pipeline, state, rows[-1].run, 1))
    if common.json:
        return show_json(rows)
    now = now_us()
    show_table(
        ("RUN", "PIPELINE", "STATE", "CAUSE", "CREATED", "#TOOK"),
        [(r.run, r.pipeline, r.state, r.cause, local(r.created_us), _took(r, now)) for r in rows],
        empty="no runs: headrace trigger PIPELINE, or headrace run PIPELINE",
    )
    if has_more:
        notice(f"the newest {count(len(rows), 'run')}, and there are more: --limit N, or --before {rows[-1].run}")
    return None


def _page(here: Here, of: str | None, state: str | None, before: str | None, limit: int) -> list[RunRow]:
    """Runs of a pipeline, of a backfill or of everything, newest first. Raises NotFoundError for another name."""
    from headrace.store.sql.reads import runs

    states = None if state is None else ("running" if state == QUEUED else state,)
    size = PAGE if state in (QUEUED, "running") else limit  # their rows say the same
    rows: list[RunRow] = []
    is_all, after = False, before
    while len(rows) < limit and not is_all:
        found = runs.runs(here.db, pipeline=of, states=states, before=after, limit=size)
        rows += [row for row in as_told(here, found) if state in (None, row.state)]
        is_all, after = len(found) < size, found[-1].run if found else None
    if rows or of is None:
        return rows[:limit]
    from headrace.cli.windows import backfill_runs

    if not (found := as_told(here, backfill_runs(here, of))):
        known("pipeline", of, {*here.project.pipelines, *runs.latest(here.db)}, here=here)
    newest = sorted(found, key=lambda row: row.run, reverse=True)
    return [row for row in newest if state in (None, row.state) and (before is None or row.run < before)][:limit]


@app.command
def show(run: str, /, *, common: Common = PLAIN) -> None:
    """One run: its tasks, what it read, how it ended.

    Parameters
    ----------
    run
        A run's id, a pipeline's name for its newest run, or the word last.
    """
    from headrace.cli.why import of_run
    from headrace.runs.reasons import evidence_in_words
    from headrace.store.sql.reads import runs

    with open_here(common) as here:
        (row,) = as_told(here, [run_named(here, run)])
        cells = runs.cells(here.db, row.run)
        pins = runs.pins(here.db, row.run)
        codecs = runs.codecs(here.db, row.run)
        rows = task_rows(graph_of(here, row), cells, runs.scopes(here.db, row.run), is_over=row.ended_us is not None)
        tasks = [x | {"codec": codecs.get(x["task"])} for x in rows]
        items = unfinished_items(here, row.run, cells)
        waits = of_run(here, row.run) if row.state in ("waiting", QUEUED) else []
    if common.json:
        return show_json({"run": row, "tasks": tasks, "unfinished": items, "pins": pins, "waits": waits})
    show_fields(
        [
            ("run", row.run),
            ("pipeline", row.pipeline),
            ("state", f"{row.state}: {row.end_why}" if row.end_why else row.state),
            ("why", row.cancelled_why or "; ".join(dict.fromkeys(reason.why for reason in waits))),
            ("cancelled by", row.cancelled_by),
            ("cause", f"{row.cause}: {evidence_in_words(row.why)}" if row.why else row.cause),
            ("window", span(row.window)),
            ("rows", ", ".join(f"{topic}/{part} [{first:,}, {end:,})" for topic, part, first, end in row.events)),
            ("params", " ".join(f"{name}={value}" for name, value in row.params.items())),
            ("code", row.code),
            ("generation", row.generation if row.generation > 1 else None),
            ("created", local(row.created_us)),
            ("took", _took(row, now_us())),
            ("incomplete", ", ".join(row.missing)),
            ("details", dropped(here, row)),
        ]
    )
    print()
    counts = ("running", "succeeded", "failed", "skipped")
    show_table(
        ("TASK", "STATE", *(f"#{name.upper()}" for name in counts), "WHY"),
        [(x["task"], x["state"], *(x[name] or "" for name in counts), x["why"]) for x in tasks],
        empty="no task has begun",
    )
    if pickled := [str(x["task"]) for x in tasks if x["codec"] == "pickle"]:
        show_line(f"\nkept as pickle, which other code may not read: {', '.join(pickled)}", "warn")
    for item in items:
        if item.error:
            show_line(f"\n{item.node}: attempt {item.attempt}: {item.error}", "failed")
            show_line((item.detail or "").rstrip())
    if row.state in ("failed", "lost", "waiting", QUEUED):
        show_line(f"\nnext: headrace why {row.run}")
    return None


@app.command
def cancel(run: str, /, *, no_wait: bool = False, timeout: Wait = 10.0, common: Common = PLAIN) -> None:
    """Stop a run: no new attempt starts, running ones are told to stop.

    Parameters
    ----------
    run
        A run's id, a pipeline's name for its newest run, or the word last.
    no_wait
        Return as soon as the request is stored.
    """
    with open_here(common, writes=True) as here:
        row = run_named(here, run)
        asked, answer = ask_and_wait(here, "cancel", {"run": row.run}, no_wait=no_wait, timeout_s=timeout)
    if common.json:
        return show_json({"request": asked.id, "run": row.run, "answer": answer})
    return show_line(f"run {row.run} {'is asked to stop' if answer is None else 'is being cancelled'}")


@app.command
def retry(
    run: str, /, *, current_code: bool = False, no_wait: bool = False, timeout: Wait = 10.0, common: Common = PLAIN
) -> None:
    """Run what failed or was skipped again; what succeeded stays.

    Parameters
    ----------
    run
        A run's id, a pipeline's name for its newest run, the word last, or a backfill's id: all of it that failed.
    current_code
        With the code as it is deployed now, instead of the code that the run began with.
    no_wait
        Return as soon as the request is stored.
    """
    from headrace.cli.why import ENDED_BADLY
    from headrace.cli.windows import backfill_runs

    with open_here(common, writes=True) as here:
        rows = backfill_runs(here, run)
        names = [row.run for row in rows if row.state in ENDED_BADLY]
        if rows and not names:
            raise RefusedError(f"no run of backfill {run} failed: there is nothing to retry", code="HR3012")
        done: list[tuple[str, int, Any]] = []
        for name in names or [run_named(here, run).run]:
            body = {"run": name, "code": "current" if current_code else None}
            asked, answer = ask_and_wait(here, "retry", body, no_wait=no_wait, timeout_s=timeout)
            done.append((name, asked.id, answer))
    if common.json:
        documents = [{"request": request, "run": name, "answer": answer} for name, request, answer in done]
        return show_json(documents if rows else documents[0])
    for name, _, answer in done:
        show_line(f"run {name} {'is asked to go again' if answer is None else 'goes again'}")
    return show_line(f"next: headrace {f'why {shlex.quote(run)}' if rows else f'runs show {done[0][0]}'}")


def _took(row: RunRow, now_us: int) -> str:
    """How long it took, or has taken so far; nothing while it has not begun to count."""
    return "" if row.state in ("waiting", QUEUED) else length((row.ended_us or now_us) - row.created_us)
