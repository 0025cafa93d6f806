"""What a worker was given and has not begun. Nothing waits here behind an attempt that turns out to be a long one."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from headrace.executors.protocol import Returned, Start
from headrace.executors.slot import Slot

LONG_US = 50_000  # ten times what a worker is given at once: what waits behind so long an attempt goes back


class Backlog:
    """The starts of one worker in the order of their serials. `give_back` tells the engine which of them are its again.

    A thread looks, since the attempt in hand keeps the main one. Code that keeps the interpreter to itself (a C loop
    that never lets go of the GIL) keeps it from looking too: then they wait until that ends.
    """

    def __init__(self, slot: Slot, give_back: Callable[[Returned], None]) -> None:
        self._slot = slot
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
            start = self._starts.popleft()
            if self._starts and not self._is_watched:
                self._is_watched = True
                self._wake.release()
            return start

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
            begun, now_us = self._slot.read(), time.monotonic_ns() // 1000
            if self._starts and begun.since_us is not None and now_us - begun.since_us >= LONG_US:
                serials = tuple(start.serial for start in self._starts)
                self._starts.clear()
                self._give_back(Returned(serials, begun.serial, now_us - begun.since_us))
            self._is_watched = bool(self._starts)
