"""The demo's year computed in one pass of plain polars, without the runtime: what the live run has to come to.

`python -m headrace.demo.oracle` prints it; `--all` adds what a plain schedule would have given, about a minute more.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import lightgbm as lgb
import polars as pl
from rich.console import Console

from headrace.demo.asof import live_flights, nightly_flights
from headrace.demo.project.flights.features import predict, train
from headrace.demo.record import FIRST_DAY, LAST_DAY, MATURE, NEW_YORK, load, midnight
from headrace.demo.story import LIMITS, SCHEDULES, Ask, Asker
from headrace.demo.weeks import MIN_ROWS, Reference, Window, auc, windows, within

BEGIN = midnight(FIRST_DAY)
COOLDOWN = timedelta(days=14)
TEST = timedelta(days=14)
CONSECUTIVE = 2


@dataclass(frozen=True)
class Version:
    """A model, the first moment that it did not see in training, and what it saw of the temperature."""

    model: lgb.Booster
    cutoff: datetime
    temp: Reference


@dataclass(frozen=True)
class Judged:
    """One weekly window: AUC of what was served in it, drift against the champion of the moment of judgement."""

    window: Window
    flights: int
    auc: float
    unseen: float
    psi: float


@dataclass(frozen=True)
class Simulation:
    """`served` has flight_id, announced, late and p_late of each flight from March 1, in order of (announced, key)."""

    served: pl.DataFrame
    weeks: tuple[Judged, ...]
    asks: tuple[Ask, ...]


def train_version(flights: pl.DataFrame, end: datetime, test: timedelta = TEST) -> Version:
    """A model of the flights announced before `end - test`; the days from there to `end` are held out.

    All labels of flights before `end` must be known, so `end` lies `MATURE` before the moment of training.
    """
    cutoff = end - test
    fit = flights.head(flights["announced"].search_sorted(cutoff, side="left"))
    return Version(train(fit), cutoff, Reference.of(fit["temp"]))


def score(version: Version, flights: pl.DataFrame) -> pl.DataFrame:
    """`flight_id, announced, late, p_late` of each flight, by one version."""
    return flights.select("flight_id", "announced", "late", predict(version.model, flights))


def never_retrained(flights: pl.DataFrame) -> pl.DataFrame:
    """What the model trained on March 1 says of every flight from then on."""
    return score(train_version(flights, BEGIN - MATURE), flights.filter(pl.col("announced") >= BEGIN))


def simulate(flights: pl.DataFrame) -> Simulation:
    """The year: score, judge each week once its labels are mature, ask, train, compare, promote."""
    champion = train_version(flights, BEGIN - MATURE)
    streaks, weeks, asks = Streaks(), list[Judged](), list[Ask]()
    served, scored_until = list[pl.DataFrame](), BEGIN
    for window in windows():
        moment = window.end + MATURE
        served.append(score(champion, within(flights, scored_until, moment)))
        scored_until = moment
        week = _judge(window, flights, pl.concat(served[-2:]), champion)
        weeks.append(week)
        asker = streaks.after(week, moment)
        if asker is not None:
            challenger = train_version(flights, window.end)
            asks.append(_compare(flights, champion, challenger, moment, asker))
            champion = challenger if asks[-1].outcome == "promoted" else champion
    return Simulation(pl.concat(served), tuple(weeks), tuple(asks))


def scheduled(flights: pl.DataFrame, every_days: int) -> tuple[pl.DataFrame, int]:
    """The scores of a plain schedule, and its number of trainings: on all labelled rows, none held out, none judged."""
    served, day = list[pl.DataFrame](), FIRST_DAY
    while day < LAST_DAY:
        after = day + timedelta(days=every_days)
        version = train_version(flights, midnight(day) - MATURE, test=timedelta(0))
        served.append(score(version, within(flights, midnight(day), midnight(after))))
        day = after
    return pl.concat(served), len(served)


@dataclass
class Streaks:
    """How many judged weeks in a row each asker has had its evidence; an ask clears both."""

    unseen: int = 0
    auc: int = 0
    asked: datetime | None = None

    def after(self, week: Judged, moment: datetime) -> Asker | None:
        """Count one week judged at `moment`; who asks for a retraining now, if anyone does."""
        if week.flights < MIN_ROWS:
            return None
        self.unseen = self.unseen + 1 if week.unseen > LIMITS.unseen else 0
        self.auc = self.auc + 1 if week.auc < LIMITS.auc else 0
        if max(self.unseen, self.auc) < CONSECUTIVE:
            return None
        if self.asked is not None and moment - self.asked < COOLDOWN:
            return None
        asker: Asker = "drift" if self.unseen >= CONSECUTIVE else "performance"
        self.unseen, self.auc, self.asked = 0, 0, moment
        return asker


def _judge(window: Window, flights: pl.DataFrame, served: pl.DataFrame, champion: Version) -> Judged:
    rows = within(served, window.start, window.end)
    temp = within(flights, window.start, window.end)["temp"]
    return Judged(window, len(rows), _auc(rows), champion.temp.unseen(temp), champion.temp.psi(temp))


def _compare(flights: pl.DataFrame, champion: Version, challenger: Version, moment: datetime, asker: Asker) -> Ask:
    """Both versions on the challenger's held-out days, which begin after the champion's own cut-off."""
    days = within(flights, max(challenger.cutoff, champion.cutoff), moment - MATURE)
    old, new = (auc(days["late"], predict(version.model, days)) for version in (champion, challenger))
    outcome = "promoted" if new - old > LIMITS.gain else "rejected"
    return Ask(moment.astimezone(NEW_YORK).date(), asker, old, new, outcome)


def main() -> None:
    """Print the figures of the year and how long each took."""
    parser = argparse.ArgumentParser(prog="python -m headrace.demo.oracle", description=__doc__)
    parser.add_argument("--all", action="store_true", help="also retrain on plain schedules, 33 trainings")
    everything = bool(parser.parse_args().all)
    laps = _Laps(Console(highlight=False))
    record = load()
    laps.show("read the record")
    live, nightly = live_flights(record), nightly_flights(record)
    laps.show("as-of joins")
    laps.show(f"nightly batch features   AUC {_auc(never_retrained(nightly)):.4f}")
    laps.show(f"first model              AUC {_auc(never_retrained(live)):.4f}")
    year = simulate(live)
    laps.show(f"served                   AUC {_auc(year.served):.4f}")
    for ask in year.asks:
        laps.show(f"  {ask.on} {ask.by:<12} {ask.champion:.4f} {ask.challenger:.4f} {ask.gain:+.4f} {ask.outcome}")
    for plan in SCHEDULES if everything else ():
        scores, trainings = scheduled(live, plan.every_days)
        laps.show(f"every {plan.every_days} days, {trainings} trainings, no gate   AUC {_auc(scores):.4f}")


@dataclass
class _Laps:
    console: Console
    since: float = field(default_factory=time.perf_counter)

    def show(self, text: str) -> None:
        now = time.perf_counter()
        self.console.print(f"{now - self.since:6.1f} s  {text}")
        self.since = now


def _auc(scores: pl.DataFrame) -> float:
    return auc(scores["late"], scores["p_late"])


if __name__ == "__main__":
    main()
