"""Histograms merge like counts, and the statistics are their definitions, computed the long way by exact fractions."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import msgspec
import numpy as np
import pytest
from depth import examples
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from headrace.drift.histogram import Histogram
from headrace.drift.missing import missing
from headrace.drift.psi import psi
from headrace.drift.unseen import unseen
from headrace.drift.wasserstein import wasserstein

FLOATS = st.floats(-1e6, 1e6) | st.sampled_from((0.0, -0.0, 1.0, 2.0, 1e-300, 5e-324))
WILD = st.floats() | st.integers(-(2**70), 2**70) | st.none()
MANY = st.lists(FLOATS, min_size=1, max_size=120)
NAMES = st.sampled_from(("AA", "DL", "", "None", "nan", "é", "0"))


@st.composite
def references(draw: st.DrawFn) -> Histogram:
    return Histogram.freeze(draw(MANY | st.lists(NAMES, min_size=1) | st.lists(st.booleans(), min_size=1)))


def rows_for(reference: Histogram) -> st.SearchStrategy[list[Any]]:
    return st.lists(WILD | FLOATS if reference.kind == "numeric" else NAMES | st.none(), max_size=40)


class Shards(RuleBasedStateMachine):
    """Rows counted in pieces, merged in any order and sent through JSON: always the counts of all rows at once."""

    @initialize(reference=references())
    def begin(self, reference: Histogram) -> None:
        self.reference = reference
        self.pieces: list[tuple[list[Any], Histogram]] = [([], reference.like([]))]

    @rule(data=st.data())
    def a_shard_counts(self, data: st.DataObject) -> None:
        rows = data.draw(rows_for(self.reference))
        self.pieces.append((rows, self.reference.like(rows)))

    @rule(data=st.data())
    def two_are_merged(self, data: st.DataObject) -> None:
        one = self.pieces.pop(data.draw(st.integers(0, len(self.pieces) - 1)))
        other = (
            self.pieces.pop(data.draw(st.integers(0, len(self.pieces) - 1))) if self.pieces else ([], one[1].like([]))
        )
        assert one[1].merge(other[1]) == other[1].merge(one[1])
        self.pieces.append((one[0] + other[0], one[1].merge(other[1])))

    @rule(data=st.data())
    def one_is_stored_and_read(self, data: st.DataObject) -> None:
        at = data.draw(st.integers(0, len(self.pieces) - 1))
        rows, counted = self.pieces[at]
        back = msgspec.json.decode(msgspec.json.encode(counted), type=Histogram)
        assert back == counted
        self.pieces[at] = (rows, back)

    @invariant()
    def each_piece_is_the_count_of_its_rows(self) -> None:
        if hasattr(self, "pieces"):
            for rows, counted in self.pieces:
                assert counted == self.reference.like(rows)
                assert counted.rows == len(rows)
                assert counted.present + counted.missing == len(rows)


TestShards = Shards.TestCase
TestShards.settings = examples(20, steps=12)


@examples(80)
@given(MANY, st.data())
def test_each_number_is_counted_where_the_docstring_says(values: list[float], data: st.DataObject) -> None:
    reference = Histogram.freeze(values)
    edges = reference.edges
    rows = data.draw(st.lists(WILD | FLOATS | st.sampled_from(edges), max_size=30))
    expected = [0] * (len(edges) + 1)
    lost = 0
    for row in rows:
        if row is None or math.isnan(row):
            lost += 1
        elif row < edges[0]:
            expected[0] += 1
        elif float(row) > edges[-1]:
            expected[-1] += 1
        else:
            inner = [i for i in range(len(edges) - 1) if edges[i] <= float(row) < edges[i + 1]]
            expected[inner[0] + 1 if inner else len(edges) - 1] += 1
    counted = reference.like(np.array(rows, dtype=object))
    assert (counted.counts, counted.missing) == (tuple(expected), lost)
    assert list(edges) == sorted(edges)
    assert reference.present == len(values)


@examples(80)
@given(references(), st.data())
def test_psi_is_its_sum(reference: Histogram, data: st.DataObject) -> None:
    current = reference.like(data.draw(rows_for(reference)))
    found = psi(reference, current)
    if not reference.present or not current.present:
        assert math.isnan(found)
        return
    total = 0.0
    for e, a in zip(reference.counts, current.counts, strict=True):
        share_e, share_a = max(e / reference.present, 1e-4), max(a / current.present, 1e-4)
        total += (share_a - share_e) * math.log(share_a / share_e)
    assert found == pytest.approx(total, rel=1e-9, abs=1e-12)
    assert found >= 0
    assert psi(reference, reference) == 0
    assert found == pytest.approx(psi(current, reference))


@examples(80)
@given(references(), st.data())
def test_unseen_and_missing_are_shares_of_rows(reference: Histogram, data: st.DataObject) -> None:
    rows = data.draw(rows_for(reference))
    current = reference.like(rows)
    if not rows:
        assert math.isnan(unseen(reference, current))
        assert math.isnan(missing(reference, current))
        return
    if reference.kind == "numeric":
        low, high = reference.edges[0], reference.edges[-1]
        out = sum(row is not None and not math.isnan(row) and not low <= float(row) <= high for row in rows)
    else:
        out = sum(row is not None and row not in reference.categories for row in rows)
    assert unseen(reference, current) == pytest.approx(out / len(rows))
    lost = sum(row is None or row != row for row in rows) / len(rows)
    assert missing(reference, current) == pytest.approx(lost - reference.missing / reference.rows)


@examples(60)
@given(st.lists(st.integers(-500, 500).map(lambda n: n / 4), min_size=2, max_size=80), st.data())
def test_wasserstein_is_the_area_between_two_lines(values: list[float], data: st.DataObject) -> None:
    """Piece by piece between all edges and crossings, in exact fractions."""
    assume(len(set(values)) > 1)
    reference = Histogram.freeze(values)
    current = reference.like(data.draw(st.lists(st.integers(-600, 600).map(lambda n: n / 4), min_size=1, max_size=40)))
    edges = [Fraction(edge) for edge in reference.edges]
    one, other = _distribution(reference), _distribution(current)
    area = Fraction(0)
    for i in range(len(edges) - 1):
        width = edges[i + 1] - edges[i]
        left, right = one[i] - other[i], one[i + 1] - other[i + 1]
        if left * right < 0:
            middle = width * abs(left) / (abs(left) + abs(right))
            area += abs(left) * middle / 2 + abs(right) * (width - middle) / 2
        else:
            area += (abs(left) + abs(right)) * width / 2
    found = wasserstein(reference, current)
    assert found == pytest.approx(float(area) / reference.sd, rel=1e-9, abs=1e-12)
    assert 0 <= found <= (reference.edges[-1] - reference.edges[0]) / reference.sd * (1 + 1e-9)
    assert wasserstein(reference, reference) == 0


@examples(40)
@given(
    st.lists(st.integers(0, 6), min_size=2, max_size=40), st.lists(st.lists(st.integers(-1, 8)), min_size=3, max_size=3)
)
def test_wasserstein_is_a_distance(values: list[int], three: list[list[int]]) -> None:
    assume(len(set(values)) > 1 and all(three))
    reference = Histogram.freeze(values)
    a, b, c = (msgspec.structs.replace(reference.like(rows)) for rows in three)
    for left, right in itertools.permutations((a, b, c), 2):
        assert wasserstein(left, right) == pytest.approx(wasserstein(right, left))
    assert wasserstein(a, c) <= wasserstein(a, b) + wasserstein(b, c) + 1e-9


def _distribution(histogram: Histogram) -> list[Fraction]:
    """The share of rows up to each edge; what lies beyond the outer ones is taken as lying on them."""
    shares = [Fraction(count, histogram.present) for count in histogram.counts]
    return list(itertools.accumulate(shares))[:-1]
