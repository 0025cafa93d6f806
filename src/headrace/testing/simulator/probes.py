"""What can be judged while the world moves: the auditor looks now and then, and nothing may stay undone for long.

Each probe notes since when it sees a thing undone under the same engine; past its grace the promise is broken.
"""

from __future__ import annotations

from headrace.testing.auditor.audit import Auditor
from headrace.testing.simulator.cluster import Cluster
from headrace.testing.simulator.engines import EngineProcess
from headrace.testing.simulator.world import SECOND, World

GRACE_US = {
    "E1": 10 * SECOND,  # an attempt without anybody who works on it
    "E8": 20 * SECOND,  # an attempt of a cancelled run that works on
    "E11": 15 * SECOND,  # an attempt past its timeout, longest of all 20 s
    "E13": 15 * SECOND,  # work, and nobody who does any
}
PROMISE = {
    "E1": "no attempt is forgotten",
    "E8": "running ones are told within the grace",
    "E11": "a timeout ends the attempt",
    "E13": "a ready task with free capacity starts",
}
LOOKS_MOST = 5


class Probes:
    def __init__(self, world: World, cluster: Cluster, auditor: Auditor) -> None:
        self.world, self.cluster, self.auditor = world, cluster, auditor
        self._since: dict[tuple[str, str, str], int] = {}
        self._looks = 0
        self._engine = ""

    def plan(self, length_s: int) -> None:
        self._every_us = max(length_s * SECOND // 16, 2 * SECOND)
        self.world.after(self._every_us, self._probe)

    def _probe(self) -> None:
        self.world.after(self._every_us, self._probe)
        acting = self.cluster.acting
        if acting is None or not acting.is_up or acting.is_paused:
            self._since.clear()
            return
        if acting.name != self._engine:
            self._engine = acting.name
            self._since.clear()
            self.look()
        seen = self._undone(acting)
        self._since = {key: self._since.get(key, self.world.mono_us) for key in seen}
        for (number, what, about), since_us in self._since.items():
            if self.world.mono_us - since_us > GRACE_US[number]:
                self.world.breaks(number, PROMISE[number], f"{what} {about} since {since_us / SECOND:g} s")
                self._since.clear()
                return

    def look(self) -> None:
        """The auditor reads what is new; not too often, for a look costs as much as twenty messages."""
        if self._looks < LOOKS_MOST and not self.world.violations:
            self._looks += 1
            self.world.violations += self.auditor.look()

    def _undone(self, acting: EngineProcess) -> set[tuple[str, str, str]]:
        ask = self.cluster.store.database.read
        rows = ask(
            "SELECT i.run, i.node, i.path, i.item, i.epoch, i.worker, r.state FROM items i JOIN runs r USING (run)"
            " WHERE r.log = 'engine' AND r.ended_us IS NULL AND i.state = 'running'"
        )
        found: set[tuple[str, str, str]] = set()
        for *place, label, state in rows:
            name, _, serial = label.partition("#")
            worker = acting.crew.workers.get(name)
            about = f"{place}"
            if worker is None or worker.state == "gone" or worker.is_cut_off:
                found.add(("E1", label, about))
            elif state == "cancelling":
                found.add(("E8", label, about))
            elif worker.current is not None and worker.begun == int(serial):
                timeout_us = worker.current[0].node.options.timeout_us
                if timeout_us is not None and self.world.mono_us - worker.since_us > timeout_us:
                    found.add(("E11", label, about))
        running = {label for *_, label, _ in rows}
        for worker in acting.crew.workers.values():
            label = f"{worker.name}#{worker.begun}"
            if worker.state == "up" and worker.current is not None and not worker.is_cut_off and label not in running:
                found.add(("E11", label, "works on what is closed"))
        if not rows and ask("SELECT 1 FROM runs r WHERE log = 'engine' AND state IN ('running', 'cancelling') LIMIT 1"):
            waits = ask(
                "SELECT 1 FROM items i JOIN runs r USING (run) WHERE r.ended_us IS NULL AND i.state = 'waiting_retry'"
            )
            if not waits:
                found.add(("E13", "runs", "wait without an attempt"))
        return found
