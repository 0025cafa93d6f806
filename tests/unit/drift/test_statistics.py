from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.drift.histogram import Histogram
from headrace.drift.missing import missing
from headrace.drift.psi import psi
from headrace.drift.statistics import STATISTICS, Statistic
from headrace.drift.unseen import unseen
from headrace.drift.wasserstein import wasserstein
from headrace.errors import SchemaError

every = pytest.mark.parametrize("statistic", STATISTICS.values(), ids=list(STATISTICS))
floats = st.lists(st.floats(-100, 100), min_size=2, max_size=60)


def shares(*percent: int) -> list[int]:
    return [category for category, count in enumerate(percent) for _ in range(count)]


# Laws: they run on every statistic in the table.


@every
def test_a_statistic_does_not_depend_on_the_order_of_rows(statistic: Statistic) -> None:
    rows = np.random.default_rng(3).normal(1.0, 2.0, 500)
    reference = Histogram.freeze(np.random.default_rng(4).normal(0.0, 1.0, 500))
    assert statistic(reference, reference.like(rows)) == statistic(reference, reference.like(rows[::-1]))


@every
def test_a_statistic_is_small_on_the_reference_itself(statistic: Statistic) -> None:
    reference = Histogram.freeze(np.random.default_rng(5).normal(0.0, 1.0, 2_000))
    assert abs(statistic(reference, reference)) <= 0.01


@every
def test_a_statistic_of_no_rows_is_not_defined(statistic: Statistic) -> None:
    reference = Histogram.freeze([1.0, 2.0])
    assert math.isnan(statistic(reference, reference.like([])))


@every
def test_a_statistic_refuses_other_bins(statistic: Statistic) -> None:
    with pytest.raises(SchemaError):
        statistic(Histogram.freeze([1.0, 2.0]), Histogram.freeze([1.0, 5.0]))


@every
@given(values=floats, rows=floats)
def test_a_statistic_is_a_finite_number_or_not_defined(
    statistic: Statistic, values: list[float], rows: list[float]
) -> None:
    reference = Histogram.freeze(values)
    assert not math.isinf(statistic(reference, reference.like(rows)))


# Published and hand-computed values.


@pytest.mark.parametrize(
    ("expected", "actual", "value"),
    [
        ((50, 50), (60, 40), 0.0405465),
        ((50, 50), (70, 30), 0.1694596),
        ((10,) * 10, (8, 8, 9, 9, 10, 10, 11, 11, 12, 12), 0.0202320),
        ((25,) * 4, (40, 30, 20, 10), 0.2282174),
    ],
)
def test_psi_of_known_shares(expected: tuple[int, ...], actual: tuple[int, ...], value: float) -> None:
    reference = Histogram.freeze(shares(*expected))
    assert psi(reference, reference.like(shares(*actual))) == pytest.approx(value, abs=5e-8)


def test_psi_without_drift_has_the_mean_that_theory_gives() -> None:
    random = np.random.default_rng(7)
    found = []
    for _ in range(300):
        reference = Histogram.freeze(random.integers(0, 10, 1_000))
        found.append(psi(reference, reference.like(random.integers(0, 10, 1_000))))
    assert np.mean(found) == pytest.approx(9 * (1 / 1_000 + 1 / 1_000), rel=0.1)


def test_psi_of_disjoint_samples_is_at_its_limit() -> None:
    reference = Histogram.freeze([1.0])
    assert psi(reference, reference.like([2.0])) == pytest.approx(2 * 0.9999 * math.log(1e4))


@pytest.mark.parametrize("shift", [0.1, 0.5, 1.0])
def test_wasserstein_of_a_shifted_normal_is_the_shift_in_standard_deviations(shift: float) -> None:
    rows = np.random.default_rng(1).normal(10.0, 4.0, 100_000)
    reference = Histogram.freeze(rows)
    assert wasserstein(reference, reference.like(rows + 4.0 * shift)) == pytest.approx(shift, rel=0.04)


def test_wasserstein_stops_growing_beyond_the_edges_and_unseen_says_so() -> None:
    reference = Histogram.freeze(np.arange(1_000.0))
    far, farther = reference.like([2_000.0]), reference.like([9_000.0])
    assert wasserstein(reference, far) == wasserstein(reference, farther)
    assert unseen(reference, far) == unseen(reference, farther) == 1.0


def test_wasserstein_where_distribution_functions_cross_is_two_triangles() -> None:
    # Gaps 0, 1/3, -1/3, 0 at the edges 0, 0.5, 1.5, 2: areas 1/12, 1/6 and 1/12.
    reference = Histogram.freeze([0.0, 1.0, 2.0])
    assert wasserstein(reference, reference.like([1.0])) * reference.sd == pytest.approx(1 / 3)


def test_wasserstein_is_not_defined_for_categories_and_constants() -> None:
    carriers, constant = Histogram.freeze(["AA", "DL"]), Histogram.freeze([2.0, 2.0])
    assert math.isnan(wasserstein(carriers, carriers))
    assert math.isnan(wasserstein(constant, constant))


def test_unseen_counts_new_categories_and_leaves_missing_rows_in_the_denominator() -> None:
    carriers = Histogram.freeze(["AA", "DL"])
    assert unseen(carriers, carriers.like(["AA", "B6", None, "DL"])) == 0.25


def test_unseen_is_silent_where_values_move_inside_what_was_known() -> None:
    random = np.random.default_rng(2)
    year = Histogram.freeze(random.normal(15.0, 10.0, 10_000))
    august = year.like(random.normal(25.0, 3.0, 1_000))
    assert psi(year, august) > 1.0
    assert unseen(year, august) < 0.01


def test_missing_is_the_change_of_the_rate() -> None:
    gust = Histogram.freeze([1.0, None, None, None])
    assert missing(gust, gust.like([None, None])) == 0.25
    assert missing(gust, gust.like([1.0, 2.0])) == -0.75
