"""The engine's picture of its workers: what each holds, and how much more it may be given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from headrace.runs.path import Path

CREDIT_US = 5_000  # a worker is given what it ends in this time …
LONG_US = 50_000  # an attempt that runs for so long is a long one: nothing is to wait behind it
MOST = 256  # … and never more attempts than this
_UNKNOWN_US = CREDIT_US  # a task that was never measured counts as a long one: one at a time


@dataclass(slots=True)
class Flight:
    """An attempt that was handed to a worker and has not come back."""

    run: str
    node: str
    path: Path
    item: int
    attempt: int
    epoch: int
    expected_us: int
    timeout_us: int | None = None


@dataclass(slots=True)
class WorkerState:
    name: str
    code: str
    is_ready: bool = False
    is_leaving: bool = False
    serial: int = 0
    load_us: int = 0
    idle_since_us: int = 0
    heard_us: int = 0  # its last report, or since then what it was first given
    flights: dict[int, Flight] = field(default_factory=dict[int, Flight])

    def room(self, expected_us: int, mono_us: int) -> int:
        """How many attempts of this expected length it may be given now: always one when idle."""
        if not self.is_ready or self.is_leaving or (self.flights and mono_us - self.heard_us >= LONG_US):
            return 0
        by_time = (CREDIT_US - self.load_us) // max(expected_us, 1)
        if not self.flights:
            by_time = max(by_time, 1)
        return max(0, min(by_time, MOST - len(self.flights)))

    def give(self, serial: int, flight: Flight, mono_us: int) -> None:
        """It is sent an attempt; serials grow."""
        self.serial = serial
        if not self.flights:
            self.heard_us = mono_us
        self.hold(serial, flight)

    def hold(self, serial: int, flight: Flight) -> None:
        self.flights[serial] = flight
        self.load_us += flight.expected_us

    def lengthen(self, serial: int, running_us: int) -> Flight | None:
        """The flight that takes so long already; None for one that nobody waits for."""
        flight = self.flights.get(serial)
        if flight is not None and running_us > flight.expected_us:
            self.load_us += running_us - flight.expected_us
            flight.expected_us = running_us
        return flight

    def take(self, serial: int, mono_us: int) -> Flight | None:
        """The flight that ended; None for a report that nobody waits for."""
        flight = self.flights.pop(serial, None)
        if flight is not None:
            self.load_us -= flight.expected_us
            self.heard_us = mono_us
            if not self.flights:
                self.idle_since_us = mono_us
        return flight


class Pool:
    """All workers of this engine, of every code version, and the measured length of tasks."""

    def __init__(self, size: int, prefix: str = "w") -> None:
        self.size = size
        self.workers: dict[str, WorkerState] = {}
        self._prefix = prefix
        self._means: dict[tuple[str, str], float] = {}
        self._named = 0

    def crew(self) -> tuple[WorkerState, ...]:
        """The workers as they are now, without what they hold."""
        return tuple(replace(worker, load_us=0, flights={}) for worker in self.workers.values())

    def follow(self, other: Pool) -> None:
        """Go on where another pool of the same processes was: with its measures, and no name given twice."""
        self._means, self._named = other._means, other._named

    def expected_us(self, pipeline: str, node: str) -> int:
        return int(self._means.get((pipeline, node), _UNKNOWN_US)) or 1

    def measured(self, pipeline: str, node: str, took_us: int) -> None:
        """Take a measured length into the mean: longer ones at once, shorter ones slowly."""
        known = self._means.get((pipeline, node))
        if known is None or took_us > 4 * known:
            self._means[pipeline, node] = float(took_us)
        else:
            self._means[pipeline, node] = known + (took_us - known) / 8

    def next_name(self) -> str:
        return f"{self._prefix}{self._named + 1}"

    def add(self, name: str, code: str, mono_us: int) -> None:
        """A worker is on its way."""
        self._named += 1
        self.workers[name] = WorkerState(name, code, idle_since_us=mono_us)

    def of_code(self, code: str) -> Iterator[WorkerState]:
        return (w for w in self.workers.values() if w.code == code and not w.is_leaving)

    def least_loaded(self, code: str, expected_us: int, mono_us: int) -> tuple[WorkerState, int] | None:
        """The worker to fill next and its room: idle ones first."""
        best: tuple[WorkerState, int] | None = None
        for worker in self.workers.values():
            if worker.code != code:
                continue
            room = worker.room(expected_us, mono_us)
            if room and (best is None or worker.load_us < best[0].load_us):
                best = (worker, room)
        return best

    def wants_worker(self, code: str) -> bool:
        """True where work of this code waits and no worker of it is on its way or idle."""
        return all(w.is_ready and w.flights for w in self.of_code(code))

    def idle(self) -> list[WorkerState]:
        return [w for w in self.workers.values() if w.is_ready and not w.flights and not w.is_leaving]
