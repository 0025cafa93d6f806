from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import SchemaError
from headrace.models.metrics import METRICS, accuracy, auc, log_loss, mae, metric_named, rmse

scored = st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.2, 0.25, 0.5, 0.9, 1.0])), min_size=1, max_size=40)


@given(scored)
def test_auc_is_the_share_of_pairs_in_the_right_order_ties_counting_half(rows: list[tuple[bool, float]]) -> None:
    positives = [p for late, p in rows if late]
    negatives = [p for late, p in rows if not late]
    pairs = [(a > b) + 0.5 * (a == b) for a in positives for b in negatives]
    found = auc([late for late, _ in rows], [p for _, p in rows])
    assert found == pytest.approx(np.mean(pairs)) if pairs else math.isnan(found)


def test_auc_of_a_published_example() -> None:
    # Fawcett, "An introduction to ROC analysis" (2006), figure 3: 20 instances, area 0.68.
    ranked = [1, 1, 0, 1, 1, 1, 0, 0, 1, 0, 1, 0, 1, 0, 0, 0, 1, 0, 1, 0]
    assert auc(ranked, np.arange(20)[::-1]) == pytest.approx(0.68)


def test_auc_depends_on_the_ranking_alone() -> None:
    random = np.random.default_rng(1)
    late, score = random.integers(0, 2, 500), random.random(500)
    assert auc(late, score) == auc(late, np.exp(5 * score))
    assert auc(late, score) == pytest.approx(1 - auc(late, -score))


def test_log_loss_of_a_certain_error_is_finite() -> None:
    assert log_loss([1], [0.0]) == pytest.approx(36.04, abs=0.01)
    assert log_loss([1, 0], [0.5, 0.5]) == pytest.approx(math.log(2))


def test_the_simple_metrics_on_values_worked_out_by_hand() -> None:
    assert accuracy([True, False, True], [0.5, 0.5, 0.1]) == pytest.approx(1 / 3)
    assert rmse([1.0, 2.0, 3.0], [1.0, 2.0, 6.0]) == pytest.approx(math.sqrt(3))
    assert mae([1.0, 2.0, 3.0], [1.0, 2.0, 6.0]) == 1.0


@pytest.mark.parametrize("metric", METRICS.values(), ids=list(METRICS))
def test_a_better_prediction_has_a_gain(metric) -> None:
    label = [0, 1, 0, 1, 1]
    worse, better = metric.of(label, [0.9, 0.2, 0.4, 0.3, 0.8]), metric.of(label, [0.1, 0.9, 0.2, 0.7, 0.8])
    assert metric.gain(worse, better) > 0 > metric.gain(better, worse)


@pytest.mark.parametrize(
    ("label", "prediction", "message"),
    [
        ([0, 1], [0.5], "equal length"),
        ([], [], "equal length"),
        ([0, None], [0.1, 0.2], "1 of 2 values of the label are missing"),
        ([0, 1], [0.1, math.nan], "values of the prediction are missing"),
        ([0, 2], [0.1, 0.2], "expected labels 0 and 1; got 2"),
    ],
)
def test_columns_that_do_not_fit_are_refused(label: list, prediction: list, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        auc(label, prediction)


def test_an_unknown_metric_is_answered_with_those_there_are() -> None:
    with pytest.raises(SchemaError, match="auc, log_loss, accuracy, rmse, mae"):
        metric_named("f1")
