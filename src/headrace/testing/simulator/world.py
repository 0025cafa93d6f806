"""The simulated world: one thread, one heap of messages, one source of randomness, and the story of what happened."""

from __future__ import annotations

import hashlib
import heapq
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from headrace.base.facts import Fact, encode

START_US = 1_767_225_600_000_000  # 2026-01-01T00:00Z
SECOND = 1_000_000


class Crash(BaseException):
    """The process that runs at this moment dies here. Not an Exception: nothing in it may catch its own death."""


class World:
    """Time in microseconds. Ties on the heap are broken by the seed, so every order of events is possible."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.mono_us = 0
        self.wall_offset_us = START_US
        self.is_quiet = False  # the last phase: no more faults, everything must come to an end
        self.faults: Counter[str] = Counter()
        self.saw: Counter[str] = Counter()
        self.events = 0
        self._story: list[tuple[int, str, Fact | None]] = []
        self._heap: list[tuple[int, float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0

    def now_us(self) -> int:
        return self.mono_us + self.wall_offset_us

    def monotonic_us(self) -> int:
        return self.mono_us

    def after(self, delay_us: int, then: Callable[..., None], *about: Any) -> None:
        """Call `then(*about)` in `delay_us`."""
        self._count += 1
        due = self.mono_us + max(delay_us, 0)
        heapq.heappush(self._heap, (due, self.rng.random(), self._count, then, about))

    def within(self, low_us: int, high_us: int) -> int:
        return self.rng.randint(low_us, high_us)

    def chance(self, share: float) -> bool:
        return share > 0 and self.rng.random() < share

    def strikes(self, fault: str, share: float) -> bool:
        """Whether this fault happens here and now; never in the quiet phase."""
        if self.is_quiet or not self.chance(share):
            return False
        self.faults[fault] += 1
        self.say(f"fault: {fault}")
        return True

    def say(self, text: str, fact: Fact | None = None) -> None:
        self._story.append((self.mono_us, text, fact))

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

    def story(self) -> list[str]:
        return [f"{at / SECOND:12.6f} s  {text}{_in_words(fact)}" for at, text, fact in self._story]

    def trace(self) -> str:
        """A hash of all that happened: two runs of one seed must give the same."""
        digest = hashlib.blake2b(digest_size=16)
        for at, text, fact in self._story:
            digest.update(f"{at} {text}".encode())
            if fact is not None:
                digest.update(encode(fact))
        return digest.hexdigest()


def _in_words(fact: Fact | None) -> str:
    if fact is None:
        return ""
    text = repr(fact)
    # Raw bytes show only where they lie in memory.
    return f": {text}" if "Raw object" not in text else f": {fact.kind} {encode(fact).decode(errors='replace')[:300]}"
