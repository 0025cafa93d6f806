"""A monitor's window: predictions and late labels against the champion's reference, repeatable to the bit."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import polars as pl
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from access_rig import DAY_US, DELAY, FLIGHTS, OUTCOMES, SCORES, SOURCE, Rig, at

from headrace.data.window import Window
from headrace.definitions.project import MonitorDef, PerformanceLimit, StatLimit
from headrace.errors import SchemaError
from headrace.models.split import split
from headrace.runs.effects import JudgedWindow

WATCH = MonitorDef(
    "watch",
    "scores",
    "delay",
    7 * DAY_US,
    min_rows=50,
    drift={"x": StatLimit("unseen", 0.10)},
    performance=PerformanceLimit("auc", "p_late", below=0.66),
)
WEEK = Window.of(at(42), at(49))


def predict(model: float, rows: pl.DataFrame) -> pl.Series:
    return rows["x"] / 100


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """Forty days of flights and a champion; then a week that is scored."""
    rig = Rig(tmp_path)
    rig.fly(40)
    rig.complete("outcomes", at(42))
    access = rig.access("training")
    fit, test = split(access.examples(DELAY, SOURCE, Window("2013-01-01", "40d")), last="14d", by="_time")
    access.register(DELAY, 1.0, fit=fit, test=test, predict=predict)
    rig.accept(access)
    return rig


def score(rig: Rig, *, x: float = 0.0, label: bool = True, days: tuple[int, int] = (42, 49), good: bool = True) -> None:
    """A week of predictions; `x` shifts the feature, `good` says whether they are right."""
    n = (days[1] - days[0]) * 20
    xs = [float((i * 7919) % 100) for i in range(n)]
    times = pl.Series([at(days[0] + i / 20) for i in range(n)], dtype=pl.Datetime("us", "UTC"))
    ids = [f"s{days[0]}-{i}" for i in range(n)]
    p = [v / 100 if good else 1 - v / 100 for v in xs]
    rig.append(SCORES, pl.DataFrame({"flight_id": ids, "announced": times, "x": [v + x for v in xs], "p_late": p}))
    if label:
        late = [v > 55 for v in xs]
        frame = pl.DataFrame({"flight_id": ids, "late": late, "known": times})
        rig.append(OUTCOMES, frame.with_columns(pl.col("known") + pl.duration(hours=3)))
    rig.complete("outcomes", at(51))


def judge(rig: Rig, monitor: MonitorDef = WATCH, run: str = "monitor") -> JudgedWindow:
    access = rig.access(run)
    access.judge(monitor, WEEK)
    return access.effects.windows[0]


def test_a_quiet_week_crosses_nothing_and_says_its_numbers(rig: Rig) -> None:
    score(rig)
    judged = judge(rig)
    assert judged.judged
    assert judged.crossed == {"drift": False, "performance": False}
    assert (judged.n, judged.version_number, judged.window) == (140, 1, (at(42), at(49)))
    assert "unseen of x 0 is not above 0.1; auc 1 is not below 0.66 ±" in judged.why
    assert set(judged.judgement["statistics"]) == {"x", "prediction"}
    assert judged.judgement["performance"]["n"] == 140


def test_values_that_the_champion_has_not_seen_cross_the_drift_limit(rig: Rig) -> None:
    score(rig, x=500.0)
    judged = judge(rig)
    assert judged.crossed == {"drift": True, "performance": False}
    assert judged.judgement["statistics"]["x"]["unseen"] == 1.0


def test_bad_predictions_cross_the_performance_limit(rig: Rig) -> None:
    score(rig, good=False)
    assert judge(rig).crossed == {"drift": False, "performance": True}


def test_a_window_without_labels_is_not_judged_good(rig: Rig) -> None:
    score(rig, label=False)
    late = msgspec.structs.replace(DELAY, missing="late")
    rig.project.models["delay"] = late
    judged = judge(rig)
    assert judged.crossed == {"drift": False, "performance": None}
    assert "no row has a label; 0 rows; left out: 140 without 'late'" in judged.why


def test_a_mature_prediction_without_label_is_an_error(rig: Rig) -> None:
    score(rig, label=False)
    with pytest.raises(SchemaError, match="140 of 140 rows"):
        judge(rig)


def test_too_few_rows_are_not_judged(rig: Rig) -> None:
    score(rig, x=500.0)
    judged = judge(rig, msgspec.structs.replace(WATCH, min_rows=5_000))
    assert not judged.judged
    assert judged.crossed == {"drift": None, "performance": None}
    assert "140 rows, 5,000 are needed" in judged.why


def test_an_empty_window_and_a_model_without_champion_are_said_to_be_so(rig: Rig, tmp_path: Path) -> None:
    rig.complete("outcomes", at(51))
    assert judge(rig).why == "no predictions in the window"
    assert judge(Rig(tmp_path / "new")).why == "the model has no champion yet"


def test_predictions_about_times_before_the_cut_off_are_skipped(rig: Rig) -> None:
    score(rig)
    row = rig.holdings.model_version("delay", 1)
    with rig.store.database.write() as connection:
        connection.execute("UPDATE model_versions SET cutoff_us = ? WHERE version = ?", (at(45), row.version))
    judged = judge(rig)
    assert judged.n == 80
    assert "60 rows before the champion's cut-off are not judged" in judged.why
    with rig.store.database.write() as connection:
        connection.execute("UPDATE model_versions SET cutoff_us = ? WHERE version = ?", (at(99), row.version))
    assert "all 140 predictions lie before 2013-04-10T00:00Z, the cut-off of version 1" in judge(rig).why


def test_the_judgement_of_a_run_repeats_whatever_comes_later(rig: Rig) -> None:
    score(rig)
    first = judge(rig)
    rig.append(SCORES, [{"flight_id": "late", "announced": "2013-02-13", "x": 9e9, "p_late": 0.5}])
    rig.append(OUTCOMES, [{"flight_id": "s42-1", "late": False, "known": "2013-02-13T12:00Z"}])
    assert judge(rig) == first


def test_a_column_that_is_watched_must_be_there(rig: Rig) -> None:
    score(rig)
    with pytest.raises(SchemaError, match="watches 'temp', which the topic scores does not have"):
        judge(rig, msgspec.structs.replace(WATCH, drift={"temp": StatLimit("unseen", 0.1)}))
    with pytest.raises(SchemaError, match="reads predictions from 'p'"):
        judge(rig, msgspec.structs.replace(WATCH, performance=PerformanceLimit("auc", "p", below=0.5)))


def test_what_a_judgement_read_is_told(rig: Rig) -> None:
    score(rig)
    access = rig.access("monitor")
    access.judge(WATCH, WEEK)
    assert [(read.kind, read.name) for read in access.reads] == [
        ("model", "delay"),
        ("topic", "scores"),
        ("topic", "outcomes"),
    ]
    assert FLIGHTS.name not in {read.name for read in access.reads}
