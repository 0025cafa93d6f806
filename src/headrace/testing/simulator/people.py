"""Everyone who asks: clients with requests, who ask again where they got no answer, and topics that become complete."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headrace.base.facts import Fact
from headrace.data.facts import TopicCompleted
from headrace.errors import StoreError
from headrace.ports import Append
from headrace.testing.auditor.witness import Witness
from headrace.testing.simulator.cluster import Cluster
from headrace.testing.simulator.draw import Draw
from headrace.testing.simulator.store import FaultyStore
from headrace.testing.simulator.world import SECOND, Crash, World

MINUTE = 60 * SECOND


class People:
    """Plans at the start, for the whole phase with faults, who asks for what and when.

    `undone`: numbers of the plan that are left out.
    """

    def __init__(self, world: World, drawn: Draw, cluster: Cluster, witness: Witness, undone: frozenset[int]) -> None:
        self.world, self.drawn, self.cluster, self.witness = world, drawn, cluster, witness
        self.store = FaultyStore(cluster.store, world)
        self.rng = world.dice("people")
        self._undone = undone
        self.planned = 0
        self._keys = 0

    def plan(self) -> None:
        for _ in range(self.drawn.asks):
            self.plan_one(self._ask)
        for feature, act, times in (
            ("cancels", self._cancel, 3),
            ("retries", self._retry, 3),
            ("forgiving", self._retry_failed, 4),
            ("pauses", self._pause, 4),
            ("deploys", self._redeploy, 2),
            ("backfills", self._backfill, 2),
            ("waits", self._complete, 6),
            ("models", self._ask_for_training, 3),
            ("models", self._complete, 12),
            ("models", self._move_alias, 2),
        ):
            if self.drawn.has(feature):
                for _ in range(self.rng.randint(1, times)):
                    self.plan_one(act)

    def plan_one(self, act: Callable[[], None]) -> None:
        """Something that somebody does at some time, unless this number of the plan is left out."""
        self.planned += 1
        at_us = self.rng.randint(0, self.drawn.length_s * SECOND)
        if self.planned not in self._undone:
            self.world.after(at_us, act)

    def complete_all(self) -> None:
        """In the quiet phase: whatever waits for rows gets them, also of a time from which the clock was set back."""
        ((waiting_us,),) = self.cluster.store.database.read(
            "SELECT max(window_end_us) FROM runs WHERE state = 'waiting'"
        )
        self._complete(waiting_us or 0)
        self.world.after(30 * SECOND, self.complete_all)

    # -- requests ------------------------------------------------------------------------------------------------

    def _send(self, verb: str, body: dict[str, Any], key: str | None = None) -> None:
        """A client that gets no answer asks again with the same key."""
        if key is None:
            self._keys += 1
            key = f"k{self._keys}"
        if self.world.strikes("client cannot reach the store"):
            self.world.after(SECOND, self._send, verb, body, key)
            return
        number = self.cluster.store.ask(verb, body, key=key, at_us=self.world.now_us())
        self.witness.acknowledged[number] = (key, verb, body)
        self.world.say(f"request {number}: {verb} {body} key {key}")
        if self.world.strikes("client asks twice"):
            self.world.after(self.world.within(0, 3 * SECOND), self._send, verb, body, key)
        self.cluster.wake()

    def _ask(self) -> None:
        body: dict[str, Any] = {"pipeline": self.rng.choice(("plain", "plain", "plain", "nothing", "follow"))}
        if body["pipeline"] == "plain" and self.rng.random() < 0.3:
            body["params"] = {"items": list(range(self.rng.randint(0, 4)))}
        if self.rng.random() < 0.1:
            body["params"] = {"unknown": 1}
        if self.rng.random() < 0.15:
            body["key"] = f"mine-{self.rng.randint(1, 2)}"
        self._send("trigger", body)

    def _backfill(self) -> None:
        """As `headrace backfill`: a request per window, with the same id twice now and then."""
        name = f"b{self.rng.randint(1, 2)}"
        first_us = self.world.now_us() // MINUTE * MINUTE - self.rng.randint(3, 6) * MINUTE
        for i in range(3):
            window = [first_us + i * MINUTE, first_us + (i + 1) * MINUTE]
            key = f"backfill:plain:{name}:{window[0]}-{window[1]}"
            body = {"pipeline": "plain", "window": window, "cause": "backfill", "why": f"backfill {name}", "key": key}
            self._send("trigger", body, key)

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
            self._retry_run(run)

    def _retry_failed(self) -> None:
        """Of the pipeline that people ask for, the same run again and again now and then; waits for one that failed."""
        run = self._some_run("pipeline = 'plain' AND log = 'engine' AND state = 'failed' AND dropped_us IS NULL")
        if run is not None:
            self._retry_run(run)
        elif not self.world.is_quiet:
            self.world.after(10 * SECOND, self._retry_failed)

    def _retry_run(self, run: str) -> None:
        self.world.saw["a retry was asked for"] += 1
        body: dict[str, Any] = {"run": run, "by": "somebody"}
        if self.rng.random() < 0.3:
            rows = self.cluster.store.database.read("SELECT code FROM codes ORDER BY code")
            body["code"] = self.rng.choice([*(code for (code,) in rows), "current", "unknown"])
        self._send("retry", body)
        if self.rng.random() < 0.3:
            self._send("retry", body)

    def _pause(self) -> None:
        pipeline = self.rng.choice(("plain", "timed", "daily", "react", "follow"))
        self._send("pause", {"pipeline": pipeline, "paused": self.rng.random() < 0.5, "by": "somebody"})

    def _redeploy(self) -> None:
        self._send("deploy", {"code": self.rng.choice(("c1", "c2"))})

    def _ask_for_training(self) -> None:
        self._send("trigger", {"pipeline": "retrain", "by": "somebody"})

    def _move_alias(self) -> None:
        version = self.rng.choice((None, 1, 2, 9))
        self._send("alias", {"model": "model", "alias": "champion", "version": version, "by": "somebody"})

    def _some_run(self, where: str) -> str | None:
        rows = self.cluster.store.database.read(f"SELECT run FROM runs WHERE {where} ORDER BY log, first_seq")
        return self.rng.choice(rows)[0] if rows else None

    # -- topics --------------------------------------------------------------------------------------------------

    def _complete(self, at_least_us: int = 0) -> None:
        through_us = max(self.world.now_us() + self.rng.choice((-60, 0, 540)) * SECOND, at_least_us)
        for topic in ("clicks", "scores", "flights"):
            rows = self.cluster.store.database.read("SELECT complete_through_us FROM topics WHERE name = ?", (topic,))
            if not rows or rows[0][0] is None or rows[0][0] < through_us:
                fact = TopicCompleted(topic, through_us, self.world.now_us())
                self._tell_clients(fact)

    def _tell_clients(self, fact: Fact) -> None:
        """As a client does: its log has many writers, and what is told twice is the same."""
        try:
            self.store.commit([Append("clients", None, (fact,))])
        except (StoreError, Crash):
            self.world.saw["a client did not learn what became of its append"] += 1
        self.cluster.wake()
