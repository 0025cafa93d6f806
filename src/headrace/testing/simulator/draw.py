"""What one seed draws: its own subset of faults and features, each at its own rate ("swarm testing")."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from headrace.testing.simulator.world import START_US

FAULTS: dict[str, tuple[float, float]] = {
    # name: the least and the greatest rate, where the seed has the fault at all
    "store fails before": (0.005, 0.04),
    "store fails after": (0.005, 0.04),
    "head cannot be read": (0.2, 0.8),  # of the commits that failed
    "process dies before commit": (0.005, 0.04),
    "process dies after commit": (0.005, 0.04),
    "engine dies while sending": (0.005, 0.04),
    "engine is cut off": (0.2, 0.8),  # per look, a few per schedule
    "host dies": (0.1, 0.5),  # per look, a few per schedule
    "lock is given twice": (0.05, 0.5),  # per take-over
    "superseded while committing": (0.005, 0.02),
    "worker dies before it is ready": (0.02, 0.1),
    "worker dies before the attempt": (0.01, 0.06),
    "worker dies in the attempt": (0.01, 0.1),
    "worker dies after the attempt": (0.01, 0.06),
    "worker hangs": (0.01, 0.05),
    "worker is cut off": (0.01, 0.06),
    "message comes twice": (0.02, 0.2),
    "message comes late": (0.1, 0.5),  # of the deaths
    "ring is lost": (0.05, 0.5),
    "wall clock jumps": (0.2, 0.8),  # per look, a few per schedule
    "client cannot reach the store": (0.005, 0.04),
    "client asks twice": (0.005, 0.04),
    "run elsewhere dies": (0.01, 0.2),
    "process dies in user code": (0.01, 0.08),
    "what a stream needs is away": (0.1, 0.8),  # per batch with a row that needs it
    "stream process is cut off": (0.01, 0.05),
    "stream process is paused": (0.01, 0.1),
    "stream process is told to leave": (0.005, 0.03),
    "another writer is faster": (0.005, 0.05),
}

FEATURES: dict[str, float] = {
    "schedules": 0.5,
    "cron": 0.4,
    "waits": 0.3,
    "events": 0.5,
    "groups": 0.5,
    "tables": 0.5,
    "models": 0.35,
    "streams": 0.3,
    "deploys": 0.3,
    "cancels": 0.4,
    "retries": 0.4,
    "pauses": 0.3,
    "backfills": 0.2,
    "in process": 0.25,
    "pins": 0.4,
    "failures": 0.8,
    "timeouts": 0.4,
    "maps": 0.6,
    "branches": 0.4,
    "rules": 0.4,
    "limits": 0.3,
    "forgiving": 0.2,  # maps whose items may fail, in runs that fail and are retried
}

STARTS_US = (
    START_US,
    1_774_744_800_000_000,  # 2026-03-29T00:40Z, twenty minutes before Berlin's clocks go forward
    1_792_888_800_000_000,  # 2026-10-25T00:40Z, twenty minutes before they go back
)

OF_RETENTION: dict[str, tuple[float, float]] = {
    "a backup is being made": (0.05, 0.5),  # per batch of files
    "process dies while files go": (0.02, 0.2),  # per run
}
OF_RUNS_ELSEWHERE: dict[str, tuple[float, float]] = {"a dead run cannot be closed": (0.1, 0.4)}
RETENTIONS_S = (0, 0, 0, 10, 60, 3_000)  # the last one is reached where the wall clock jumps


@dataclass(frozen=True)
class Draw:
    """`faults`: rate by name, of those that this seed has. `features`: the names of those it has."""

    faults: dict[str, float] = field(default_factory=dict[str, float])
    features: frozenset[str] = frozenset()
    workers: int = 1
    failure: float = 0.0  # share of attempts that raise
    length_s: int = 30  # of the phase with faults
    asks: int = 1  # requests by clients
    start_us: int = START_US
    retention_s: int = 0  # 0: nothing is forgotten

    def has(self, feature: str) -> bool:
        return feature in self.features

    def __str__(self) -> str:
        faults = ", ".join(f"{name} {rate:.3f}" for name, rate in self.faults.items())
        features = ", ".join(sorted(self.features))
        return f"{self.workers} workers, {self.length_s} s; features: {features}; faults: {faults}"


def draw(rng: random.Random) -> Draw:
    faults = {name: rng.uniform(low, high) for name, (low, high) in FAULTS.items() if rng.random() < 0.4}
    features = frozenset(name for name, share in FEATURES.items() if rng.random() < share)
    drawn = Draw(
        faults,
        features,
        workers=rng.choice((1, 1, 2, 2, 3, 4)),
        failure=rng.choice((0.02, 0.1, 0.3)) if "failures" in features else 0.0,
        length_s=rng.choice((30, 120, 300)),
        asks=rng.randint(2, 8),
        start_us=rng.choice(STARTS_US) if "cron" in features else START_US,
        retention_s=rng.choice(RETENTIONS_S),
    )
    if drawn.retention_s and faults:
        faults |= {name: rng.uniform(low, high) for name, (low, high) in OF_RETENTION.items()}
    if "in process" in features and faults:
        faults |= {name: rng.uniform(low, high) for name, (low, high) in OF_RUNS_ELSEWHERE.items()}
    return drawn
