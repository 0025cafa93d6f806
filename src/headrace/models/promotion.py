"""The gate: whether a challenger becomes champion, and why."""

from __future__ import annotations

from typing import Literal

import msgspec


class IfBetter(msgspec.Struct, frozen=True):
    """Promote if the metric is better by more than `by` on the same rows.

    A gain whose size is at most one standard error (by days) is called inconclusive. `inconclusive=None`, the default,
    decides it like any other, by `gain > by`, and only says so; `"keep"` keeps the champion and `"promote"` takes the
    challenger in that case. (A 95 % test would reject most retrainings that pay: on the flights it serves less than
    the plain rule.)
    """

    metric: str
    by: float = 0.0
    inconclusive: Literal["keep", "promote"] | None = None


class Gain(msgspec.Struct, frozen=True):
    """A challenger against the champion on the same rows.

    `gain` is positive where the challenger is better, also for metrics where less is better. `se` is its standard error
    by days, None with fewer than two days; `n` counts rows, `blocks` days of event time.
    """

    metric: str
    champion: float
    challenger: float
    gain: float
    se: float | None
    n: int
    blocks: int

    @property
    def within_noise(self) -> bool:
        """True if the gain is at most one standard error in size, or nobody can say how large that is."""
        return self.se is None or abs(self.gain) <= self.se


class Verdict(msgspec.Struct, frozen=True):
    """What the gate decided. `inconclusive` says that the gain lies within its noise, whatever was decided."""

    outcome: Literal["promote", "reject"]
    inconclusive: bool
    reason: str
    evidence: Gain | None

    @property
    def promoted(self) -> bool:
        return self.outcome == "promote"


def gate(rule: IfBetter, evidence: Gain | None) -> Verdict:
    """The verdict on a challenger; `evidence` is None for the first version, which promotes itself.

    >>> rule = IfBetter("auc", by=0.003)
    >>> print(gate(rule, Gain("auc", 0.735, 0.745, 0.010, 0.008, 12_000, 14)).reason)
    auc 0.7350 → 0.7450: gain +0.01000 ± 0.00800 (n = 12,000, 14 days) is above 0.003
    >>> gate(rule, Gain("auc", 0.718, 0.705, -0.013, 0.008, 12_000, 14)).outcome
    'reject'
    """
    if evidence is None:
        return Verdict("promote", False, "the first version: there is no champion to compare with", None)
    better = evidence.gain > rule.by
    relation = f"is {'above' if better else 'not above'} {rule.by:g}"
    doubt = evidence.within_noise
    if doubt and rule.inconclusive is not None:
        better = rule.inconclusive == "promote"
        relation = f'is within one standard error, and inconclusive="{rule.inconclusive}"'
    elif doubt:
        relation += " (inconclusive: within one standard error)"
    return Verdict("promote" if better else "reject", doubt, f"{_in_words(evidence)} {relation}", evidence)


def _in_words(evidence: Gain) -> str:
    noise = "of unknown error" if evidence.se is None else f"± {evidence.se:.5f}"
    days = "day" if evidence.blocks == 1 else "days"
    return (
        f"{evidence.metric} {evidence.champion:.4f} → {evidence.challenger:.4f}: "
        f"gain {evidence.gain:+.5f} {noise} (n = {evidence.n:,}, {evidence.blocks} {days})"
    )
