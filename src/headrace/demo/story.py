"""What the demo has to tell at its end, as plain values: the runner fills it, the report shows it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

Asker = Literal["drift", "performance"]
Outcome = Literal["promoted", "rejected"]


@dataclass(frozen=True)
class Week:
    """Seven New York days from `start`. AUCs are 0..1 over the flights announced in it; `unseen` is a share, 0..1."""

    start: date
    flights: int
    auc_nightly: float
    auc_first: float
    auc_served: float
    unseen: float
    psi: float


@dataclass(frozen=True)
class Ask:
    """One retraining: who asked on which New York day, the AUC of both models on the same unseen days."""

    on: date
    by: Asker
    champion: float
    challenger: float
    outcome: Outcome

    @property
    def gain(self) -> float:
        """AUC of the challenger minus that of the champion."""
        return self.challenger - self.champion


@dataclass(frozen=True)
class Counts:
    """How much work the demo was. `flights` were scored; `kills` is the number of processes killed on purpose."""

    flights: int
    runs: int
    batches: int
    dead_letters: int
    kills: int = 0


@dataclass(frozen=True)
class Limits:
    """The lines above or below which a week is evidence, and the least AUC gain that promotes."""

    unseen: float = 0.10
    auc: float = 0.66
    gain: float = 0.003
    psi: float = 0.25  # the customary one; shown, not used


LIMITS = Limits()


@dataclass(frozen=True)
class Schedule:
    """What retraining every so many days, without gate and without days held out, would have served."""

    every_days: int
    trainings: int
    auc: float


# Too slow to compute in every demo (33 trainings): measured on 2026-11-22 by `python -m headrace.demo.oracle --all`.
SCHEDULES = (Schedule(14, 22, 0.741), Schedule(28, 11, 0.737))


@dataclass(frozen=True)
class Story:
    """All that the report shows. The three AUCs are pooled over every flight from March 1 to the end of the year.

    `lineage` goes from one prediction to its origins, as pairs such as `("model", "delay, version 4")`. `digest` is
    that of all predictions, equal between two runs on one machine. `seconds` is how long the demo took.
    """

    weeks: tuple[Week, ...]
    asks: tuple[Ask, ...]
    auc_nightly: float
    auc_first: float
    auc_served: float
    counts: Counts
    lineage: tuple[tuple[str, str], ...]
    seconds: float
    digest: str = ""
    limits: Limits = LIMITS
    schedules: tuple[Schedule, ...] = SCHEDULES

    @property
    def promoted(self) -> int:
        """Retrainings whose model came to serve; the first model is not one of them."""
        return sum(ask.outcome == "promoted" for ask in self.asks)

    @property
    def rejected(self) -> int:
        """Retrainings whose model was no better on days that neither model saw."""
        return len(self.asks) - self.promoted
