from __future__ import annotations

import math

import numpy as np
import pytest

from headrace.errors import RefusedError, SchemaError
from headrace.models.evaluation import DAY_US, crossing_probability, gain, performance, se_by_days
from headrace.models.metrics import METRICS
from headrace.models.resampling import resampled


def flights(n: int = 3_000, days: int = 14, seed: int = 1) -> dict[str, np.ndarray]:
    """Flights whose lateness comes in days: a bad day is bad for all, and neither model knows it."""
    random = np.random.default_rng(seed)
    day = random.integers(0, days, n)
    skill = random.normal(size=n)
    late = (skill + random.normal(0, 1.0, days)[day] + random.normal(size=n)) > 0.8
    bias = random.normal(0, 0.8, days)[day]
    return {
        "late": late.astype(float),
        "champion": 1 / (1 + np.exp(-(0.6 * skill + random.normal(size=n) + bias))),
        "challenger": 1 / (1 + np.exp(-(0.9 * skill + random.normal(size=n)))),
        "time": day * DAY_US + random.integers(0, DAY_US, n),
    }


@pytest.mark.parametrize("name", METRICS)
def test_a_weighted_resample_equals_the_metric_on_the_repeated_rows(name: str) -> None:
    rows, metric = flights(400, days=5), METRICS[name]
    block = rows["time"] // DAY_US
    score = np.round(rows["champion"], 1)  # many ties
    weights = np.array([[1, 1, 1, 1, 1], [3, 0, 1, 0, 1], [0, 0, 0, 5, 0]], dtype=float)
    found = resampled(metric, rows["late"], score, block, weights)
    for value, weight in zip(found, weights, strict=True):
        repeated = np.repeat(np.arange(400), weight.astype(int)[block])
        assert value == pytest.approx(metric.of(rows["late"][repeated], score[repeated]), rel=1e-12)


def test_an_auc_resample_of_one_class_is_not_defined() -> None:
    block, weights = np.array([0, 0, 1]), np.array([[2.0, 0.0], [0.0, 2.0]])
    found = resampled(METRICS["auc"], np.array([0.0, 1.0, 1.0]), np.array([0.1, 0.2, 0.3]), block, weights)
    assert found[0] == 1.0
    assert math.isnan(found[1])


def test_the_gain_is_the_difference_on_the_same_rows_and_repeats_exactly() -> None:
    rows = flights()
    arguments = rows["late"], rows["champion"], rows["challenger"], rows["time"], "auc"
    found = gain(*arguments, seed=3)
    auc = METRICS["auc"].of
    assert found.gain == auc(rows["late"], rows["challenger"]) - auc(rows["late"], rows["champion"])
    assert (found.n, found.blocks) == (3_000, 14)
    assert found == gain(*arguments, seed=3)


def test_where_less_is_better_a_smaller_loss_is_a_gain() -> None:
    rows = flights()
    found = gain(rows["late"], rows["champion"], rows["challenger"], rows["time"], "log_loss", seed=3)
    assert found.challenger < found.champion
    assert found.gain == found.champion - found.challenger


def test_equal_predictions_have_no_gain_and_no_error() -> None:
    rows = flights()
    found = gain(rows["late"], rows["champion"], rows["champion"], rows["time"], "auc", seed=3)
    assert (found.gain, found.se) == (0.0, 0.0)


def test_the_error_by_days_is_larger_than_by_rows_where_rows_of_a_day_are_alike() -> None:
    rows = flights(20_000)
    by_days = se_by_days(rows["late"], rows["champion"], rows["time"], "auc", seed=1)
    each_row_its_day = np.arange(20_000) * DAY_US
    sample = slice(0, 20_000, 10)
    by_rows = se_by_days(rows["late"][sample], rows["champion"][sample], each_row_its_day[sample], "auc", seed=1)
    assert by_days is not None
    assert by_rows is not None
    assert by_days > 3 * by_rows / math.sqrt(10)


def test_the_error_of_a_mean_by_days_is_the_textbook_one() -> None:
    random = np.random.default_rng(2)
    day = np.repeat(np.arange(50), 20)
    error = np.repeat(random.normal(size=50), 20)  # all rows of a day are one observation
    found = se_by_days(np.zeros(1_000), error, day * DAY_US, "mae", seed=1, resamples=4_000)
    assert found == pytest.approx(np.abs(error[::20]).std(ddof=1) / math.sqrt(50), rel=0.05)


def test_with_a_single_day_nobody_can_say_the_error() -> None:
    found = gain([0, 1, 1], [0.2, 0.1, 0.9], [0.1, 0.5, 0.9], [1, 2, 3], "auc", seed=1)
    assert (found.se, found.blocks, found.within_noise) == (None, 1, True)


def test_rows_before_the_champions_cutoff_are_left_out() -> None:
    rows = flights()
    found = gain(rows["late"], rows["champion"], rows["challenger"], rows["time"], "auc", seed=1, cutoff_us=10 * DAY_US)
    kept = rows["time"] >= 10 * DAY_US
    assert (found.n, found.blocks) == (kept.sum(), 4)
    assert found.champion == METRICS["auc"].of(rows["late"][kept], rows["champion"][kept])


def test_a_row_at_the_cutoff_is_compared() -> None:
    found = gain([0, 0, 1], [0.2, 0.3, 0.1], [0.1, 0.2, 0.5], [4, 5, 6], "auc", seed=1, cutoff_us=5)
    assert found.n == 2


def test_without_a_row_after_the_champions_cutoff_there_is_no_comparison() -> None:
    rows = flights()
    with pytest.raises(RefusedError, match="at or after the champion's cut-off"):
        gain(rows["late"], rows["champion"], rows["challenger"], rows["time"], "auc", seed=1, cutoff_us=99 * DAY_US)


def test_a_test_span_of_one_class_gives_no_auc() -> None:
    with pytest.raises(RefusedError, match="all labels are equal"):
        gain([1, 1], [0.1, 0.2], [0.3, 0.4], [1, 2], "auc", seed=1)


def test_event_times_of_other_rows_are_refused() -> None:
    with pytest.raises(SchemaError, match="one event time per row"):
        performance([0, 1], [0.1, 0.2], [1], "auc", seed=1)


def test_performance_carries_value_error_and_counts() -> None:
    rows = flights()
    found = performance(rows["late"], rows["champion"], rows["time"], "auc", seed=1)
    assert found is not None
    assert found.value == METRICS["auc"].of(rows["late"], rows["champion"])
    assert found.se == se_by_days(rows["late"], rows["champion"], rows["time"], "auc", seed=1)
    assert (found.n, found.blocks) == (3_000, 14)


def test_performance_of_no_rows_and_of_one_class_has_no_value() -> None:
    assert performance([], [], [], "auc", seed=1) is None
    one_class = performance([1.0, 1.0], [0.1, 0.2], [1, 2], "auc", seed=1)
    assert one_class is not None
    assert one_class.value is None


def test_crossing_probability_grows_with_the_limit_and_with_shorter_windows() -> None:
    rows = flights(20_000)
    arguments = rows["late"], rows["champion"], rows["time"], "auc"
    value = METRICS["auc"].of(rows["late"], rows["champion"])
    at = {limit: crossing_probability(*arguments, value + limit, side="below", seed=1) for limit in (-0.2, 0.0, 0.2)}
    assert (at[-0.2], at[0.2]) == (0.0, 1.0)
    assert 0.3 < at[0.0] < 0.7
    se = se_by_days(*arguments, seed=1) or 0.0
    week = crossing_probability(*arguments, value - 1.5 * se, side="below", seed=1, days=7)
    assert week > crossing_probability(*arguments, value - 1.5 * se, side="below", seed=1) > 0.0


def test_crossing_above_and_below_are_complements() -> None:
    rows = flights()
    arguments = rows["late"], rows["champion"], rows["time"], "log_loss", 0.7
    below, above = (crossing_probability(*arguments, side=side, seed=4) for side in ("below", "above"))
    assert below + above == pytest.approx(1.0)
