"""Everyone who writes without being an engine: clients with requests, topics that fill, event triggers, runs elsewhere."""

from __future__ import annotations

from typing import Any

from headrace.base.ids import make_id
from headrace.data.facts import Part, TablePublished, TopicCompleted
from headrace.errors import StoreError
from headrace.ports import Append
from headrace.runs import facts as f
from headrace.streams.facts import TriggerFired, TriggerProgressed
from headrace.testing.simulator.draw import Draw
from headrace.testing.simulator.engines import Cluster
from headrace.testing.simulator.faults import FaultyStore
from headrace.testing.simulator.world import SECOND, Crash, World

import msgspec  # isort: skip


class People:
    """Plans at the start, for the whole phase with faults, who asks for what and when."""

    def __init__(self, world: World, drawn: Draw, cluster: Cluster) -> None:
        self.world, self.drawn, self.cluster = world, drawn, cluster
        self.store = FaultyStore(cluster.store, world, drawn)
        self._keys = 0
        self._fired = 0

    def plan(self) -> None:
        span_us = self.drawn.length_s * SECOND
        for _ in range(self.drawn.asks):
            self.world.after(self.world.within(0, span_us), self._ask)
        for feature, act, times in (
            ("cancels", self._cancel, 3),
            ("retries", self._retry, 3),
            ("pauses", self._pause, 4),
            ("deploys", self._redeploy, 2),
            ("events", self._fire, 5),
            ("waits", self._complete, 6),
            ("models", self._ask_for_training, 3),
            ("models", self._complete, 12),
            ("models", self._move_alias, 2),
            ("in process", self._run_elsewhere, 3),
        ):
            if self.drawn.has(feature):
                for _ in range(self.world.rng.randint(1, times)):
                    self.world.after(self.world.within(0, span_us), act)

    # -- requests ------------------------------------------------------------------------------------------------

    def _send(self, verb: str, body: dict[str, Any], key: str | None = None) -> None:
        """A client that gets no answer asks again with the same key."""
        if key is None:
            self._keys += 1
            key = f"k{self._keys}"
        if self.world.strikes("client cannot reach the store", self.drawn.rate("store fails before")):
            self.world.after(SECOND, self._send, verb, body, key)
            return
        number = self.cluster.store.ask(verb, body, key=key, at_us=self.world.now_us())
        self.world.say(f"request {number}: {verb} {body} key {key}")
        if self.world.strikes("client asks twice", self.drawn.rate("store fails after")):
            self.world.after(self.world.within(0, 3 * SECOND), self._send, verb, body, key)
        self.cluster.wake()

    def _ask(self) -> None:
        body: dict[str, Any] = {"pipeline": self.world.rng.choice(("plain", "plain", "plain", "nothing", "follow"))}
        if body["pipeline"] == "plain" and self.world.chance(0.3):
            body["params"] = {"items": list(range(self.world.rng.randint(0, 4)))}
        if self.world.chance(0.1):
            body["params"] = {"unknown": 1}
        if self.world.chance(0.15):
            body["key"] = f"mine-{self.world.rng.randint(1, 2)}"
        self._send("trigger", body)

    def _cancel(self) -> None:
        if (run := self._some_run("ended_us IS NULL")) is not None:
            self.world.saw["a running run was cancelled"] += 1
            self._send("cancel", {"run": run, "by": "somebody"})
        else:
            self.world.after(3 * SECOND, self._cancel_any)

    def _cancel_any(self) -> None:
        if (run := self._some_run("1")) is not None:
            self._send("cancel", {"run": run})

    def _retry(self) -> None:
        run = self._some_run("ended_us IS NOT NULL AND state <> 'succeeded'") or self._some_run("1")
        if run is not None:
            self.world.saw["a retry was asked for"] += 1
            body: dict[str, Any] = {"run": run, "by": "somebody"}
            if self.world.chance(0.3):
                body["code"] = self.world.rng.choice(
                    [code for (code,) in self._read("SELECT code FROM codes ORDER BY code")]
                )
            self._send("retry", body)
            if self.world.chance(0.3):
                self._send("retry", body)

    def _pause(self) -> None:
        pipeline = self.world.rng.choice(("plain", "timed", "react", "follow"))
        self._send("pause", {"pipeline": pipeline, "paused": self.world.chance(0.5), "by": "somebody"})

    def _redeploy(self) -> None:
        self._send("deploy", {"code": self.world.rng.choice(("c1", "c2"))})

    def _ask_for_training(self) -> None:
        self._send("trigger", {"pipeline": "retrain", "by": "somebody"})

    def _move_alias(self) -> None:
        version = self.world.rng.choice((None, 1, 2, 9))
        self._send("alias", {"model": "model", "alias": "champion", "version": version, "by": "somebody"})

    def _read(self, sql: str) -> list[tuple[Any, ...]]:
        return self.cluster.store.database.read(sql)

    def _some_run(self, where: str) -> str | None:
        rows = self.cluster.store.database.read(f"SELECT run FROM runs WHERE {where} ORDER BY run")
        return self.world.rng.choice(rows)[0] if rows else None

    # -- other logs ----------------------------------------------------------------------------------------------

    def _fire(self) -> None:
        """An event trigger's shard: its progress and what fired are one commit, at the head that it expects."""
        log = "trigger:react:event"
        first = self._fired
        count = self.world.rng.randint(1, 3)
        fired = [
            TriggerFired(
                "react", "event", f"0:{n}", (("clicks", 0, n, n + 1),), self.world.now_us(), self.world.now_us()
            )
            for n in range(first, first + count)
        ]
        progress = TriggerProgressed("react", "event", (first + count,), msgspec.Raw(b"{}"), 0, self.world.now_us())
        if self._append(log, (*fired, progress)):
            self._fired += count
        else:
            self.world.after(SECOND, self._fire)

    def _complete(self) -> None:
        ahead_us = self.world.rng.choice((0, 60, 600)) * SECOND
        through_us = self.world.now_us() - 60 * SECOND + ahead_us
        for topic in ("clicks", "scores"):
            rows = self.cluster.store.database.read("SELECT complete_through_us FROM topics WHERE name = ?", (topic,))
            if not rows or rows[0][0] is None or rows[0][0] < through_us:
                self._append("clients", (TopicCompleted(topic, through_us, self.world.now_us()),))

    def complete_all(self) -> None:
        """In the quiet phase: whatever waits for rows gets them."""
        self._complete()
        self.world.after(30 * SECOND, self.complete_all)

    def _run_elsewhere(self) -> None:
        """A run in a process of its own, with a log of its own, publishes a table."""
        now_us = self.world.now_us()
        log = f"run:{self.world.rng.getrandbits(32):x}"
        run = make_id(now_us, self.world.rng.getrandbits(25))
        rows = self.cluster.store.database.read("SELECT version FROM tables WHERE name = 't0'")
        version = (rows[0][0] if rows else 0) + 1
        place = (run, "n0", "", 0, 1, 1)
        published = TablePublished("t0", version, (Part("p", 1, 1, ""),), 1, run, "n0", 0, 1, now_us)
        self.world.saw["a table was published by a run elsewhere"] += 1
        self._append(
            log,
            (
                f.LogTaken(1, "here", now_us),
                f.RunCreated(run, "plain", "local", f"here:{log}", "here", now_us),
                f.AttemptStarted(*place, "w1-1#1", now_us),
                f.AttemptSucceeded(*place, now_us, 1, f.Value("json", "1")),
                published,
                f.RunEnded(run, "succeeded", now_us),
            ),
        )

    def _append(self, log: str, facts: tuple[Any, ...]) -> bool:
        """Append at the head; after an error the head tells whether it happened. Raises nothing."""
        expected = self.cluster.store.head(log)
        try:
            self.store.commit([Append(log, expected, facts)])
        except (StoreError, Crash):
            self.world.saw["a writer read its head after an error"] += 1
            if self.cluster.store.head(log) == expected:
                return False
        self.cluster.wake()
        return True
