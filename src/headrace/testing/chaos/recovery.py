"""How long until a new engine has the first result of work that its predecessor left unfinished."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from headrace.testing.chaos.ledger import Ledger
from headrace.testing.chaos.left import Left


def recoveries_s(ledger: Ledger, left: Left) -> list[float]:
    """One figure per engine that nobody disturbed until then, sorted.

    Disturbed is who was struck, or whose children were, or who had a stopped process beside it (it may hold the store).
    """
    sql = """SELECT f.at_us, r.created_us FROM facts f JOIN runs r ON r.run = json_extract(f.body, '$[0]')
        WHERE f.kind = 'AttemptSucceeded' AND f.log = 'engine' ORDER BY f.at_us"""
    accepted: list[tuple[int, int]] = left.rows(sql)  # type: ignore[assignment]
    troubles = _troubles(ledger)
    found: list[float] = []
    for engine in ledger.engines[1:]:
        if engine.what != "started":
            continue
        at = bisect_right(accepted, (engine.at_us, 0))
        first = next((at_us for at_us, created_us in accepted[at:] if created_us < engine.at_us), None)
        if first is not None and not any(begin < first and end > engine.at_us for begin, end in troubles):
            found.append((first - engine.at_us) / 1e6)
    return sorted(found)


def _troubles(ledger: Ledger) -> list[tuple[int, int]]:
    """When something was struck: the moment of a kill, the time of a pause. A client that dies holds nobody up."""
    found: list[tuple[int, int]] = []
    for at, strike in enumerate(ledger.strikes):
        if strike.what == "stop":
            later = (next_.at_us for next_ in ledger.strikes[at + 1 :] if next_.pid == strike.pid)
            found.append((strike.at_us, next(later, 1 << 62)))
        elif strike.what == "kill" and strike.kind != "client":
            found.append((strike.at_us, strike.at_us + 1))
    return found


def quantile(sorted_values: Sequence[float], share: float) -> float | None:
    """The smallest value that is not below this share of them; None of none.

    >>> quantile([0.1, 0.2, 0.9], 0.5), quantile([0.1, 0.2, 0.9], 0.99)
    (0.2, 0.9)
    """
    if not sorted_values:
        return None
    return sorted_values[min(len(sorted_values) - 1, int(share * len(sorted_values)))]
