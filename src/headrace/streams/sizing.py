"""How many rows the next batch takes: as many as fit the latency goal, learnt from the last ones."""

from __future__ import annotations

from dataclasses import dataclass

GOAL_US = 50_000
LEAST_ROWS = 64
MOST_ROWS = 65_536


@dataclass(frozen=True, slots=True)
class BatchSize:
    """Grows at most twofold a batch, and shrinks at once.

    >>> BatchSize(1000).after(1000, took_us=100_000).rows
    500
    """

    rows: int = 1024

    def after(self, rows: int, *, took_us: int) -> BatchSize:
        """The next size, after `rows` took so long."""
        if rows < LEAST_ROWS:
            return self  # what a small batch costs does not depend on its rows
        fitting = rows * GOAL_US // max(1, took_us)
        return BatchSize(max(LEAST_ROWS, min(fitting, self.rows * 2, MOST_ROWS)))
