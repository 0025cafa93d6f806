"""What one seed draws: its own subset of faults and features, each at its own rate ("swarm testing")."""

from __future__ import annotations

import random
from dataclasses import dataclass

FAULTS: dict[str, tuple[float, float]] = {
    # name: the least and the greatest rate, where the seed has the fault at all
    "store fails before": (0.005, 0.04),
    "store fails after": (0.005, 0.04),
    "engine dies before commit": (0.005, 0.04),
    "engine dies after commit": (0.005, 0.04),
    "engine dies while sending": (0.005, 0.04),
    "engine is cut off": (0.2, 0.8),  # per look, a few per schedule
    "superseded while committing": (0.005, 0.02),
    "worker dies before it is ready": (0.02, 0.1),
    "worker dies before the attempt": (0.01, 0.06),
    "worker dies in the attempt": (0.01, 0.1),
    "worker dies after the attempt": (0.01, 0.06),
    "worker hangs": (0.01, 0.05),
    "report comes twice": (0.02, 0.2),
    "report comes late": (0.1, 0.5),  # of the deaths
    "ring is lost": (0.05, 0.5),
    "wall clock jumps": (0.2, 0.8),  # per look, a few per schedule
    "shard dies": (0.01, 0.08),
    "shard is cut off": (0.01, 0.05),
}

FEATURES: dict[str, float] = {
    "schedules": 0.5,
    "waits": 0.3,
    "events": 0.5,
    "tables": 0.5,
    "models": 0.35,
    "streams": 0.3,
    "deploys": 0.3,
    "cancels": 0.4,
    "retries": 0.4,
    "pauses": 0.3,
    "in process": 0.2,
    "pins": 0.4,
    "failures": 0.8,
    "timeouts": 0.4,
    "maps": 0.6,
    "branches": 0.4,
    "rules": 0.4,
    "limits": 0.3,
}


@dataclass(frozen=True)
class Draw:
    """`faults`: rate by name, 0 where this seed is without it. `features`: the names of those it has."""

    faults: dict[str, float]
    features: frozenset[str]
    workers: int
    failure: float  # share of attempts that raise
    length_s: int  # of the phase with faults
    asks: int  # requests by clients

    def rate(self, fault: str) -> float:
        return self.faults.get(fault, 0.0)

    def has(self, feature: str) -> bool:
        return feature in self.features

    def __str__(self) -> str:
        faults = ", ".join(f"{name} {rate:.3f}" for name, rate in self.faults.items())
        return (
            f"{self.workers} workers, {self.length_s} s; features: {', '.join(sorted(self.features))}; faults: {faults}"
        )


def draw(rng: random.Random) -> Draw:
    faults = {name: rng.uniform(low, high) for name, (low, high) in FAULTS.items() if rng.random() < 0.4}
    features = frozenset(name for name, share in FEATURES.items() if rng.random() < share)
    return Draw(
        faults,
        features,
        workers=rng.choice((1, 1, 2, 2, 3, 4)),
        failure=rng.choice((0.02, 0.1, 0.3)) if "failures" in features else 0.0,
        length_s=rng.choice((30, 120, 600)),
        asks=rng.randint(2, 8),
    )
