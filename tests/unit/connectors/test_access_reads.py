"""What a task reads: pinned by its run, the same again whatever is appended later, and told to the engine."""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from access_rig import DELAY, FLIGHTS, OUTCOMES, SOURCE, WEATHER, Rig, at

from headrace.connectors.appends import history_topic
from headrace.data.access import installed
from headrace.data.events import Events, OffsetRange
from headrace.data.window import Window
from headrace.errors import NotFoundError, SchemaError, SettingsError
from headrace.runs.facts import Read

DAYS = Window("2013-01-01", "4d")


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def flight(number: int, days: float, origin: str = "JFK", x: float = 1.0) -> dict[str, object]:
    from headrace.base.instants import from_us

    return {"announced": from_us(at(days)), "flight_id": f"f{number}", "origin": origin, "x": x}


def outcome(number: int, days: float, late: bool = True) -> dict[str, object]:
    from headrace.base.instants import from_us

    return {"flight_id": f"f{number}", "late": late, "known": from_us(at(days))}


def weather(days: float, temp: float) -> dict[str, object]:
    from headrace.base.instants import from_us

    return {"origin": "JFK", "temp": temp, "known": from_us(at(days))}


def test_a_run_reads_the_same_rows_whatever_is_appended_later(rig: Rig) -> None:
    rig.append(FLIGHTS, [flight(2, 1), flight(1, 1), flight(3, 0.5)])
    first = rig.access().read_topic(FLIGHTS, DAYS)
    rig.append(FLIGHTS, [flight(4, 0.2)])
    again, other = rig.access().read_topic(FLIGHTS, DAYS), rig.access("r2").read_topic(FLIGHTS, DAYS)
    assert first.equals(again)
    assert first["flight_id"].to_list() == ["f3", "f1", "f2"]
    assert other["flight_id"].to_list() == ["f4", "f3", "f1", "f2"]


def test_labels_are_known_no_further_than_they_were_appended(rig: Rig) -> None:
    rig.clock = at(3)
    rig.append(OUTCOMES, [outcome(1, 2)])
    assert rig.holdings.known_through_us("outcomes") == at(2)
    rig.append(OUTCOMES, [outcome(2, 360_000)])
    rig.clock = at(5)
    assert rig.holdings.known_through_us("outcomes") == at(3)


def test_a_topic_that_was_empty_at_the_first_read_stays_empty_for_the_run(rig: Rig) -> None:
    assert rig.access().read_topic(FLIGHTS, None).is_empty()
    rig.append(FLIGHTS, [flight(1, 1)])
    assert rig.access().read_topic(FLIGHTS, None).is_empty()


def test_what_was_read_is_told_once_with_its_pin(rig: Rig) -> None:
    rig.append(FLIGHTS, [flight(1, 1)])
    access = rig.access()
    access.read_topic(FLIGHTS, DAYS)
    access.read_topic(FLIGHTS, None)
    pin = {str(k): v for k, v in rig.holdings.log.heads("flights").items()}
    assert access.reads == (Read("topic", "flights", pin),)


def test_an_attempt_without_data_asks_nothing_and_publishes_nothing(rig: Rig) -> None:
    from headrace.runs.effects import NO_EFFECTS

    access = rig.access()
    assert (access.reads, rig.pins["r1"]) == ((), {})
    assert access.effects is NO_EFFECTS


def test_a_source_pins_every_joined_topic(rig: Rig) -> None:
    rig.append(FLIGHTS, [flight(1, 1.0)])
    rig.append(history_topic(WEATHER), [weather(0.95, 40.0)])
    first = rig.access().read_source(SOURCE, DAYS)
    rig.append(history_topic(WEATHER), [weather(0.99, 50.0)])
    again, other = rig.access().read_source(SOURCE, DAYS), rig.access("r2").read_source(SOURCE, DAYS)
    assert (first["temp"][0], again["temp"][0], other["temp"][0]) == (40.0, 40.0, 50.0)
    assert set(rig.pins["r1"]) == {"topic:flights", "topic:weather"}


def test_events_are_read_at_exactly_their_offsets(rig: Rig) -> None:
    rig.append(FLIGHTS, [flight(n, n / 10) for n in range(8)])
    heads = rig.holdings.log.heads("flights")
    events = Events("flights", (OffsetRange("flights", 0, 0, 1), OffsetRange("flights", 1, 1, heads[1])))
    access = rig.access()
    with installed(access):
        rows = events.read()
    assert len(rows) == heads[1]
    assert access.reads == (Read("topic", "flights", [[0, 0, 1], [1, 1, heads[1]]]),)


@pytest.mark.process
def test_a_worker_without_data_loads_no_frame_engine() -> None:
    import subprocess

    code = "import sys, headrace.connectors.access; sys.exit('polars' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_secret_is_read_where_its_reference_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from headrace.connectors.secrets import resolve

    monkeypatch.setenv("HEADRACE_TEST_SECRET", "s3")
    (tmp_path / "secret").write_text("from a file\n")
    references = {
        "a": "env:HEADRACE_TEST_SECRET",
        "b": f"file:{tmp_path / 'secret'}",
        "c": "vault:x",
        "d": "env:NO_SUCH",
    }
    assert (resolve("a", references), resolve("b", references)) == ("s3", "from a file")
    for name, message in (
        ("c", "'vault', which this version cannot read"),
        ("d", "set the environment variable NO_SUCH"),
    ):
        with pytest.raises(SettingsError, match=message):
            resolve(name, references)


def test_a_missing_secret_says_where_to_put_it(rig: Rig) -> None:
    with pytest.raises(SettingsError, match=r'warehouse = "env:WAREHOUSE"'):
        rig.access().secret("warehouse")


def test_a_topic_that_the_project_does_not_have_is_named(rig: Rig) -> None:
    with pytest.raises(NotFoundError, match="'strange'"):
        rig.access().read_events(Events("strange", (OffsetRange("strange", 0, 0, 1),)))


# -- examples ----------------------------------------------------------------------------------------------------------


def test_examples_are_the_mature_rows_with_their_label_and_event_time(rig: Rig) -> None:
    rig.append(FLIGHTS, [flight(1, 1.0), flight(2, 3.9)])
    rig.append(OUTCOMES, [outcome(1, 1.2, late=False), outcome(2, 4.1)])
    rig.complete("outcomes", at(6))
    rows = rig.access().examples(DELAY, SOURCE, DAYS)
    assert rows.columns == ["announced", "flight_id", "origin", "x", "temp", "_time", "late"]
    assert rows.select("flight_id", "late").rows() == [("f1", False), ("f2", True)]
    assert rows["_time"].equals(rows["announced"].alias("_time"))


def test_rows_that_are_too_young_for_a_label_are_left_out_even_with_one(rig: Rig) -> None:
    rig.append(FLIGHTS, [flight(1, 1.0), flight(2, 3.9)])
    rig.append(OUTCOMES, [outcome(1, 1.2), outcome(2, 3.95)])
    rig.complete("outcomes", at(4))  # so only what is older than two days, at day 4, is mature
    assert rig.access().examples(DELAY, SOURCE, DAYS)["flight_id"].to_list() == ["f1"]


def test_labels_that_became_known_after_the_runs_moment_are_not_seen(rig: Rig) -> None:
    rig.append(FLIGHTS, [flight(1, 1.0)])
    rig.append(OUTCOMES, [outcome(1, 1.5, late=False), outcome(1, 6.5, late=True)])
    rig.complete("outcomes", at(9))
    assert rig.access().examples(DELAY, SOURCE, DAYS)["late"].to_list() == [False]


def test_later_labels_change_nothing_in_a_run_that_has_read_them(rig: Rig) -> None:
    rig.append(FLIGHTS, [flight(1, 1.0), flight(2, 3.5)])
    rig.append(OUTCOMES, [outcome(1, 1.5, late=False)])
    first = rig.access().examples(DELAY, SOURCE, DAYS)
    rig.append(OUTCOMES, [outcome(1, 1.6), outcome(2, 3.6)])
    rig.complete("outcomes", at(6))
    assert first.is_empty()  # newest label known at day 1.5: nothing is mature yet
    assert rig.access().examples(DELAY, SOURCE, DAYS).equals(first)
    assert rig.access("r2").examples(DELAY, SOURCE, DAYS)["late"].to_list() == [True, True]


def test_a_label_from_before_its_row_is_found_too(rig: Rig) -> None:
    rig.append(FLIGHTS, [flight(1, 1.0), flight(2, 2.0)])
    rig.append(OUTCOMES, [outcome(2, 2.5, late=False), outcome(1, 0.2)])
    rig.complete("outcomes", at(6))
    assert rig.access().examples(DELAY, SOURCE, DAYS)["late"].to_list() == [True, False]


def test_a_mature_row_without_label_is_an_error_that_names_it(rig: Rig) -> None:
    rig.append(FLIGHTS, [flight(1, 1.0), flight(2, 2.0)])
    rig.append(OUTCOMES, [outcome(1, 1.2)])
    rig.complete("outcomes", at(6))
    with pytest.raises(SchemaError, match=r"1 of 2 rows, at least 2d old at .*: f2"):
        rig.access().examples(DELAY, SOURCE, DAYS)


def test_where_the_model_allows_it_rows_without_label_are_left_out_and_counted(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    import msgspec

    rig.append(FLIGHTS, [flight(1, 1.0), flight(2, 2.0)])
    rig.append(OUTCOMES, [outcome(1, 1.2)])
    rig.complete("outcomes", at(6))
    with caplog.at_level("INFO", logger="headrace.examples"):
        rows = rig.access().examples(msgspec.structs.replace(DELAY, missing="late"), SOURCE, DAYS)
    assert rows["flight_id"].to_list() == ["f1"]
    assert "1 rows; left out: 1 without 'late'" in caplog.text


def test_a_source_that_has_the_labels_column_is_refused(rig: Rig) -> None:
    import msgspec

    rig.append(FLIGHTS, [flight(1, 1.0)])
    with pytest.raises(SchemaError, match="a label must not be known when a row is"):
        rig.access().examples(msgspec.structs.replace(DELAY, label="x"), SOURCE, DAYS)


def test_removing_what_came_later_changes_no_example(rig: Rig, tmp_path: Path) -> None:
    """The leak test: the rows of a window are the same in a world that ends at the run's moment."""
    moment = 6
    late = Rig(tmp_path / "late")
    flights = [flight(n, n / 10) for n in range(80)]
    outcomes = [outcome(n, n / 10 + d, late=bool((n + d) % 2)) for n in range(80) for d in (1, 3)]
    temps = [weather(n / 8, float(n)) for n in range(64)]
    late.append(FLIGHTS, flights)
    late.append(OUTCOMES, outcomes)
    late.append(history_topic(WEATHER), temps)
    late.complete("outcomes", at(9))

    def until(rows: list[dict[str, object]], column: str) -> pl.DataFrame:
        from headrace.base.instants import from_us

        return pl.DataFrame([row for row in rows if row[column] <= from_us(at(moment))])  # type: ignore[operator]

    rig.append(FLIGHTS, until(flights, "announced"))
    rig.append(OUTCOMES, until(outcomes, "known"))
    rig.append(history_topic(WEATHER), until(temps, "known"))
    rig.complete("outcomes", at(moment))
    assert late.access().examples(DELAY, SOURCE, DAYS).equals(rig.access().examples(DELAY, SOURCE, DAYS))


# -- here --------------------------------------------------------------------------------------------------------------


def test_a_script_reads_what_is_there_now_and_appends_at_once(rig: Rig) -> None:
    here = rig.here()
    ranges = here.append(FLIGHTS, [flight(1, 1.0)])
    assert sum(part.count for part in ranges) == 1
    assert len(here.read_topic(FLIGHTS, DAYS)) == 1
    here.append(FLIGHTS, [flight(2, 1.0)])
    assert len(here.read_topic(FLIGHTS, DAYS)) == 2
    assert here.attempt() is None
