"""One campaign: faults over load for a while, then quiet, then the comparison."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace.host.failpoints import POINTS
from headrace.testing.chaos.asked import compare_requests
from headrace.testing.chaos.attempts import compare_attempts
from headrace.testing.chaos.breach import LOST, STUCK, WRONG, Breach
from headrace.testing.chaos.ledger import Ledger, read_ledger
from headrace.testing.chaos.left import Left, reading
from headrace.testing.chaos.load import Load
from headrace.testing.chaos.published import blamed, compare_events, compare_slots, compare_stream, compare_tables
from headrace.testing.chaos.recovery import quantile, recoveries_s
from headrace.testing.chaos.stage import SLOT_S, Stage
from headrace.testing.chaos.striker import WEIGHTS, Striker, counted

TICK_S = 0.01
LOOK_S = 0.2
TELL_S = 5.0
OPEN_RUNS = 12  # with so many at work, clients only append
LONG = 100  # kills: so long a campaign must have met every kind of process, and most failpoints
REST_S, LONGEST_REST_S = (
    60.0,
    300.0,
)  # after the last fault something must change within so long, and all end within so long
CLIENT_ROOMS = {"trigger": ["client"], "append": [], "run": ["engine", "worker"]}

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Result:
    """What happened, and what should not have."""

    violations: tuple[Breach, ...]
    report: dict[str, Any]


class Campaign:
    """`kills` (an engine's among them) and `seconds`: it goes on until it has had enough of the one that is given.

    `tell` hears of progress.
    """

    def __init__(self, root: Path, *, seed: int, kills: int | None, seconds: float | None, tell: Tell) -> None:
        self._stage = Stage(root)
        self._seed, self._kills, self._seconds, self._tell = seed, kills, seconds, tell
        dice = random.Random(seed)
        self._striker = Striker(root, self._stage.witness, dice)
        self._load = Load(
            self._stage, dice,
            arm=lambda verb: self._striker.arm("client", CLIENT_ROOMS[verb]),
            is_enough=lambda: self._open_runs >= OPEN_RUNS,
        )  # fmt: skip
        self._open_runs = self._done = 0
        self._is_deployed = False
        self._pause: subprocess.Popen[bytes] | None = None
        self._began_s = time.monotonic()
        self._look_s = self._tell_s = 0.0

    def run(self) -> Result:
        """Play, rest, compare. Nobody is left alive behind it."""
        violations: list[Breach] = []
        try:
            self._begin()
            while not self._is_over():
                self._stage.tend(self._striker.arm_engine)
                self._striker.tend(self._stage.engine, self._load.pids)
                if self._striker.is_calm:
                    self._load.reap()
                else:
                    self._load.tend()
                self._look()
                time.sleep(TICK_S)
            played_s = self._age_s()
            violations += self._rest()
        finally:
            self._stage.end()
        ledger = read_ledger(self._stage.witness)
        with reading(self._stage.project) as left:
            found = self._compare(ledger, left)
            # What is stuck may come yet: it is lost only when all is at rest.
            violations += [one for one in found if not violations or one.kind != LOST]
            return Result(tuple(violations), self._report(violations, ledger, left, played_s))

    # -- playing -------------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Wait until the project is deployed: what is appended before is no event of a trigger that nobody knows yet."""
        while not self._is_deployed and not self._stage.is_hopeless:
            self._stage.tend(dict)
            self._look()
            time.sleep(TICK_S)
        self._tell(f"{self._age_s():4.0f} s: the project is deployed")

    def _is_over(self) -> bool:
        if self._stage.is_hopeless:
            return True
        if self._kills is not None:
            kills = self._striker.kills
            return kills.total() >= self._kills and kills["engine"] > 0
        return self._seconds is not None and self._age_s() >= self._seconds

    def _age_s(self) -> float:
        return time.monotonic() - self._began_s

    def _look(self) -> None:
        if time.monotonic() < self._look_s:
            return
        self._look_s = time.monotonic() + LOOK_S
        try:
            with reading(self._stage.project) as left:
                self._is_deployed = left.one("SELECT count(*) FROM codes") > 0
                self._open_runs = left.one("SELECT count(*) FROM runs WHERE ended_us IS NULL")
                done = left.one("SELECT count(*) FROM facts WHERE log = 'engine' AND kind = 'AttemptSucceeded'")
                if done > self._done:
                    self._done = done
                    self._striker.spare_no_longer()
                if time.monotonic() >= self._tell_s:
                    self._tell_s = time.monotonic() + TELL_S
                    self._tell(self._progress(left))
        except sqlite3.OperationalError:
            return  # not made yet, or just being recovered by somebody

    def _progress(self, left: Left) -> str:
        tasks = left.one("SELECT count(*) FROM items WHERE state = 'succeeded'")
        rows = left.one("SELECT coalesce(sum(rows_in), 0) FROM shards")
        kills, pauses = self._striker.kills.total(), self._striker.pauses.total()
        return (
            f"{self._age_s():4.0f} s: {kills} kills, {pauses} pauses, {tasks} tasks done, {rows} rows scored,"
            f" {self._open_runs} runs at work"
        )

    # -- resting -------------------------------------------------------------------------------------------------------

    def _rest(self) -> list[Breach]:
        """No more faults: everything has to end, the engine too."""
        self._tell(f"{self._age_s():4.0f} s: the faults are over")
        self._striker.rest()
        rest_s = self._age_s()
        left_over = self._wait()
        engine_log = str(self._stage.root / "engine.log")
        if left_over:
            return [
                Breach(STUCK, key, f"after {self._age_s() - rest_s:.0f} s without a fault", engine_log)
                for key in left_over
            ]
        wrong = self._stage.stop(grace_s=60)
        return [Breach(STUCK, "engine", wrong, engine_log)] if wrong else []

    def _wait(self) -> list[str]:
        """Until nothing is left to do. Returns what is left when nothing of it has changed for so long."""
        began_s = since_s = time.monotonic()
        found = self._left_over()
        while found and not self._stage.is_hopeless:
            time.sleep(0.1)
            before, found = found, self._left_over()
            now_s = time.monotonic()
            if found != before:
                since_s = now_s
            if now_s - since_s > REST_S or now_s - began_s > LONGEST_REST_S:
                break
        return found

    def _left_over(self) -> list[str]:
        self._stage.tend(dict)
        if self._pause is None or self._pause.poll() not in (None, 0):
            self._pause = self._stage.client(["pipelines", "pause", "tick"], self._stage.root / "pause.out", {})
        if not self._load.reap() or self._pause.poll() != 0:
            return ["the campaign's clients have not ended"]
        try:
            with reading(self._stage.project) as left:
                return left.unfinished()
        except sqlite3.OperationalError as error:
            return [f"the store cannot be read: {error}"]

    # -- comparing -----------------------------------------------------------------------------------------------------

    def _compare(self, ledger: Ledger, left: Left) -> list[Breach]:
        return [
            *compare_requests(ledger, left),
            *compare_attempts(ledger, left),
            *compare_tables(left),
            *compare_events(left),
            *compare_slots(left, self._stage.first_slot_s, SLOT_S),
            *compare_stream(ledger, left),
            *self._engines(ledger),
            *self._weakness(),
        ]

    def _weakness(self) -> list[Breach]:
        """A long campaign that has met too little shows nothing."""
        kills, points = self._striker.kills, self._striker.points
        if kills.total() < LONG:
            return []
        missed = [kind for kind in WEIGHTS if not kills[kind]]
        if missed or 2 * len(points) < len(POINTS):
            text = f"it killed no {missed}, and struck at {len(points)} of {len(POINTS)} failpoints"
            return [Breach(WRONG, "campaign", f"too weak: {text}")]
        return []

    def _engines(self, ledger: Ledger) -> list[Breach]:
        """An engine ends only where it was struck or asked to, and none says anything that it did not expect."""
        killed = {strike.pid for strike in ledger.strikes if strike.what == "kill"}
        log = str(self._stage.root / "engine.log")
        found = [
            Breach(WRONG, f"engine {entry.pid}", f"it ended with code {entry.code}, and nobody struck it", log)
            for entry in ledger.engines
            if entry.what == "ended" and entry.code and entry.pid not in killed
        ]
        if "Traceback" in self._stage.said():
            found.append(Breach(WRONG, "engine", "it printed a traceback", log))
        return found

    def _report(self, violations: list[Breach], ledger: Ledger, left: Left, played_s: float) -> dict[str, Any]:
        kinds = [violation.kind for violation in violations]
        recoveries = recoveries_s(ledger, left)
        return {
            "kills": self._striker.kills.total(),
            "pauses": self._striker.pauses.total(),
            "tasks": left.one("SELECT count(*) FROM items WHERE state = 'succeeded'"),
            "events": left.one("SELECT sum(next) FROM topic_parts WHERE topic IN ('rows', 'signals')"),
            **{kind: kinds.count(kind) for kind in ("lost", "doubled", "stuck", "wrong")},
            "recovery_p50_s": quantile(recoveries, 0.5),
            "recovery_p99_s": quantile(recoveries, 0.99),
            "recoveries": len(recoveries),
            "engines": sum(entry.what == "started" for entry in ledger.engines),
            "runs": left.one("SELECT count(*) FROM runs"),
            "requests": sum(entry.what == "acknowledged" for entry in ledger.clients),
            "again": left.one("SELECT coalesce(sum(attempt - 1), 0) FROM items"),
            "blamed": blamed(left),
            "kills_of": counted(self._striker.kills),
            "pauses_of": counted(self._striker.pauses),
            "failpoints": counted(self._striker.points),
            "seed": self._seed,
            "seconds": round(played_s, 1),
        }
