"""Twelve days of the demo's year with its real engine: undisturbed and struck, the predictions are the same."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from headrace.app.opening import HERE, make_holdings, open_store
from headrace.base.instants import to_us
from headrace.cli.main import main
from headrace.connectors.appends import prepare
from headrace.connectors.here import HereAccess
from headrace.data.window import Window
from headrace.demo import place, player, runner
from headrace.demo.chaos import Chaos
from headrace.demo.place import PROJECT
from headrace.demo.project.flights.features import features, predict
from headrace.demo.record import EVENT_TIMES, FIRST_DAY, Record, days, load, midnight, step
from headrace.demo.runner import Played, play
from headrace.lineage.trace import trace
from headrace.ports import Append
from headrace.store.sql.engine_store import EngineSqlStore
from headrace.store.sql.reads import models, runs, streams

pytestmark = [pytest.mark.process, pytest.mark.headrace_project]

DAYS = 12
ROUNDS = 20


@dataclass(frozen=True)
class Shown:
    """A playback with its store open."""

    played: Played
    store: EngineSqlStore

    @property
    def access(self) -> HereAccess:
        return access(self.played, self.store)

    @property
    def scores(self) -> pl.DataFrame:
        return self.access.read_topic(self.played.project.topics["scores"], None).sort("flight_id")

    def announced(self) -> pl.DataFrame:
        """What has to be scored: flights announced from March 1 on."""
        rows = self.played.record.departures
        return rows.filter(pl.col("announced").is_between(midnight(FIRST_DAY), days()[DAYS], closed="left"))


def access(played: Played, store: EngineSqlStore) -> HereAccess:
    return HereAccess(make_holdings(played.settings, store, played.project, HERE), store)


def shortened(year: Record, folder: Path, strikes: int) -> Iterator[Shown]:
    """Play the first days, with a model of few rounds."""
    project = folder / "project"
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("__pycache__"))
    pipelines = project / "flights" / "pipelines.py"
    text = pipelines.read_text()
    assert text.count("rounds: int = 200") == 1
    pipelines.write_text(text.replace("rounds: int = 200", f"rounds: int = {ROUNDS}"))
    # Whoever installs the demo has no scikit-learn; where it is there, lightgbm imports it: seconds for each process.
    (folder / "lean").mkdir()
    (folder / "lean" / "sklearn.py").write_text("raise ImportError('not in the demo')\n")
    first = days()[: DAYS + 1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder / "lean"), prepend=os.pathsep)
        patch.setenv("HEADRACE_WORKERS", "1")
        patch.setattr(runner, "load", lambda: year)
        patch.setattr(place, "PROJECT", project)
        patch.setattr(player, "days", lambda: first)
        patch.setattr(runner, "Chaos", partial(Chaos, dice=random.Random(4)))
        played = play(folder / "demo", lambda done, total, text: None, strikes=strikes)
    store = open_store(played.settings)
    try:
        yield Shown(played, store)
    finally:
        store.close()


@pytest.fixture(scope="module")
def year() -> Record:
    """A month to train on, and the days that are played."""
    return step(load(), midnight(date(2013, 2, 1)), days()[DAYS])


@pytest.fixture(scope="module")
def calm(year: Record, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    yield from shortened(year, tmp_path_factory.mktemp("calm"), 0)


@pytest.fixture(scope="module")
def struck(year: Record, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    yield from shortened(year, tmp_path_factory.mktemp("struck"), 3)


def test_the_demos_project_has_no_mistakes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place.lay_out(tmp_path / "demo", strikes=0)
    monkeypatch.syspath_prepend(tmp_path / "demo")
    code = main(["check", "--project", str(tmp_path / "demo")])
    assert code == 0, capsys.readouterr().out
    assert "no mistakes found" in capsys.readouterr().out


def test_every_flight_is_scored_once(calm: Shown) -> None:
    scores, expected = calm.scores, calm.announced()
    assert scores["flight_id"].is_duplicated().sum() == 0
    assert expected.height > 10_000
    assert set(scores["flight_id"]) == set(expected["flight_id"])
    assert sum(shard.dead for shard in streams.shards(calm.store.database, "score")) == 0
    assert set(runs.counts(calm.store.database)) == {"succeeded"}


def test_live_predictions_are_those_of_a_batch_over_the_same_flights(calm: Shown) -> None:
    project = calm.played.project
    assert models.versions(calm.store.database, "delay")[0].version == 1
    model = calm.access.load_model(project.models["delay"], alias=None, version=1)
    rows = calm.access.read_source(project.streams["score"].source, Window(midnight(FIRST_DAY), days()[DAYS]))
    batch = rows.select("flight_id", again=predict(model, rows))
    both = calm.scores.join(batch, on="flight_id", how="full")
    assert both["p_late"].equals(both["again"].rename("p_late"))


def test_a_playback_that_was_struck_predicts_the_same_to_the_last_bit(calm: Shown, struck: Shown) -> None:
    assert struck.played.kills == 2
    assert struck.played.pauses == 1
    assert struck.scores.equals(calm.scores)


def test_a_prediction_is_traced_to_its_origins(calm: Shown) -> None:
    flight = calm.scores["flight_id"][5_000]
    found = trace(calm.store.database, calm.played.project, flight)
    assert flight in found.root.says[0]
    for kind in ("batch", "model", "run", "topic", "code"):
        assert found.find(kind) is not None, kind


@pytest.mark.parametrize("position", [100, 4_000, 9_000])
def test_features_do_not_change_when_all_that_is_known_later_is_not_in_the_topics(
    calm: Shown, position: int, tmp_path: Path
) -> None:
    moment: datetime = calm.announced().sort("announced")["announced"][position]
    past = EngineSqlStore(tmp_path / "past.db")
    try:
        fill(past, calm, moment)
        source = calm.played.project.streams["score"].source
        window = Window(moment, moment + timedelta(microseconds=1))
        then = access(calm.played, past).read_source(source, window).sort("flight_id")
        now = calm.access.read_source(source, window).sort("flight_id")
    finally:
        past.close()
    assert then.height > 0
    assert features(then).equals(features(now))
    assert features(now)["outcomes_count"].sum() > 0


def fill(store: EngineSqlStore, calm: Shown, moment: datetime) -> None:
    """Append what was known at the moment, and nothing else; two days are more than any join looks back."""
    rows = step(calm.played.record, moment - timedelta(days=2), moment + timedelta(microseconds=1))
    facts: list[Any] = []
    bodies: dict[int, bytes] = {}
    for name in EVENT_TIMES:
        for fact, body in prepare(calm.played.project.topics[name], getattr(rows, name), to_us(moment)):
            bodies[len(facts)] = body
            facts.append(fact)
    store.commit([Append("player", 0, tuple(facts), bodies)])
