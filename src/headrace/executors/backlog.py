"""What a worker was given and has not begun. Nothing waits here behind an attempt that turns out to be a long one."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from headrace.executors.protocol import Returned, Start
from headrace.executors.slot import Slot
from headrace.runs.pool import LONG_US

LATEST_US = 4 * LONG_US  # by then the engine knows that it is long, and sends nothing more


class Backlog:
    """The starts of one worker in the order of their serials. `give_back` tells the engine which of them are its again,
    `read` gives those that have come meanwhile and nobody has read.

    A thread looks, since the attempt in hand keeps the main one. Code that keeps the interpreter to itself (a C loop
    that never lets go of the GIL) keeps it from looking too: then they wait until that ends.
    """

    def __init__(self, slot: Slot, read: Callable[[], list[Start]], give_back: Callable[[Returned], None]) -> None:
        self._slot = slot
        self._read = read
        self._give_back = give_back
        self._starts: deque[Start] = deque()
        # Reentrant: the signal that tells of a cancel interrupts the main thread anywhere.
        self._lock = threading.RLock()
        self._is_watched = False
        self._wake = threading.Semaphore(0)
        threading.Thread(target=self._watch, name="headrace-backlog", daemon=True).start()

    def __len__(self) -> int:
        return len(self._starts)

    def put(self, start: Start) -> None:
        with self._lock:
            self._starts.append(start)

    def take(self) -> Start | None:
        """The next one, which is begun now; None where there is none."""
        with self._lock:
            if not self._starts:
                return None
            if not self._is_watched:
                self._is_watched = True
                self._wake.release()
            return self._starts.popleft()

    def remove(self, serial: int) -> bool:
        """Whether it waited, and does so no longer."""
        with self._lock:
            for start in tuple(self._starts):
                if start.serial == serial:
                    self._starts.remove(start)
                    return True
            return False

    def _watch(self) -> None:
        while True:
            self._wake.acquire()
            while self._is_watched:
                time.sleep(LONG_US / 1e6)
                self._look()

    def _look(self) -> None:
        # Told before the lock is let go: nothing later may begin before the engine can know that these have not.
        with self._lock:
            begun = self._slot.read()
            running_us = 0 if begun.since_us is None else time.monotonic_ns() // 1000 - begun.since_us
            if running_us >= LONG_US and (waiting := [*self._starts, *self._read()]):
                self._starts.clear()
                self._give_back(Returned(tuple(start.serial for start in waiting), begun.serial, running_us))
            is_idle = begun.since_us is None and not self._starts
            self._is_watched = not is_idle and running_us < LATEST_US
