from __future__ import annotations

import msgspec
import numpy as np
import pytest

from headrace.drift.histogram import Histogram
from headrace.drift.judge import DriftLimit, Judgement, Limit, Performance, PerformanceLimit, judge
from headrace.errors import SchemaError

WINTER = np.arange(-10.0, 10.0, 0.01)
REFERENCES = {"temp": Histogram.freeze(WINTER), "carrier": Histogram.freeze(["AA", "DL"])}
NEW_TEMP = DriftLimit("temp", "unseen", 0.10)
LOW_AUC = PerformanceLimit("auc", 0.66, "below")


def window(temp: np.ndarray, *limits: Limit, min_rows: int = 10, performance: Performance | None = None) -> Judgement:
    current = {"temp": temp, "carrier": np.array(["AA"] * len(temp)), "ignored": np.zeros(len(temp))}
    return judge(REFERENCES, current, limits=limits, min_rows=min_rows, performance=performance)


def measured(value: float | None, n: int = 100) -> Performance:
    return Performance("auc", value, 0.03, n, 7)


def test_all_statistics_of_all_columns_are_shown_without_any_limit() -> None:
    judgement = window(WINTER)
    assert set(judgement.statistics) == {"temp", "carrier"}
    assert set(judgement.statistics["temp"]) == {"unseen", "psi", "wasserstein", "missing"}
    assert judgement.statistics["carrier"]["wasserstein"] is None
    assert judgement.n == sum(judgement.counts["temp"]) == WINTER.size


def test_a_limit_is_crossed_only_beyond_it() -> None:
    warm, mixed = np.full(20, 30.0), np.r_[np.zeros(18), 30.0, 30.0]
    assert window(warm, NEW_TEMP).findings[0].crossed
    assert window(mixed, NEW_TEMP).findings[0].value == 0.10
    assert not window(mixed, NEW_TEMP).findings[0].crossed


def test_the_reason_of_a_crossing_names_value_and_limit() -> None:
    assert window(np.full(20, 30.0), NEW_TEMP).findings[0].reason == "unseen of temp 1 is above 0.1"


def test_a_window_with_too_few_rows_is_measured_but_not_judged() -> None:
    finding = window(np.full(9, 30.0), NEW_TEMP).findings[0]
    assert (finding.value, finding.judged, finding.crossed) == (1.0, False, False)
    assert finding.reason == "unseen of temp: 9 rows, 10 are needed"


def test_a_window_without_labels_does_not_count_as_good() -> None:
    judgement = window(WINTER, LOW_AUC)
    assert judgement.crossed("performance") is None
    assert judgement.findings[0].reason == "auc: no row has a label"


def test_few_labels_are_not_judged_though_there_are_enough_rows() -> None:
    judgement = window(WINTER, LOW_AUC, performance=measured(0.5, n=9))
    assert judgement.crossed("performance") is None
    assert judgement.findings[0].value == 0.5


@pytest.mark.parametrize(("value", "crossed"), [(0.65, True), (0.66, False), (None, None)])
def test_performance_is_held_against_its_limit(value: float | None, crossed: bool | None) -> None:
    assert window(WINTER, LOW_AUC, performance=measured(value)).crossed("performance") is crossed


def test_one_crossed_limit_of_several_is_a_crossing_and_kinds_are_apart() -> None:
    judgement = window(np.full(20, 30.0), NEW_TEMP, DriftLimit("carrier", "unseen", 0.1), LOW_AUC)
    assert judgement.crossed("drift") is True
    assert judgement.crossed("performance") is None


def test_without_a_limit_of_a_kind_nothing_is_said_about_it() -> None:
    assert window(WINTER, LOW_AUC, performance=measured(0.7)).crossed("drift") is None


def test_a_statistic_that_is_not_defined_is_not_judged() -> None:
    finding = window(np.full(20, np.nan), DriftLimit("temp", "psi", 0.25)).findings[0]
    assert (finding.judged, finding.value) == (False, None)


@pytest.mark.parametrize("limit", [DriftLimit("wind", "unseen", 0.1), DriftLimit("temp", "magic", 0.1)])
def test_a_limit_on_what_does_not_exist_is_refused(limit: DriftLimit) -> None:
    with pytest.raises(SchemaError, match="no reference for"):
        window(WINTER, limit)


def test_a_column_that_is_gone_is_named() -> None:
    with pytest.raises(SchemaError, match="temp"):
        judge(REFERENCES, {"carrier": np.array(["AA"])}, limits=(), min_rows=1)


def test_a_column_of_another_type_is_named() -> None:
    with pytest.raises(SchemaError, match="temp: expected numbers"):
        window(np.array(["warm"]))


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(SchemaError, match="equal length"):
        judge(REFERENCES, {"temp": WINTER, "carrier": np.array(["AA"])}, limits=(), min_rows=1)


def test_a_judgement_survives_json() -> None:
    judgement = window(WINTER, NEW_TEMP, LOW_AUC, performance=measured(0.6))
    assert msgspec.json.decode(msgspec.json.encode(judgement), type=Judgement) == judgement
