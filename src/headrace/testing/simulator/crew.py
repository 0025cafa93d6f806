"""Simulated workers: they take attempts and answer later, die at every moment, hang, and report twice or too late."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from headrace.runs import events as e
from headrace.runs.active import Active
from headrace.runs.commands import StartAttempt
from headrace.runs.facts import Read
from headrace.runs.pool import LONG_US
from headrace.testing.auditor.witness import Begun, Witness
from headrace.testing.simulator.draw import Draw
from headrace.testing.simulator.tasks import Behaviour, outcome_of
from headrace.testing.simulator.world import SECOND, Crash, World


@dataclass(slots=True)
class SimWorker:
    name: str
    code: str
    state: str = "starting"  # "starting" | "up" | "gone"
    queue: deque[tuple[StartAttempt, Active]] = field(default_factory=deque[tuple[StartAttempt, Active]])
    current: tuple[StartAttempt, Active] | None = None
    begun: int = 0
    since_us: int = 0
    asks: Behaviour | None = None  # waits for the answer to its pin
    is_leaving: bool = False  # was told to stop or killed
    is_cut_off: bool = False  # its engine holds it for dead; it goes on, and what it says comes too late


class SimCrew:
    """Implements `ports.Workers` for one engine process. `news` wakes the engine; `strangers` are crews of dead ones.

    `workers` are those whose slots are there, as on disk: until the engine has heard of their end.
    """

    def __init__(
        self,
        world: World,
        drawn: Draw,
        witness: Witness,
        name: str,
        news: Callable[[], None],
        strangers: Callable[[], list[SimCrew]],
    ) -> None:
        self.world, self.drawn, self.witness = world, drawn, witness
        self.workers: dict[str, SimWorker] = {}
        self.name = name
        self.is_hurt = False
        self._news, self._strangers = news, strangers
        self._found: list[e.Event] = []

    # -- the port ------------------------------------------------------------------------------------------------

    def spawn(self, worker: str, code: str) -> None:
        self._may_die()
        living = [w.name for w in self.workers.values() if w.state != "gone" and not (w.is_leaving or w.is_cut_off)]
        if len(living) >= self.drawn.workers:
            self.world.breaks("E9", "the pool is no larger than its limit", f"{worker} beside {living}")
        self.workers[worker] = SimWorker(worker, code)
        self.world.after(self.world.within(1_000, 500_000), self._come_up, self.workers[worker])

    def start(self, worker: str, attempts: Sequence[tuple[StartAttempt, Active]]) -> None:
        self._may_die()
        for start, _ in attempts:
            self.witness.sent(self._begun(start))
        if (found := self._within_reach(worker)) is None:
            return
        found.queue.extend(attempts)
        self._next(found)

    def answer_pin(self, worker: str, serial: int, dataset: str, pin: Any) -> None:
        self._may_die()
        found = self._within_reach(worker)
        if found is None or found.begun != serial or found.asks is None:
            return
        behaviour, found.asks = found.asks, None
        self.world.after(
            behaviour.took_us,
            self._finish,
            found,
            serial,
            behaviour,
            (Read("topic", dataset.removeprefix("topic:"), pin),),
        )

    def stop(self, worker: str) -> None:
        self._may_die()
        if (found := self._within_reach(worker)) is not None:
            found.is_leaving = True
            self.world.after(self.world.within(100, 50_000), self._die, found, "asked to leave")

    def cancel(self, worker: str, serial: int) -> None:
        self._may_die()
        if (found := self._within_reach(worker)) is None:
            return
        for start, _ in (*found.queue, *([found.current] if found.current else [])):
            if start.serial == serial:
                self.witness.told(self._begun(start))
        waiting = next((pair for pair in found.queue if pair[0].serial == serial), None)
        if waiting is not None:
            found.queue.remove(waiting)
            self.world.after(self.world.within(100, 10_000), self._tell, _cancelled(worker, serial))
        elif self.world.dice("listens").random() < 0.5:  # else its code does not listen
            self.world.after(self.world.within(100, 50_000), self._leave_off, found, serial)

    def kill(self, worker: str, why: str) -> None:
        self._may_die()
        if (found := self._within_reach(worker)) is not None:
            # What it reports before the signal arrives is still heard.
            found.is_leaving = True
            self.world.after(self.world.within(0, 100_000), self._die, found, why)

    def events(self) -> list[e.Event]:
        found, self._found = self._found, []
        for event in found:
            if isinstance(event, e.WorkerDied):
                self.workers.pop(event.worker, None)
        return found

    def begun(self, workers: Sequence[str]) -> dict[str, tuple[int, int]]:
        known = (self.workers[name] for name in workers if name in self.workers)
        return {w.name: (w.begun, w.since_us) for w in known if w.current is not None}

    def wait(self, timeout_s: float, *others: int) -> None:
        raise AssertionError("a simulated engine never waits")

    def end_strangers(self) -> dict[str, int]:
        begun: dict[str, int] = {}
        for crew in (self, *self._strangers()):
            for worker in crew.workers.values():
                begun[worker.name] = worker.begun
                late = worker.current
                worker.state = "gone"
                if late is not None and self._strikes("message comes late"):
                    self.world.saw["late report to the next engine"] += 1
                    report = self._report(worker.name, late[0].serial, outcome_of(self.world, self.drawn, *late), ())
                    self.world.after(self.world.within(0, SECOND), self._tell, report)
            crew.workers.clear()
        return begun

    def abandon(self) -> dict[str, int]:
        """Its engine goes on from the rows: all workers are killed, and what they had to say is forgotten."""
        begun = {event.worker: event.begun for event in self._found if isinstance(event, e.WorkerDied)}
        begun |= {name: self.workers[name].begun for name in self.workers if self._within_reach(name) is not None}
        self.perish()
        self.workers.clear()
        return begun

    def close(self) -> None:
        self.abandon()

    # -- beside the port -----------------------------------------------------------------------------------------

    def perish(self) -> None:
        """The host dies, and all workers in one moment with it. Their slots are still there."""
        for worker in self.workers.values():
            worker.state = "gone"
        self._found.clear()

    # -- inside --------------------------------------------------------------------------------------------------

    def _within_reach(self, name: str) -> SimWorker | None:
        """A worker that hears what it is told; what any other is told is lost, and its death tells the rest."""
        found = self.workers.get(name)
        return None if found is None or found.state == "gone" or found.is_cut_off else found

    def _may_die(self) -> None:
        if self._strikes("engine dies while sending"):
            raise Crash

    def _strikes(self, fault: str) -> bool:
        struck = self.world.strikes(fault)
        self.is_hurt |= struck
        return struck

    def _tell(self, event: e.Event, is_again: bool = False) -> None:
        self._found.append(event)
        self._news()
        if not is_again and self._strikes("message comes twice"):
            self.world.after(self.world.within(0, SECOND), self._tell, event, True)

    def _come_up(self, worker: SimWorker) -> None:
        if worker.state != "starting":
            return
        if self._strikes("worker dies before it is ready"):
            self._die(worker, "ImportError: simulated")
            return
        worker.state = "up"
        self._tell(e.WorkerReady(worker.name))

    def _next(self, worker: SimWorker) -> None:
        if worker.state != "up" or worker.current is not None or not worker.queue:
            return
        if self._strikes("worker dies before the attempt"):
            self._die(worker, "killed before it began")
            return
        worker.current = worker.queue.popleft()
        start, active = worker.current
        worker.begun, worker.since_us = start.serial, self.world.mono_us
        self.witness.begun(self._begun(start))
        behaviour = outcome_of(self.world, self.drawn, start, active)
        self.world.say(f"{worker.name}#{start.serial} begins {start.node.name}{start.path}[{start.item}]"
                       f" attempt {start.attempt} epoch {start.epoch}: {behaviour.word}")  # fmt: skip
        if self._strikes("worker is cut off"):
            self.world.after(self.world.within(0, behaviour.took_us), self._be_cut_off, worker)
        if self._strikes("worker hangs"):
            behaviour = behaviour.longer(self.world.within(30 * SECOND, 120 * SECOND))
        if self._strikes("worker dies in the attempt"):
            later_us = self.world.within(0, behaviour.took_us)
            is_at_once = self.world.dice("dies at once").random() < 0.3  # with what it asks still unheard
            self.world.after(0 if is_at_once else later_us, self._die_in, worker, start.serial)
        self.world.after(LONG_US, self._give_back, worker, start.serial)
        if behaviour.dataset is not None:
            worker.asks = behaviour
            pin = [self.world.mono_us, self.world.dice("pins").randint(0, 99)]
            self._tell(e.PinAsked(worker.name, start.serial, behaviour.dataset, pin))
        else:
            self.world.after(behaviour.took_us, self._finish, worker, start.serial, behaviour, ())

    def _give_back(self, worker: SimWorker, serial: int) -> None:
        """What waits behind a long attempt goes back to the engine; unless its code keeps the interpreter to itself."""
        if worker.state != "up" or worker.is_cut_off or worker.current is None or worker.begun != serial:
            return
        if worker.queue and self.world.dice("gives back").random() < 0.8:
            serials = tuple(start.serial for start, _ in worker.queue)
            worker.queue.clear()
            self.world.saw["attempts behind a long one went back"] += 1
            self._tell(e.AttemptsReturned(worker.name, serials, serial, self.world.mono_us - worker.since_us))

    def _begun(self, start: StartAttempt) -> Begun:
        path = ".".join(map(str, start.path))
        place = (start.run, start.node.name, path, start.item, start.attempt, start.epoch)
        # Workers are named anew whenever the engine begins from its rows.
        return Begun(*place, self.world.mono_us, f"{self.name} {start.worker.partition('-')[0]}")

    def _be_cut_off(self, worker: SimWorker) -> None:
        """The connection breaks: its engine holds it for dead, but it works on, on another host."""
        if worker.state == "up" and not worker.is_cut_off:
            worker.is_cut_off = True
            worker.queue.clear()
            self._tell(e.WorkerDied(worker.name, worker.begun, "the connection broke"))

    def _die_in(self, worker: SimWorker, serial: int) -> None:
        if worker.begun == serial and worker.current is not None:
            self._die(worker, "killed by signal 9")

    def _finish(self, worker: SimWorker, serial: int, behaviour: Behaviour, reads: tuple[Read, ...]) -> None:
        if worker.state == "gone" or worker.current is None or worker.begun != serial:
            return
        if self._strikes("worker dies after the attempt"):
            self._die(worker, "killed before it reported")
            return
        report = self._report(worker.name, serial, behaviour, reads)
        if isinstance(report, e.AttemptDone):
            self.witness.finished(self._begun(worker.current[0]))
        if worker.is_cut_off:
            self.world.saw["report of a worker that was given up"] += 1
            self.world.after(self.world.within(0, SECOND), self._tell, report)
        else:
            self._tell(report)
        worker.current = None
        self._next(worker)

    def _leave_off(self, worker: SimWorker, serial: int) -> None:
        if worker.state == "gone" or worker.current is None or worker.begun != serial:
            return
        self.world.saw["an attempt stopped when it was told"] += 1
        worker.current = worker.asks = None
        self._tell(_cancelled(worker.name, serial))
        self._next(worker)

    def _report(self, name: str, serial: int, behaviour: Behaviour, reads: tuple[Read, ...]) -> e.Event:
        if behaviour.error is not None:
            return e.AttemptErrored(name, serial, behaviour.error, retryable=behaviour.retryable)
        assert behaviour.value is not None
        return e.AttemptDone(name, serial, behaviour.value, behaviour.took_us, None, reads, behaviour.effects)

    def _die(self, worker: SimWorker, why: str) -> None:
        if worker.state == "gone":
            return
        worker.state = "gone"
        if worker.is_cut_off:
            return
        self._tell(e.WorkerDied(worker.name, worker.begun, why))
        if worker.current is not None and self._strikes("message comes late"):
            # A process on another host that was cut off, not dead: what it says now must be refused.
            self.world.saw["report of a worker that was given up"] += 1
            start, active = worker.current
            report = self._report(worker.name, start.serial, outcome_of(self.world, self.drawn, start, active), ())
            self.world.after(self.world.within(0, 5 * SECOND), self._tell, report)


def _cancelled(worker: str, serial: int) -> e.Event:
    return e.AttemptErrored(worker, serial, "the run was cancelled", retryable=False)
