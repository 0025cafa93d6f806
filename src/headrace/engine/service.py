"""A serving engine: its loop with everything around it: deploys, stream processes, the watch over files and locks."""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from headrace.definitions.project import Project
from headrace.engine.loader import LoadedCode
from headrace.engine.loop import Engine
from headrace.engine.recovery import closing_facts
from headrace.engine.supervisor import StreamSupervisor, shard_arguments
from headrace.errors import HeadraceError, ProjectError, StoreError
from headrace.host.rights import take_right
from headrace.ports import Append, Request
from headrace.runs import facts as f
from headrace.runs.events import Deployed, Event
from headrace.runs.rows import ActiveRun

HOLDS_TOO_LONG_S = 2.0
LOOK_AFTER_RUNS_US = 2_000_000

Notice = Callable[[str], None]


class OpenRuns(Protocol):
    """Runs in other processes: `open_runs` are those with a log of their own that have not ended."""

    def open_runs(self, prefix: str) -> list[ActiveRun]: ...
    def holder(self) -> tuple[int, float] | None: ...
    def partitions(self) -> dict[str, int]:
        """Topic → one more than the last partition that holds rows."""
        ...


@dataclass(frozen=True, slots=True)
class _Loaded:
    code: LoadedCode | None
    error: HeadraceError | None
    request: int | None


class Service:
    """Runs one engine with its stream processes until told to stop.

    `load` loads the project in a process of its own; `notice` gets lines for people; `ring` wakes the loop from another
    thread.
    """

    def __init__(
        self,
        engine: Engine,
        others: OpenRuns,
        supervisor: StreamSupervisor,
        *,
        load: Callable[[], LoadedCode],
        code_folder: Path,
        locks: Path,
        stream_processes: int,
        notice: Notice,
        ring: Callable[[], object],
    ) -> None:
        self.engine, self.others, self.supervisor = engine, others, supervisor
        self._load, self._code_folder, self._locks = load, code_folder, locks
        self._stream_processes, self._notice, self._ring = stream_processes, notice, ring
        self._loaded: queue.SimpleQueue[_Loaded] = queue.SimpleQueue()
        self._is_over = threading.Event()
        self._looked_us = 0
        self._serving = ""

    def run(self, should_stop: Callable[[], bool], *, watched: Path | None = None) -> None:
        """Start, deploy what is there, serve. With `watched`, load again whenever a file in it changes."""
        threads = [threading.Thread(target=self._watch_lock, name="headrace-lock-watch", daemon=True)]
        if watched is not None:
            threads.append(threading.Thread(target=self._watch_files, args=(watched,), daemon=True))
        for thread in threads:  # before the first load, so that nothing saved meanwhile is missed
            thread.start()
        self.engine.start()
        known = self.engine.machine.code
        if known and (self._code_folder / known).exists():
            # What was deployed goes on at once; whether the files have changed since is looked at beside it.
            self._serve(known)
            self._notice(f"serves {known}, deployed before: {_in_words(self.engine.machine.project)}")
            threading.Thread(target=self._load_aside, args=(None,), daemon=True).start()
        else:
            self._take(self._loading(None))
        try:
            while not should_stop():
                self.engine.turn()
                self._tend()
        finally:
            self._is_over.set()
            self.supervisor.stop()
            self.engine.workers.close()

    def handle(self, request: Request) -> list[Event]:
        """A request that the machine does not know. `deploy` is answered when the project has been loaded."""
        if request.verb != "deploy":
            raise ProjectError(f"this engine does not know the request {request.verb!r}", code="HR3002")
        threading.Thread(target=self._load_aside, args=(request.id,), daemon=True).start()
        return []

    def woken(self) -> None:
        """Somebody has written: stream processes may have rows to read."""
        self.supervisor.wake()

    # -- deploying -----------------------------------------------------------------------------------------------

    def _loading(self, request: int | None) -> _Loaded:
        try:
            return _Loaded(self._load(), None, request)
        except HeadraceError as error:
            return _Loaded(None, error, request)
        except Exception as error:  # in a thread nobody else would hear of it
            return _Loaded(None, ProjectError(f"loading raised {type(error).__name__}: {error}"), request)

    def _load_aside(self, request: int | None) -> None:
        self._loaded.put(self._loading(request))
        self._ring()

    def _take(self, loaded: _Loaded) -> None:
        """Deploy what was loaded, or say what is wrong and keep the last good version."""
        machine = self.engine.machine
        code = loaded.code
        if code is None or code.problems:
            problems = code.problems if code else ()
            lines = [f"{p.where}: {p.message}\n    {p.cure}" for p in problems] or [str(loaded.error)]
            kept = f"version {machine.code} stays in force" if machine.code else "nothing is deployed yet"
            self._notice("\n".join([*lines, f"not deployed; {kept}"]))
            if loaded.request is not None:
                machine.answer_later(loaded.request, "refused", {"code": "HR1000", "message": "\n".join(lines)})
            if machine.code and not self._serving:
                self._serve(machine.code)
            return
        if lost := self._unread_partitions(code):
            self._notice(f"{lost}\nnot deployed; version {machine.code or 'none'} stays in force")
            if loaded.request is not None:
                machine.answer_later(loaded.request, "refused", {"code": "HR1247", "message": lost, "cure": None})
            return
        is_new = code.code != machine.code
        self.engine.give([Deployed(code.code, code.project, code.body, loaded.request)])
        if is_new or not self._serving:
            self._notice(f"deployed {code.code}: {_in_words(code.project)}")
            self._serve(code.code)

    def _unread_partitions(self, code: LoadedCode) -> str:
        """Partitions are fixed: with fewer of them than hold rows, rows would never be read. Says so, or ""."""
        for topic, stored in self.others.partitions().items():
            declared = code.project.topics.get(topic)
            if declared is not None and declared.partitions < stored:
                return (
                    f"HR1247 the topic {topic} has rows in {stored} partitions and declares {declared.partitions}\n"
                    f"    partitions are fixed: write  partitions={stored},  or use a new topic"
                )
        return ""

    def _serve(self, code: str) -> None:
        self._serving = code
        groups = shard_arguments(self.engine.machine.project, self._stream_processes)
        self.supervisor.deploy(code, self._code_folder / code, groups)

    def _watch_files(self, watched: Path) -> None:
        from watchfiles import watch

        for _ in watch(watched, stop_event=self._is_over, debounce=100, step=20, raise_interrupt=False):
            if self._is_over.is_set():
                return
            self._load_aside(None)

    # -- looking after others ------------------------------------------------------------------------------------

    def _tend(self) -> None:
        while not self._loaded.empty():
            self._take(self._loaded.get())
        for news in self.supervisor.tend():
            self._notice(news)
        now_us = self.engine.clock.monotonic_us()
        if now_us - self._looked_us >= LOOK_AFTER_RUNS_US:
            self._looked_us = now_us
            try:
                self._close_dead_runs()
            except StoreError as error:  # a full disk, say: they are still there in two seconds
                self._notice(str(error))

    def _close_dead_runs(self) -> None:
        """A run in another process whose lock is free has died with it: its log is taken over and closed."""
        for rows in self.others.open_runs("run:"):
            right = take_right(self._locks / f"{rows.run.log.replace(':', '-')}.lock")
            if right is None:
                continue
            with right:
                self._close_dead(rows)
                right.path.unlink(missing_ok=True)

    def _close_dead(self, rows: ActiveRun) -> None:
        log, now_us = rows.run.log, self.engine.clock.now_us()
        why = "the process that ran it died"
        taken = f.LogTaken(2, self.engine.options.name, now_us)
        facts = (taken, *closing_facts(rows, "lost", why, now_us))
        self.engine.store.commit([Append(log, self.engine.store.head(log), facts)])
        self._notice(f"run {rows.run.run} of {rows.run.pipeline} is lost: {why}")

    def _watch_lock(self) -> None:
        """A stopped child that holds the store keeps everyone waiting: end it. Name anyone else."""
        named = 0
        while not self._is_over.wait(0.5):
            held = self.others.holder()
            if held is None or held[1] < HOLDS_TOO_LONG_S or held[0] == os.getpid():
                continue
            pid, seconds = held
            if any(p.popen.pid == pid for p in tuple(self.supervisor.processes.values())):
                self._notice(f"stream process {pid} held the store for {seconds:.0f} s: it is ended")
                os.kill(pid, signal.SIGKILL)
            elif named != pid:
                named = pid
                self._notice(f"the store is held by process {pid} for {seconds:.0f} s; headrace doctor says more")


def _in_words(project: Project) -> str:
    counts = [
        (len(project.pipelines), "pipeline"),
        (len(project.streams), "stream"),
        (len(project.monitors), "monitor"),
    ]
    return ", ".join(f"{n} {word}{'s' if n != 1 else ''}" for n, word in counts if n) or "nothing yet"
