"""A serving engine: its loop with everything around it: deploys, stream processes, the watch over files and locks."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from headrace.base.facts import Fact
from headrace.data.partitions import resized
from headrace.definitions.project import Project
from headrace.engine.listener import Listener
from headrace.engine.loader import LoadedCode
from headrace.engine.loading import Loaded, Loading
from headrace.engine.loop import POLL_S, Engine
from headrace.engine.supervisor import Death, StreamSupervisor, spread
from headrace.errors import HeadraceError, StoreError, SupersededError
from headrace.host.rights import take_right
from headrace.host.writer import Writer
from headrace.ports import Request
from headrace.runs.closing import closing_facts
from headrace.runs.events import Deployed, Event
from headrace.runs.refusal import Refusal
from headrace.runs.rows import RUN_LOGS, OpenRun, run_file
from headrace.streams.facts import ShardHeld
from headrace.streams.owner import Hand, shard_log

HOLDS_TOO_LONG_S = 2.0
WATCH_S = 0.5
CHANGING_S = 0.02  # how often it is looked at whether stream processes have left
LOOK_AFTER_RUNS_US = 2_000_000
LOOK_AFTER_STORE_US = 1_000_000
DEAD = "the process that ran it died"

Notice = Callable[[str], None]


class SharedStore(Protocol):
    """What a service looks after in the store, which others write too."""

    def open_runs(self, prefix: str) -> list[OpenRun]:
        """Runs that have not ended, in logs whose name begins so."""
        ...

    def holder(self) -> tuple[int, float] | None:
        """Pid of the process that holds the store to write, and for how many seconds."""
        ...

    def refuse_elsewhere(self) -> None:
        """Raises StoreError where the store at its path is not the one that is open."""
        ...

    def partitions(self) -> dict[str, int]:
        """Topic → how many partitions it was declared with when its first rows came."""
        ...


class ServiceListener(Listener):
    """What an engine that serves tells: people, the stream processes, and the loading of code."""

    def __init__(
        self, on_facts: Callable[[Sequence[Fact]], None], notice: Notice, supervisor: StreamSupervisor, loading: Loading
    ) -> None:
        self._on_facts, self._notice, self._supervisor, self._loading = on_facts, notice, supervisor, loading

    def heard(self, facts: Sequence[Fact]) -> None:
        self._on_facts(facts)

    def woken(self) -> None:
        """Stream processes may have rows to read."""
        self._supervisor.wake()

    def refused(self, refusal: Refusal) -> None:
        self._notice(str(refusal))

    def asked(self, request: Request) -> list[Event]:
        """A deploy is answered when the project has been loaded."""
        if request.verb != "deploy":
            return super().asked(request)
        self._loading.aside(request.id)
        return []

    def troubled(self, error: Exception, then: str) -> None:
        self._notice(f"{error}\n{then}")


class Service:
    """Runs one engine with its stream processes until told to stop. `notice` gets lines for people.

    `lock_of` is the file of the right to a shard's log, `hand_of` what its last owner had in hand when it died.
    """

    def __init__(
        self,
        engine: Engine,
        shared: SharedStore,
        supervisor: StreamSupervisor,
        loading: Loading,
        *,
        code_folder: Path,
        locks: Path,
        lock_of: Callable[[str], Path],
        hand_of: Callable[[str], Hand | None],
        stream_processes: int,
        notice: Notice,
    ) -> None:
        self.engine, self.shared, self.supervisor, self.loading = engine, shared, supervisor, loading
        self._code_folder, self._locks, self._lock_of = code_folder, locks, lock_of
        self._hand_of = hand_of
        self._stream_processes, self._notice = stream_processes, notice
        self._is_over = threading.Event()
        self._looked_us = self._found_us = 0  # after runs of others, after the store
        self._serving = ""
        self._was_refused = False  # what was loaded last could not be deployed
        self._undeployed: Loaded | None = None  # the store has refused it
        self._said_at: dict[str, tuple[int, str]] = {}  # log of a shard → its head after what was said, and what

    def run(self, should_stop: Callable[[], bool], *, watched: Path | None = None) -> None:
        """Start, deploy what is there, serve. With `watched`, load again whenever a file in it changes.

        Raises StoreError where the store was deleted or moved.
        """
        threads = [threading.Thread(target=self._watch_lock, name="headrace-lock-watch", daemon=True)]
        if watched is not None:
            follow = self.loading.follow_files
            threads.append(threading.Thread(target=follow, args=(watched, self._is_over), daemon=True))
        for thread in threads:  # before the first load, so that nothing saved meanwhile is missed
            thread.start()
        try:
            self._begin()
            while not should_stop():
                self._tend()  # first: a deploy that failed comes before the requests that need it
                self.engine.turn(at_most_s=CHANGING_S if self.supervisor.is_changing else POLL_S)
        finally:
            self._is_over.set()
            self.supervisor.stop()
            self.engine.workers.close()

    def _begin(self) -> None:
        self.engine.start()
        known = self.engine.machine.state.code
        if known and (self._code_folder / known).exists() and not self.loading.has_changed(known):
            # What was deployed goes on at once; what else may have changed (settings, say) is looked at beside it.
            self._serve(known)
            self._notice(f"serves {known}, deployed before: {_in_words(self.engine.machine.state.project)}")
            self.loading.aside()
            return
        if known:  # neither a row nor a request is given to code that is not the user's any more
            self._notice(f"the files have changed since {known} was deployed: they are loaded first")
        self._take(self.loading.now())

    # -- deploying -----------------------------------------------------------------------------------------------

    def _take(self, loaded: Loaded) -> None:
        """Deploy what was loaded, or say what is wrong and keep the last good version."""
        code = loaded.result
        if isinstance(code, HeadraceError):
            self._refuse(loaded.request, Refusal(code.code, str(code)))
            return
        if (wrong := self._wrong(code)) is not None:
            self._refuse(loaded.request, wrong)
            return
        is_new = code.code != self.engine.machine.state.code
        self.engine.give([Deployed(code.code, code.project, code.body, loaded.request)])
        if not self.engine.is_working or self.engine.machine.state.code != code.code:
            if loaded.request is None:  # a request is in its row, and is heard again
                self._undeployed = loaded
            return
        was_refused, self._was_refused = self._was_refused, False
        if is_new or not self._serving:
            self._notice(f"deployed {code.code}: {_in_words(code.project)}")
            self._serve(code.code)
        elif was_refused:
            self._notice(f"clean again: the files are version {code.code}, which is in force")

    def _wrong(self, code: LoadedCode) -> Refusal | None:
        """Why it cannot be deployed."""
        if code.problems:
            return Refusal("HR1000", "\n".join(f"{p.where}: {p.message}\n    {p.cure}" for p in code.problems))
        for name, found in self.shared.partitions().items():
            topic = code.project.topics.get(name)
            if topic is not None and topic.partitions != found:
                error = resized(topic, found)
                return Refusal(error.code, f"{error.code} {error}")
        return None

    def _refuse(self, request: int | None, refusal: Refusal) -> None:
        self._was_refused = True
        in_force = self.engine.machine.state.code
        kept = f"version {in_force} stays in force" if in_force else "nothing is deployed yet"
        self._notice(f"{refusal.message}\nnot deployed; {kept}")
        if in_force and not self._serving:
            self._serve(in_force)
        if request is not None:
            self.engine.give([refusal.settles(request)])

    def _serve(self, code: str) -> None:
        self._serving = code
        groups = spread(self.engine.machine.state.project, self._stream_processes)
        self.supervisor.deploy(code, self._code_folder / code, groups)

    # -- looking after others ------------------------------------------------------------------------------------

    def _tend(self) -> None:
        now_us = self.engine.clock.monotonic_us()
        if now_us - self._found_us >= LOOK_AFTER_STORE_US:
            self._found_us = now_us
            self.shared.refuse_elsewhere()
        undeployed = self._undeployed
        if undeployed is not None and self.engine.is_working:
            self._undeployed = None
            self._take(undeployed)
        while self.engine.is_working and (loaded := self.loading.next_done()) is not None:
            self._take(loaded)
        for death in self.supervisor.tend():
            self._notice(death.words)
            try:
                self._say_at_shards(death)
            except HeadraceError as error:  # it dies again, and then it is said again
                self._notice(str(error))
        if now_us - self._looked_us >= LOOK_AFTER_RUNS_US:
            self._looked_us = now_us
            try:
                self._close_dead_runs()
            except (StoreError, SupersededError) as error:  # a full disk, say: they are still there in two seconds
                self._notice(str(error))

    def _say_at_shards(self, death: Death) -> None:
        """Why they stand still, in the logs of the shards themselves: their own process does not live to say it."""
        hands = {shard: self._hand_of(shard_log(*shard)) for shard in death.shards}
        in_hand = {shard: hand for shard, hand in hands.items() if hand is not None}
        for stream, number in death.shards:
            log, why = shard_log(stream, number), death.why((stream, number), in_hand)
            right = take_right(self._lock_of(log))
            if right is None:
                continue
            with right:
                writer = Writer(self.engine.store, log, self.engine.owner)
                writer.look()
                if self._said_at.get(log) == (writer.state.head, why):
                    continue  # nothing has happened there since
                now_us = self.engine.clock.now_us()
                writer.take(now_us, (ShardHeld(stream, number, why, now_us),))
                self._said_at[log] = (writer.state.head, why)

    def _close_dead_runs(self) -> None:
        """A run in another process whose lock is free has died with it: its log is taken over and closed."""
        for run in self.shared.open_runs(RUN_LOGS):
            right = take_right(self._locks / f"{run_file(run.log)}.lock")
            if right is None:
                continue
            with right:
                if close_dead(self.engine, run):
                    self._notice(f"run {run.run} of {run.pipeline} is lost: {DEAD}")
                right.path.unlink(missing_ok=True)

    def _watch_lock(self) -> None:
        """A child that holds the store too long keeps everyone waiting: tell it to leave, then end it. Name anyone else."""
        told = named = 0
        while not self._is_over.wait(WATCH_S):
            try:
                held = self.shared.holder()
            except (OSError, StoreError):  # the lock cannot be looked at: whoever writes is told why
                continue
            if held is None or held[1] < HOLDS_TOO_LONG_S or held[0] == os.getpid():
                continue
            pid, seconds = held
            if self.supervisor.is_child(pid):
                self.supervisor.let_go(pid, at_once=told == pid)
                if told != pid:
                    self._notice(f"stream process {pid} holds the store for {seconds:.0f} s: it is ended")
                told = pid
            elif named != pid:
                named = pid
                self._notice(f"the store is held by process {pid} for {seconds:.0f} s; headrace doctor says more")


def close_dead(engine: Engine, run: OpenRun) -> bool:
    """End a run whose process has died, in that one's log. False where it had ended before.

    Raises StoreError where nothing was written, SupersededError where its process lives after all.
    """
    writer = Writer(engine.store, run.log, engine.owner)
    writer.look()
    left = engine.store.open_run(run.run)
    if left is not None:
        now_us = engine.clock.now_us()
        writer.take(now_us, closing_facts(left, "lost", DEAD, now_us, by="process"))
    return left is not None


def _in_words(project: Project) -> str:
    counts = [
        (len(project.pipelines), "pipeline"),
        (len(project.streams), "stream"),
        (len(project.monitors), "monitor"),
    ]
    return ", ".join(f"{n} {word}{'s' if n != 1 else ''}" for n, word in counts if n) or "nothing yet"
