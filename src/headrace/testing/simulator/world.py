"""The simulated world: one thread, one heap of messages, dice by name, and the story of what happened."""

from __future__ import annotations

import hashlib
import heapq
import random
from collections import Counter
from collections.abc import Callable, Container, Mapping
from typing import Any

from headrace.base.facts import Fact, encode
from headrace.testing.auditor import Violation

START_US = 1_767_225_600_000_000  # 2026-01-01T00:00Z
SECOND = 1_000_000


class Crash(BaseException):
    """The process that runs at this moment dies here. Not an Exception: nothing in it may catch its own death."""


class World:
    """Time in microseconds. Ties on the heap are broken by the seed, so every order of events is possible.

    Each purpose and each fault has dice of its own, so that a fault can be left out and the rest stays much as it was.
    `rates`: how likely each fault is. `left_out`: faults as (name, how many of it came before) that do not strike.
    """

    def __init__(
        self,
        seed: int,
        rates: Mapping[str, float] | None = None,
        left_out: Container[tuple[str, int]] = (),
        start_us: int = START_US,
        salt: int = 0,
    ) -> None:
        self.seed = seed
        self.rng = random.Random(seed if salt == 0 else f"{seed}/{salt}")
        self.rates = rates or {}
        self.mono_us = 0
        self.wall_offset_us = start_us
        self.is_quiet = False  # the last phase: no more faults, everything must come to an end
        self.faults: Counter[str] = Counter()
        self.struck: list[tuple[str, int]] = []
        self.saw: Counter[str] = Counter()
        self.events = 0
        self.violations: list[Violation] = []
        self._left_out = left_out
        self._dice: dict[str, random.Random] = {}
        self._strikes: Counter[str] = Counter()
        self._numbers: dict[str, dict[str, int]] = {}
        self.told: list[tuple[int, str, Fact | None]] = []  # the story: when, what, and the fact that was committed
        self._heap: list[tuple[int, float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0

    def now_us(self) -> int:
        return self.mono_us + self.wall_offset_us

    def monotonic_us(self) -> int:
        return self.mono_us

    def dice(self, name: str) -> random.Random:
        """Dice that nothing else throws."""
        found = self._dice.get(name)
        if found is None:
            found = self._dice[name] = random.Random(f"{self.seed}/{name}")
        return found

    def ordinal(self, group: str, name: str) -> int:
        """The how-manieth of its group this one is, in the order in which they were first named."""
        numbers = self._numbers.setdefault(group, {})
        return numbers.setdefault(name, len(numbers))

    def after(self, delay_us: int, then: Callable[..., None], *about: Any) -> None:
        """Call `then(*about)` in `delay_us`."""
        self._count += 1
        due = self.mono_us + max(delay_us, 0)
        heapq.heappush(self._heap, (due, self.rng.random(), self._count, then, about))

    def within(self, low_us: int, high_us: int) -> int:
        return low_us + int(self.rng.random() * (high_us - low_us + 1))

    def strikes(self, fault: str) -> bool:
        """Whether this fault happens here and now; never in the quiet phase."""
        rate = self.rates.get(fault)
        if rate is None or self.is_quiet or self.dice(fault).random() >= rate:
            return False
        which = (fault, self._strikes[fault])
        self._strikes[fault] += 1
        if which in self._left_out:
            return False
        self.faults[fault] += 1
        self.struck.append(which)
        self.say(f"fault: {fault}")
        return True

    def breaks(self, number: str, promise: str, found: str) -> None:
        """A promise was seen broken from inside the world, where no row shows it."""
        self.say(f"broken: {number} {found}")
        self.violations.append(Violation(number, promise, found))

    def say(self, text: str, fact: Fact | None = None) -> None:
        self.told.append((self.mono_us, text, fact))

    def step(self) -> bool:
        """Do the next message. False where there is none."""
        if not self._heap:
            return False
        due, _, _, then, about = heapq.heappop(self._heap)
        self.mono_us = max(self.mono_us, due)
        self.events += 1
        then(*about)
        return True

    def run_until(self, mono_us: int, *, most: int) -> None:
        """Do what is due until then; stops after `most` messages in all, for what goes in circles."""
        while self._heap and self._heap[0][0] <= mono_us and self.events < most:
            self.step()
        self.mono_us = max(self.mono_us, mono_us)

    def trace(self) -> str:
        """A hash of all that happened: two runs of one seed must give the same."""
        digest = hashlib.blake2b(digest_size=16)
        for at, text, fact in self.told:
            digest.update(f"{at} {text}".encode())
            if fact is not None:
                digest.update(encode(fact))
        return digest.hexdigest()
