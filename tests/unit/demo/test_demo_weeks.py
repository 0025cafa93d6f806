"""Windows cover the year, and the statistics have the values that their definitions give."""

from __future__ import annotations

import math
from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from headrace.demo import weeks
from headrace.demo.record import midnight


def test_windows_follow_each_other_from_march_to_january() -> None:
    found = weeks.windows()
    assert (len(found), found[0].day, found[-1].day) == (44, date(2013, 3, 1), date(2013, 12, 27))
    assert all(before.end == after.start for before, after in pairwise(found))
    assert found[1].end - found[1].start == timedelta(days=7, hours=-1)  # summer time begins


def test_every_scored_flight_is_in_one_window(live: pl.DataFrame) -> None:
    sizes = [weeks.within(live, week.start, week.end).height for week in weeks.windows()]
    assert sum(sizes) == 284_821
    assert [size for size in sizes if size < weeks.MIN_ROWS] == [4_409]


def test_auc_is_the_share_of_pairs_in_the_right_order() -> None:
    rng = np.random.default_rng(1)
    late, p_late = rng.random(200) < 0.3, rng.integers(0, 20, 200) / 20
    pairs = np.sign(p_late[late][:, None] - p_late[~late][None, :])
    assert weeks.auc(pl.Series(late), pl.Series(p_late)) == pytest.approx((pairs.mean() + 1) / 2)


def test_auc_of_one_class_is_not_a_number() -> None:
    assert math.isnan(weeks.auc(pl.Series([True, True]), pl.Series([0.1, 0.2])))


def test_what_is_new_is_unseen_and_what_is_equal_has_no_psi() -> None:
    reference = weeks.Reference.of(pl.Series(range(1_001)).cast(pl.Float64))
    assert (reference.low, reference.high) == (5.0, 995.0)
    assert reference.unseen(pl.Series([0.0, 500.0, None, 2_000.0, 600.0])) == 0.5
    assert reference.psi(pl.Series(range(1_000)).cast(pl.Float64)) == pytest.approx(0, abs=1e-3)
    assert reference.psi(pl.Series([2_000.0] * 10)) == pytest.approx(8.29, abs=0.01)


def test_psi_alarms_also_inside_the_reference(live: pl.DataFrame) -> None:
    days = [midnight(date(2013, 1, 1) + timedelta(days=7 * n)) for n in range(9)]
    winter = weeks.within(live, days[0], midnight(date(2013, 3, 1)))
    values: list[float] = []
    for start, end in pairwise(days):
        inside = pl.col("announced").is_between(start, end, closed="left")
        others = weeks.Reference.of(winter.filter(~inside)["temp"])
        values.append(others.psi(winter.filter(inside)["temp"]))
    assert sum(value > 0.25 for value in values) == 7
