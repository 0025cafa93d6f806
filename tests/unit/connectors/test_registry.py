"""A model becomes a version: with the evidence against the champion, its histograms, and golden rows that hold it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from access_rig import DAY_US, DELAY, SOURCE, Rig, at

from headrace.connectors import predicting, registry, versions
from headrace.data.window import Window
from headrace.definitions.project import MonitorDef, PerformanceLimit
from headrace.drift.histogram import Histogram
from headrace.errors import CodecError, ProjectError, RefusedError, SchemaError, StoreError
from headrace.models.split import split
from headrace.runs.effects import RegisteredModel

seen_columns: list[list[str]] = []


def predict(model: dict[str, float], rows: pl.DataFrame) -> pl.Series:
    """Late where x is large: `slope` says how well the model knows that, in 0..1."""
    seen_columns.append(rows.columns)
    return rows["x"] / 100 * model["slope"] + (1 - model["slope"]) * ((rows["x"] * 37) % 100) / 100


def broken(model: dict[str, float], rows: pl.DataFrame) -> pl.Series:
    raise ZeroDivisionError("this code does not run any more")


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path)
    rig.fly(40)
    rig.complete("outcomes", at(60))
    return rig


def rows_of(rig: Rig, days: str = "40d") -> tuple[pl.DataFrame, pl.DataFrame]:
    rows = rig.access("reader").examples(DELAY, SOURCE, Window("2013-01-01", days))
    return split(rows, last="14d", by="_time")


def register(
    rig: Rig, slope: float = 1.0, days: str = "40d", fn: Any = predict, run: str = "r1"
) -> tuple[int, RegisteredModel]:
    fit, test = rows_of(rig, days)
    access = rig.access(run)
    number = access.register(DELAY, {"slope": slope}, fit=fit, test=test, predict=fn)
    return number, access.effects.models[0]


def test_the_first_version_has_nobody_to_be_compared_with(rig: Rig) -> None:
    number, new = register(rig)
    assert (number, new.against, new.gain) == (1, 0, None)
    assert (new.rows_fit, new.rows_test) == (len(rows_of(rig)[0]), len(rows_of(rig)[1]))
    assert new.cutoff_us == int(rows_of(rig)[1]["_time"].to_physical().min())  # type: ignore[arg-type]
    assert new.predict.endswith("test_registry:predict")
    assert new.metrics["auc"] > 0.8
    assert 0 < new.metrics["auc_se"] < 0.1


def test_predict_sees_neither_label_nor_event_time(rig: Rig) -> None:
    seen_columns.clear()
    register(rig)
    assert seen_columns == [["announced", "flight_id", "origin", "x", "temp"]]


def test_a_challenger_is_scored_on_the_same_rows_as_the_champion_after_its_cut_off(rig: Rig) -> None:
    _, first = register(rig, slope=0.3, days="30d")
    rig.crown(first)
    number, second = register(rig, slope=1.0, run="r2")
    assert (number, second.against) == (2, 1)
    _, test = rows_of(rig)
    after = test.filter(pl.col("_time").to_physical() >= first.cutoff_us)
    gain = second.gain
    assert gain is not None
    assert gain.n == len(after)
    assert gain.gain == pytest.approx(gain.challenger - gain.champion)
    assert gain.gain > 0.1
    assert gain.blocks == 15  # fourteen days back from the newest row, so that the first day is not whole


def test_evidence_is_the_same_again(rig: Rig) -> None:
    rig.crown(register(rig, slope=0.3)[1])
    one, two = register(rig, run="r2")[1], register(rig, run="r2")[1]
    same = ("gain", "metrics", "digest", "reference", "cutoff_us")
    assert [getattr(one, name) for name in same] == [getattr(two, name) for name in same]


def test_a_champion_that_does_not_run_any_more_is_not_taken_for_none(rig: Rig) -> None:
    rig.crown(register(rig, slope=0.3)[1])
    rig.crown(msgspec.structs.replace(register(rig)[1], predict="nowhere:gone"))
    _, new = register(rig, run="r2")
    assert new.against == 0  # the engine rejects what was compared with another than the champion
    assert new.gain is None
    assert "version 2 cannot be compared with: NotFoundError" in new.problem


def test_a_store_that_refuses_is_no_evidence_against_a_version(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.crown(register(rig, slope=0.3)[1])

    def refuses(*_: object) -> None:
        raise StoreError("the disk refuses")

    monkeypatch.setattr("headrace.connectors.registry.versions.score", refuses)
    with pytest.raises(StoreError):
        register(rig, run="r2")


def test_rows_before_the_champions_cut_off_cannot_compare(rig: Rig) -> None:
    _, first = register(rig, days="40d")
    rig.crown(msgspec.structs.replace(first, cutoff_us=at(100)))
    assert "at or after the champion's cut-off" in register(rig, run="r2")[1].problem


def test_histograms_are_of_fit_and_those_of_predictions_of_test(rig: Rig) -> None:
    _, new = register(rig)
    rig.crown(new)
    references = rig.holdings.reference("delay", 1)
    fit, test = rows_of(rig)
    assert sorted(references) == ["origin", "prediction", "temp", "x"]
    assert references["x"].rows == len(fit)
    assert references["temp"].missing == len(fit)
    assert references["prediction"].rows == len(test)


@pytest.mark.parametrize(
    "values",
    [
        ["b", "a", None, "b"],
        [None, None],
        ["x"],
        [str(n % 1500) for n in range(4000)],
        [True, None, False],
        [1, 2, None],
        [1.5, float("nan"), 2.0],
    ],
)
def test_a_column_is_frozen_as_the_histogram_itself_would(values: list[Any]) -> None:
    column = pl.Series(values, dtype=pl.String if values[0] is None else None, strict=False)
    assert registry.frozen(column) == Histogram.freeze(column.to_numpy())


def test_the_noise_of_a_monitors_limit_is_measured(rig: Rig) -> None:
    limit = PerformanceLimit("auc", "p_late", below=0.2)
    rig.project.monitors["watch"] = MonitorDef("watch", "scores", "delay", 7 * DAY_US, performance=limit)
    assert register(rig)[1].metrics["watch:false_alarms"] == 0.0


@pytest.mark.parametrize("fn", [lambda model, rows: rows["x"], (lambda: lambda model, rows: rows["x"])()])
def test_a_predict_that_nobody_could_find_again_is_refused(rig: Rig, fn: Any) -> None:
    with pytest.raises(ProjectError, match="cannot be found again"):
        register(rig, fn=fn)


def test_test_rows_that_are_not_later_are_refused(rig: Rig) -> None:
    fit, test = rows_of(rig)
    with pytest.raises(ProjectError, match="must be later than every row of `fit`"):
        rig.access().register(DELAY, {"slope": 1.0}, fit=test, test=fit, predict=predict)


def test_rows_without_event_time_or_label_are_refused(rig: Rig) -> None:
    fit, test = rows_of(rig)
    with pytest.raises(SchemaError, match="the rows have no '_time'"):
        rig.access().register(DELAY, {"slope": 1.0}, fit=fit, test=test.drop("_time"), predict=predict)
    with pytest.raises(SchemaError, match="the label 'late' is not there"):
        rig.access().register(DELAY, {"slope": 1.0}, fit=fit, test=test.drop("late"), predict=predict)


def test_a_column_named_as_the_prediction_is_refused(rig: Rig) -> None:
    fit, test = rows_of(rig)
    with pytest.raises(SchemaError, match="the rows have a column 'prediction'"):
        rig.access().register(DELAY, {"slope": 1.0}, fit=fit, test=test.rename({"x": "prediction"}), predict=predict)


@pytest.mark.parametrize(
    ("said", "message"),
    [([1.0], "for 3 rows"), ([1.0, None, 2.0], "no number for 1 of 3 rows"), (["a", "b", "c"], "object")],
)
def test_predictions_are_one_number_a_row(said: list[Any], message: str) -> None:
    rows = pl.DataFrame({"x": [1, 2, 3]})
    with pytest.raises(SchemaError, match=message):
        predicting.predictions(lambda model, rows: pl.Series(said), None, rows, "a test")


# -- loading -----------------------------------------------------------------------------------------------------------


def test_a_version_loads_with_its_predict_and_passes_its_golden_rows(rig: Rig) -> None:
    rig.crown(register(rig)[1])
    model, fn = versions.load_version(rig.holdings, rig.holdings.model_version("delay", 1))
    assert (model, fn) == ({"slope": 1.0}, predict)
    assert rig.access("r9").load_model(DELAY, alias=None, version=1) == {"slope": 1.0}


def test_a_version_that_says_something_else_now_is_refused(rig: Rig) -> None:
    better, worse = register(rig)[1], register(rig, slope=0.5)[1]
    rig.crown(msgspec.structs.replace(worse, golden=better.golden))
    row = rig.holdings.model_version("delay", 1)
    with pytest.raises(RefusedError, match="says something else than when it was registered"):
        versions.load_version(rig.holdings, row)


def test_damaged_golden_rows_are_found_before_they_are_read(rig: Rig) -> None:
    rig.crown(register(rig)[1])
    row = rig.holdings.model_version("delay", 1)
    rig.holdings.files.locate(row.golden or "").write_bytes(b"something else")
    with pytest.raises(CodecError, match="not those that were written"):
        versions.load_version(rig.holdings, row)


def test_golden_rows_are_spread_over_all_of_test(rig: Rig) -> None:
    frame = pl.DataFrame({"n": range(1003)})
    path = versions.write_golden(rig.holdings, frame, np.arange(1003.0), "r/t/0/1-1")
    kept = pl.read_ipc(rig.holdings.files.locate(path).read_bytes())
    assert len(kept) == versions.GOLDEN_ROWS
    assert kept["n"][-1] > 900


def test_the_champion_of_a_run_stays_its_champion(rig: Rig) -> None:
    rig.crown(register(rig, slope=0.3)[1])
    assert rig.access("r5").load_model(DELAY, alias="champion", version=None)["slope"] == 0.3
    rig.crown(register(rig, slope=1.0)[1])
    assert rig.access("r5").load_model(DELAY, alias="champion", version=None)["slope"] == 0.3
    assert rig.access("r6").load_model(DELAY, alias=None, version=None)["slope"] == 1.0


# -- another code version ----------------------------------------------------------------------------------------------

OLD_CODE = """
def predict(model, rows):
    print("scoring in the old code")
    return rows["x"] / 100 * model["slope"]

def fails(model, rows):
    raise ValueError("old and broken")
"""


@pytest.mark.process
def test_a_champion_of_other_code_is_scored_there_in_a_process_of_its_own(rig: Rig) -> None:
    old = rig.folder / "code" / "c0"
    old.mkdir(parents=True)
    (old / "oldflights.py").write_text(OLD_CODE)
    first = msgspec.structs.replace(register(rig, slope=0.5)[1], predict="oldflights:predict")
    rig.crown(first, code="c0")
    row = rig.holdings.model_version("delay", 1)
    frame = pl.DataFrame({"x": [1.0, 50.0]})
    assert versions.score(rig.holdings, row, frame).tolist() == [0.005, 0.25]
    assert "oldflights" not in sys.modules
    assert register(rig, run="r2")[1].against == 1

    rig.crown(msgspec.structs.replace(first, predict="oldflights:fails"), code="c0")
    with pytest.raises(RefusedError, match="ValueError: old and broken"):
        versions.score(rig.holdings, rig.holdings.model_version("delay", 2), frame)


def test_a_champion_whose_code_is_gone_is_scored_here_if_its_golden_rows_hold(rig: Rig) -> None:
    better, worse = register(rig)[1], register(rig, slope=0.5)[1]
    rig.crown(better, code="gone")
    frame = pl.DataFrame({"x": [50.0]})
    assert versions.score(rig.holdings, rig.holdings.model_version("delay", 1), frame).tolist() == [0.5]
    rig.crown(msgspec.structs.replace(worse, golden=better.golden), code="gone")
    with pytest.raises(RefusedError, match="says something else"):
        versions.score(rig.holdings, rig.holdings.model_version("delay", 2), frame)


def test_outside_a_run_no_version_is_registered(rig: Rig) -> None:
    fit, test = rows_of(rig)
    with pytest.raises(RefusedError, match="registered by a run"):
        rig.here().register(DELAY, {"slope": 1.0}, fit=fit, test=test, predict=predict)
