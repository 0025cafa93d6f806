"""`headrace logs`: what the tasks of a run have printed, from the log files of the workers; and what streams have."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, NamedTuple

from cyclopts import Parameter

from headrace.cli.here import Here, open_here
from headrace.cli.names import known, run_named
from headrace.cli.output import notice, show_json, show_line
from headrace.cli.parser import PLAIN, Common, make_app
from headrace.cli.stream_logs import show_stream_log
from headrace.cli.tasks import dropped, graph_of
from headrace.cli.words import length
from headrace.executors.output import newest_log
from headrace.runs import facts as f
from headrace.runs.rows import RUN_LOGS, run_file

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

    Of a stream it is the end of the log of its process, which is that of other streams too.

    With --json each line is an object: {"task", "item", "attempt", "state", "line"}; of a stream {"process", "line"}.

    Parameters
    ----------
    run
        A run's id, a pipeline's name for its newest run, or the word last. Or a stream's name.
    task
        Only this task.
    follow
        Go on with what running tasks print, until the run ends, or with what the stream prints.
    item
        Only this item of a map: 3, or 3.0 in nested maps.
    """
    from headrace.store.sql.reads import runs

    with open_here(common) as here:
        if _is_stream(here, run):
            return show_stream_log(here, run, follow=follow, as_json=common.json)
        row = run_named(here, run)
        if task is not None:
            names = [node.name for node in graph_of(here, row).nodes] or [c.node for c in runs.cells(here.db, row.run)]
            task = known("task", task, names, cure=f"headrace runs show {row.run}")
        maps = {node.name for node in graph_of(here, row).nodes if node.scope}
        reader = _Reader(here, row.run, task, item, common, maps)
        shown = reader.show_ended() + reader.show_running()
        while follow and (now := runs.run(here.db, row.run)) is not None and now.ended_us is None:
            time.sleep(_POLL_S)
            shown += reader.show_ended() + reader.show_running()
        shown += reader.show_ended()
        if row.dropped_us is not None:
            notice(f"what the tasks of run {row.run} printed was {dropped(here, row)}")
        elif not shown and not follow:
            yet = " yet" if row.ended_us is None else ""
            notice(f"nothing was printed{yet} by {task or 'the tasks'} of run {row.run}: headrace why {row.run}")
        if follow and (ended := runs.run(here.db, row.run)) is not None and ended.ended_us is not None:
            notice(f"run {ended.run} {ended.state} in {length(ended.ended_us - ended.created_us)}")
    return None


def _is_stream(here: Here, name: str) -> bool:
    """Whether the name is a stream's, and no run answers to it."""
    from headrace.store.sql.reads import runs

    return name in here.project.streams and not runs.runs(here.db, pipeline=name, limit=1)


class _Running(NamedTuple):
    """An attempt that runs, and the file that it prints to."""

    run: str
    node: str
    path: str
    item: int
    attempt: int
    worker: str
    file: str


@dataclass
class _Reader:
    """Shows each line once. `live`: by file, the parts that were shown while their attempts ran, in order."""

    here: Here
    run: str
    task: str | None
    item: str | None
    common: Common
    maps: set[str]  # the tasks of which there are several items
    live: dict[str, list[tuple[int, int]]] = field(default_factory=dict[str, list[tuple[int, int]]])
    started: dict[str, tuple[_Running, int]] = field(default_factory=dict[str, tuple[_Running, int]])
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

    def show_running(self) -> int:
        """Show what running attempts have printed since the last call. Returns how many had something to show."""
        shown = 0
        for now in _begun(self.here):
            path = self.here.settings.logs / now.file
            if now.run != self.run or not self._is_wanted(now.node, now.path, now.item) or not path.is_file():
                continue
            size, start = path.stat().st_size, self._start_of(now)
            if size == start:
                continue
            parts = self.live.setdefault(now.file, [])
            if not parts or parts[-1][0] < self.started[now.file][1]:
                parts.append((start, start))
                self._head(now.node, _place(now.path, now.item), now.attempt, f"running in {now.worker}")
            for line in _lines(path, start, size):
                self._line(now.node, _place(now.path, now.item), now.attempt, "running", line)
            parts[-1] = (parts[-1][0], size)
            shown += 1
        return shown

    def _start_of(self, now: _Running) -> int:
        """From where the output of this attempt was not shown yet."""
        from headrace.store.sql.reads import output

        if now.file not in self.started or self.started[now.file][0] != now:
            # The part of the next attempt begins where that of the last one ended.
            self.started[now.file] = (now, output.end_in(self.here.db, now.file))
        parts = self.live.get(now.file, [])
        return max(self.started[now.file][1], parts[-1][1] if parts else 0)

    def _show(self, fact: Ended) -> bool:
        state, place = _STATES[type(fact)], _place(fact.path, fact.item)
        lines = self._text(fact.log)
        detail = (fact.detail or fact.error).splitlines() if isinstance(fact, f.AttemptFailed) else []
        if isinstance(fact, f.AttemptLost):
            detail = [fact.why]
        was_live = fact.log is not None and self._was_live(fact.log)
        if not lines and not detail and not was_live:
            return False
        self._head(fact.node, place, fact.attempt, state)
        for line in (*lines, *detail):
            self._line(fact.node, place, fact.attempt, state, line)
        return True

    def _was_live(self, span: f.LogSpan) -> bool:
        """Whether a part of it was shown while the attempt ran: then a last line says how that ended."""
        return any(first < span.end and end > span.start for first, end in self.live.get(span.file, []))

    def _text(self, span: f.LogSpan | None) -> list[str]:
        if span is None:
            return []
        path = self.here.settings.logs / span.file
        if not path.is_file():
            return [f"(the log file {path} is gone)"]
        lines: list[str] = []
        start = span.start
        for first, end in self.live.get(span.file, []):
            lines += _lines(path, start, min(first, span.end))
            start = max(start, end)
        return [*lines, *_lines(path, start, span.end)]

    def _is_wanted(self, node: str, path: str, item: int) -> bool:
        return self.task in (None, node) and self.item in (None, _place(path, item))

    def _head(self, node: str, place: str, attempt: int, state: str) -> None:
        if not self.common.json:
            which = f"[{place}]" if node in self.maps or place != "0" else ""
            show_line(f"--- {node}{which} attempt {attempt} {state}", state.partition(" ")[0])

    def _line(self, node: str, place: str, attempt: int, state: str, line: str) -> None:
        if self.common.json:
            show_json({"task": node, "item": place, "attempt": attempt, "state": state, "line": line})
        else:
            show_line(line)


def _place(path: str, item: int) -> str:
    return f"{path}.{item}" if path else str(item)


def _begun(here: Here) -> list[_Running]:
    """Of each worker the attempt that it is at: of those that it was given, the one that it was given first."""
    from headrace.store.sql.reads import output

    first: dict[str, tuple[int, _Running]] = {}
    for run, node, path, item, attempt, given, log in output.begun(here.db):
        worker, _, serial = given.partition("#")
        name = f"{run_file(log) if log.startswith(RUN_LOGS) else worker}.log"
        file = newest_log(here.settings.logs / name).name
        found = (int(serial or 0), _Running(run, node, path, item, attempt, worker, file))
        first[file] = min(first.get(file, found), found)
    return [running for _, running in first.values()]


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
