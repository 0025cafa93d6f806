"""`headrace logs`: what the tasks of a run have printed, from the log files of the workers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from headrace.cli.here import Here, open_here
from headrace.cli.names import known, run_named
from headrace.cli.output import notice, show_json, show_line
from headrace.cli.parser import PLAIN, Common, make_app
from headrace.cli.tasks import graph_of
from headrace.runs import facts as f

app = make_app("logs", "Show what the tasks of a run have printed.")

Ended = f.AttemptSucceeded | f.AttemptFailed | f.AttemptLost
_STATES = {f.AttemptSucceeded: "succeeded", f.AttemptFailed: "failed", f.AttemptLost: "lost"}
_POLL_S = 0.3
_CHUNK_BYTES = 1 << 20


@app.default
def logs(
    run: str,
    task: str | None = None,
    /,
    *,
    follow: Annotated[bool, Parameter(name=["--follow", "-f"])] = False,
    item: str | None = None,
    common: Common = PLAIN,
) -> None:
    """Show what the tasks of a run have printed, attempt by attempt; and the traceback of what failed.

    With --json each line is an object: {"task", "item", "attempt", "state", "line"}; what comes from a running attempt
    is {"worker", "state", "line"}, since a worker may hold several attempts.

    Parameters
    ----------
    run
        A run's id, a pipeline's name for its newest run, or the word last.
    task
        Only this task.
    follow
        Go on with what running tasks print, until the run ends.
    item
        Only this item of a map: 3, or 3.0 in nested maps.
    """
    from headrace.store.sql.reads import runs

    with open_here(common) as here:
        row = run_named(here, run)
        if task is not None:
            names = [node.name for node in graph_of(here, row).nodes] or [c.node for c in runs.cells(here.db, row.run)]
            task = known("task", task, names, cure=f"headrace runs show {row.run}")
        reader = _Reader(here, row.run, task, item, common)
        shown = reader.show_ended()
        while follow and (now := runs.run(here.db, row.run)) is not None and now.ended_us is None:
            reader.show_running()
            time.sleep(_POLL_S)
            shown += reader.show_ended()
        shown += reader.show_ended()
        if not shown and not follow:
            notice(f"nothing was printed yet by {task or 'the tasks'} of run {row.run}: headrace why {row.run}")


@dataclass
class _Shown:
    """The part [first, end) of a worker's file that was shown while its attempts ran."""

    first: int
    end: int


@dataclass
class _Reader:
    """Shows each attempt once. `live`: by file, what was shown of it before its attempts had ended."""

    here: Here
    run: str
    task: str | None
    item: str | None
    common: Common
    live: dict[str, _Shown] = field(default_factory=dict[str, _Shown])
    seen: set[tuple[str, str, int, int, int]] = field(default_factory=set[tuple[str, str, int, int, int]])

    def show_ended(self) -> int:
        """Show attempts that have ended since the last call. Returns how many had something to show."""
        from headrace.store.sql.reads import runs

        shown = 0
        for fact in runs.history(self.here.db, self.run, kinds=[kind.__name__ for kind in _STATES]):
            if not isinstance(fact, Ended):
                continue
            name = (fact.node, fact.path, fact.item, fact.attempt, fact.epoch)
            if name in self.seen or not self._is_wanted(fact.node, fact.path, fact.item):
                continue
            self.seen.add(name)
            shown += self._show(fact)
        return shown

    def show_running(self) -> None:
        """Show what the workers of running attempts have printed since the last call.

        Where an attempt began in its worker's file is known when it has ended; what it had printed before the first
        call is shown then.
        """
        for worker in self._busy_workers():
            path = self.here.settings.logs / f"{worker}.log"
            if not path.is_file():
                continue
            size = path.stat().st_size
            shown = self.live.setdefault(path.name, _Shown(size, size))
            for line in _lines(path, shown.end, size):
                if self.common.json:
                    show_json({"worker": worker, "state": "running", "line": line})
                else:
                    show_line(f"{worker} | {line}")
            shown.end = size

    def _busy_workers(self) -> list[str]:
        from headrace.store.sql.reads import runs

        items = [
            item
            for cell in runs.cells(self.here.db, self.run)
            if cell.running
            for item in runs.items(self.here.db, self.run, cell.node, states=("running",))
        ]
        wanted = [item for item in items if item.worker and self._is_wanted(item.node, item.path, item.item)]
        return sorted({(item.worker or "").partition("#")[0] for item in wanted})

    def _show(self, fact: Ended) -> bool:
        state, place = _STATES[type(fact)], _place(fact.path, fact.item)
        lines = self._text(fact.log)
        detail = (fact.detail or fact.error).splitlines() if isinstance(fact, f.AttemptFailed) else []
        if isinstance(fact, f.AttemptLost):
            detail = [fact.why]
        if not lines and not detail:
            return False
        if not self.common.json:
            which = "" if place == "0" else f"[{place}]"
            show_line(f"--- {fact.node}{which} attempt {fact.attempt} {state}", state)
        for line in (*lines, *detail):
            self._line(fact.node, place, fact.attempt, state, line)
        return True

    def _text(self, span: f.LogSpan | None) -> list[str]:
        if span is None:
            return []
        path = self.here.settings.logs / span.file
        if not path.is_file():
            return [f"(the log file {path} is gone)"]
        shown = self.live.get(span.file, _Shown(span.end, span.end))
        before = _lines(path, span.start, min(shown.first, span.end))
        after = _lines(path, max(shown.end, span.start), span.end)
        shown.end = max(shown.end, span.end)
        return [*before, *after]

    def _is_wanted(self, node: str, path: str, item: int) -> bool:
        return self.task in (None, node) and self.item in (None, _place(path, item))

    def _line(self, node: str, place: str, attempt: int, state: str, line: str) -> None:
        if self.common.json:
            show_json({"task": node, "item": place, "attempt": attempt, "state": state, "line": line})
        else:
            show_line(line)


def _place(path: str, item: int) -> str:
    return f"{path}.{item}" if path else str(item)


def _lines(path: Path, start: int, end: int) -> Iterator[str]:
    """The lines in bytes [start, end) of the file, a piece at a time."""
    rest = b""
    with path.open("rb") as file:
        file.seek(start)
        while start < end:
            piece = file.read(min(_CHUNK_BYTES, end - start))
            if not piece:
                break
            start += len(piece)
            *whole, rest = (rest + piece).split(b"\n")
            yield from (line.decode("utf-8", "replace") for line in whole)
    if rest:
        yield rest.decode("utf-8", "replace")
