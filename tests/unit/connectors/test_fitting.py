"""What is appended is what was given, or is refused; rows and frames are told apart by nobody."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from headrace.connectors import fitting, tables
from headrace.connectors.fitting import fit
from headrace.definitions.project import TableDef, TopicDef
from headrace.errors import SchemaError

LATE = datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(timedelta(hours=-5)))
FAR = pl.Series("v", [2**62])


def topic(word: str | None) -> TopicDef:
    return TopicDef("t", schema=None if word is None else {"v": word})


def both(values: list[Any]) -> tuple[Any, Any]:
    return [{"v": value} for value in values], pl.DataFrame({"v": values})


@pytest.mark.parametrize("form", [0, 1], ids=["rows", "frame"])
@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("datetime", LATE),
        ("datetime", "9999-12-31T23:59:59-05:00"),
        ("datetime", "0001-01-01T00:00:00+05:00"),
        ("datetime", "2026-06-30T23:59:60Z"),
        ("datetime", datetime(2026, 1, 1)),  # noqa: DTZ001
        ("date", "12345-01-01"),
        ("date", "2026-1-5"),
        ("int", Decimal("19.99")),
        ("int", Decimal("-0.5")),
        (None, LATE),
    ],
)
def test_a_value_that_does_not_fit_is_refused_as_a_row_and_in_a_frame(form: int, word: str | None, value: Any) -> None:
    with pytest.raises(SchemaError, match=r"row 0, column .v.: expected (int|date)") as caught:
        fit(topic(word), both([value])[form])
    assert caught.value.code == "HR1210"


@pytest.mark.parametrize("form", [0, 1], ids=["rows", "frame"])
@pytest.mark.parametrize(
    ("word", "value", "stored"),
    [
        ("datetime", "2026-01-01T05:00", datetime(2026, 1, 1, 5, tzinfo=UTC)),
        ("datetime", datetime.max.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)),
        ("date", "2026-01-05", date(2026, 1, 5)),
        ("date", date.max, date.max),
        ("int", 3.0, 3),
    ],
)
def test_a_value_that_fits_is_the_same_from_a_row_and_from_a_frame(
    form: int, word: str, value: Any, stored: Any
) -> None:
    assert fit(topic(word), both([value])[form])["v"].to_list() == [stored]


def test_a_whole_decimal_is_an_integer() -> None:
    assert fit(topic("int"), pl.DataFrame({"v": [Decimal("19.00"), None]}))["v"].to_list() == [19, None]


@pytest.mark.parametrize("unit", ["us", "ms"])
@pytest.mark.parametrize("word", ["datetime", None])
def test_a_frame_with_a_time_far_out_of_range_is_refused_without_a_panic(unit: Any, word: str | None) -> None:
    frame = FAR.cast(pl.Datetime(unit, "UTC")).to_frame()
    with pytest.raises(SchemaError, match=r"expected datetime, got \+\d{6,}-\d\d-\d\dT"):
        fit(topic(word), frame)
    with pytest.raises(SchemaError, match=r"got .\+\d{6,}"):
        tables.fit(TableDef("t", mode="window", schema={"v": "datetime"}), frame)


def test_a_date_and_a_nested_time_out_of_range_are_refused() -> None:
    with pytest.raises(SchemaError, match=r"expected date, got \+29349-01-26"):
        fit(topic("date"), pl.Series("v", [10**7]).cast(pl.Date).to_frame())
    nested = pl.Series("v", [{"at": 0}, {"at": 2**62}]).cast(pl.Struct({"at": pl.Datetime("us", "UTC")})).to_frame()
    with pytest.raises(SchemaError, match="row 1, column 'v': expected json"):
        fit(topic("json"), nested)


def test_a_panic_of_polars_is_an_error_that_names_the_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    def panics(column: pl.Series, word: str) -> pl.Series:
        raise pl.exceptions.PanicException("out of range")

    monkeypatch.setattr(fitting, "cast", panics)
    with pytest.raises(SchemaError, match="topic t: Polars gave up on the rows: out of range"):
        fit(topic("int"), pl.DataFrame({"v": [1.0]}))
