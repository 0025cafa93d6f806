from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.base.durations import format_duration, micros, parse_duration
from headrace.errors import ProjectError


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("10s", timedelta(seconds=10)),
        ("10m", timedelta(minutes=10)),
        ("2h", timedelta(hours=2)),
        ("14d", timedelta(days=14)),
        ("1w", timedelta(weeks=1)),
        ("500ms", timedelta(milliseconds=500)),
        ("7us", timedelta(microseconds=7)),
        ("1h30m", timedelta(minutes=90)),
        ("1m500ms", timedelta(seconds=60.5)),
        ("0s", timedelta(0)),
    ],
)
def test_a_duration_is_read(text: str, length: timedelta) -> None:
    assert parse_duration(text) == length
    assert parse_duration(length) is length
    assert micros(text) == length // timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("10 minutes", '"10m"'),
        ("5 min", '"5m"'),
        ("1.5h", '"1h30m"'),
        ("30m1h", '"1h30m"'),
        ("1h1h", '"2h"'),
        ("10", '"10s"'),
        ("2H", '"2h"'),
        (" 3d", '"3d"'),
        ("1 day, 2 hours", '"1d2h"'),
    ],
)
def test_a_near_miss_is_answered_with_what_was_meant(text: str, meant: str) -> None:
    with pytest.raises(ProjectError, match="expected a duration") as error:
        parse_duration(text)
    assert f"did you mean {meant}?" in (error.value.cure or "")


@pytest.mark.parametrize("text", ["", "soon", "1 month", "-5m", "2013-01-01", "5x", "٣m", "0.0s", 10, None])
def test_anything_else_is_refused_without_a_guess_but_with_the_forms(text: str) -> None:
    with pytest.raises(ProjectError, match="expected a duration") as error:
        parse_duration(text)
    assert "did you mean" not in (error.value.cure or "")
    assert '"1h30m"' in (error.value.cure or "")


def test_a_negative_or_endless_length_is_refused() -> None:
    with pytest.raises(ProjectError, match="negative"):
        parse_duration(timedelta(seconds=-1))
    with pytest.raises(ProjectError, match="longer than"):
        parse_duration("9999999999d")
    with pytest.raises(ProjectError, match="longer than"):
        parse_duration("9" * 5000 + "s")


def test_days_are_the_largest_unit_written() -> None:
    assert format_duration(timedelta(days=60, hours=3)) == "60d3h"
    assert format_duration(timedelta(0)) == "0s"


@settings(max_examples=100, deadline=None)
@given(st.timedeltas(min_value=timedelta(0)))
def test_every_length_survives_being_written_and_read(length: timedelta) -> None:
    assert parse_duration(format_duration(length)) == length
