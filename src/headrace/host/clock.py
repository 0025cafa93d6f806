"""The real clock. The only place where time is read; everything else is given it."""

from __future__ import annotations

import time


class SystemClock:
    """Wall and monotonic time in microseconds."""

    def now_us(self) -> int:
        return time.time_ns() // 1000

    def monotonic_us(self) -> int:
        return time.monotonic_ns() // 1000
