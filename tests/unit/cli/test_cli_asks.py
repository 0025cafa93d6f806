"""Commands that ask the engine: what they write, how they wait, and how a refusal looks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from headrace.connectors.appends import append
from headrace.definitions.project import TopicDef
from headrace.host.rights import take_right
from headrace.models.facts import AliasMoved, VersionRegistered
from headrace.ports import Append
from headrace.runs import facts as f

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import FakeEngine, Headrace
    from headrace.store.sql.store import SqlStore

    Write = Callable[..., None]

pytestmark = pytest.mark.headrace_project

DAY = 86_400_000_000
RUN = "1ng66r0y5e46"
REACTS = """
@hr.task
def look(events: hr.Events) -> int:
    return len(events.read())

@hr.pipeline(triggers=[hr.event(departures)])
def investigate(events: hr.Events) -> int:
    return look(events)
"""


@pytest.mark.parametrize("words", [("rounds=50", "note=a b"), ("--rounds", "50", "--note", "a b")])
def test_parameters_come_in_both_spellings(headrace: Headrace, engine: FakeEngine, words: tuple[str, ...]) -> None:
    result = headrace("trigger", "retrain", *words)
    assert result.out.splitlines() == [f"run {RUN} of retrain", f"next: headrace runs show {RUN}"]
    (request,) = engine.asked
    assert request.verb == "trigger"
    assert request.body["params"] == {"rounds": 50, "note": "a b"}
    assert request.body["by"]


def test_a_window_is_a_start_and_a_length(headrace: Headrace, engine: FakeEngine) -> None:
    assert headrace("trigger", "nightly", "--window", "1970-01-02", "2d").code == 0
    assert engine.asked[0].body["window"] == [DAY, 3 * DAY]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("retrain", "round=50"), "retrain has no parameter 'round' (did you mean 'rounds'?)"),
        (("retrain", "rounds=many"), "rounds is a whole number, got 'many'"),
        (("retrain", "rounds=1", "--rounds", "2"), "rounds is given twice"),
        (("retrain", "rounds"), "expected name=value, got 'rounds'"),
        (("retrain", "--window", "1970-01-01", "1d"), "retrain takes no window"),
        (("nightly", "window=3"), "window is the window that nightly is about, and no parameter"),
        (("nightly", "window=3"), "--window START LENGTH, for example --window 2013-01-01 60d"),
    ],
)
def test_what_does_not_fit_is_refused_before_it_is_asked(
    headrace: Headrace, engine: FakeEngine, words: tuple[str, ...], message: str
) -> None:
    result = headrace("trigger", *words)
    assert result.code == 2
    assert message in result.err
    assert engine.asked == []


@pytest.mark.parametrize("verb", ["trigger", "run"])
def test_a_pipeline_that_takes_rows_is_started_by_rows_only(headrace: Headrace, project: Path, verb: str) -> None:
    code = project / "cliflights" / "pipelines.py"
    code.write_text(code.read_text() + REACTS)
    result = headrace(verb, "investigate")
    assert result.code == 4
    assert "HR3021 investigate is started by rows of departures" in result.err
    assert "headrace topics append departures …" in result.err


def test_an_unknown_pipeline_names_the_near_one(headrace: Headrace, engine: FakeEngine) -> None:
    result = headrace("trigger", "retrian")
    assert result.code == 3
    assert "there is no pipeline 'retrian' (did you mean 'retrain'?)" in result.err


def test_a_refusal_of_the_engine_keeps_its_code(headrace: Headrace, engine: FakeEngine) -> None:
    engine.status = "refused"
    engine.answer = {"code": "HR3030", "message": "delay: run 7 is training", "cure": "headrace models show delay"}
    result = headrace("trigger", "retrain")
    assert result.code == 4
    assert result.err.startswith("HR3030 delay: run 7 is training")


def test_without_an_engine_the_request_is_stored_and_says_so(headrace: Headrace, store: SqlStore) -> None:
    result = headrace("trigger", "retrain", "--no-wait", "--json")
    assert result.code == 0
    assert result.json() == {"request": 1, "pipeline": "retrain", "run": None}
    assert "is stored; it will be done when `headrace dev` starts" in result.err
    assert [request.verb for request in store.requests()] == ["trigger"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("trigger", "retrain"), "request 1 for retrain is stored"),
        (("runs", "cancel", RUN), f"run {RUN} is asked to stop"),
        (("pipelines", "pause", "retrain"), "retrain is asked to be paused"),
        (("backfill", "nightly", "--window", "1970-01-02", "1d"), "request 1"),
    ],
)
def test_without_an_engine_nobody_waits(
    headrace: Headrace,
    store: SqlStore,
    write: Write,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    told: str,
) -> None:
    write(store, f.RunCreated(RUN, "retrain", "c0de", "k", "person", 0))
    monkeypatch.setattr("headrace.cli.client.time", None)  # who waits needs a clock
    result = headrace(*words)
    assert result.code == 0
    assert told in result.out
    assert "request 1 is stored; it will be done when `headrace dev` starts" in result.err
    assert len(store.requests()) == 1


def test_without_an_engine_a_run_that_failed_is_asked_to_go_again(
    headrace: Headrace, store: SqlStore, write: Write
) -> None:
    write(store, f.RunCreated(RUN, "retrain", "c0de", "k", "person", 0), f.RunEnded(RUN, "failed", 1, "train"))
    assert f"run {RUN} is asked to go again" in headrace("runs", "retry", RUN).out


@pytest.mark.parametrize(
    ("log", "state", "words", "told"),
    [
        ("engine", "succeeded", ("runs", "cancel", RUN), f"HR3010 run {RUN} is not running: it has succeeded"),
        ("engine", "succeeded", ("runs", "retry", RUN), f"HR3012 run {RUN} succeeded: there is nothing to retry"),
        ("run:x", "failed", ("runs", "retry", RUN), f"HR3013 run {RUN} ran in a process of its own"),
    ],
)
def test_what_the_rows_refuse_already_is_refused_without_an_engine_too(
    headrace: Headrace, store: SqlStore, log: str, state: str, words: tuple[str, ...], told: str
) -> None:
    facts = (f.RunCreated(RUN, "retrain", "c0de", "k", "person", 0), f.RunEnded(RUN, state, 1, ""))
    store.commit([Append(log, store.head(log), facts)])
    result = headrace(*words)
    assert result.code == 4
    assert result.err.startswith(told)
    assert store.requests() == [], "nothing is stored that would be refused later, when nobody looks"


def test_a_run_without_details_does_not_go_again(headrace: Headrace, store: SqlStore, write: Write) -> None:
    write(store, f.RunCreated(RUN, "retrain", "c0de", "k", "person", 0), f.RunEnded(RUN, "failed", 1, "train"))
    write(store, f.DetailsDropped((RUN,), 2, (), 3))
    result = headrace("runs", "retry", RUN)
    assert result.code == 4
    assert result.err.startswith(f"HR3015 the details of run {RUN} were dropped")
    assert "headrace trigger retrain" in result.err


def test_a_request_that_waits_already_may_change_what_the_rows_say(
    headrace: Headrace, store: SqlStore, write: Write
) -> None:
    write(store, f.RunCreated(RUN, "retrain", "c0de", "k", "person", 0), f.RunEnded(RUN, "failed", 1, "train"))
    assert headrace("runs", "retry", RUN).code == 0
    assert headrace("runs", "cancel", RUN).code == 0


def test_a_champion_is_not_promoted_again_without_an_engine_either(
    headrace: Headrace, store: SqlStore, write: Write
) -> None:
    assert headrace("models", "promote", "delay", "1").code == 3, "it has no version"
    write(
        store,
        VersionRegistered("delay", 1, "native", "m", "d", 10, RUN, "train", "c0de", "m:f", 0, 0, 9, 4),
        AliasMoved("delay", "champion", 1, 0, "gate", "the first version", 0),
    )
    assert headrace("models", "promote", "delay", "1").err.startswith("HR3032 version 1 of delay is the champion")
    assert headrace("models", "promote", "delay", "7").err.startswith("HR2041 delay has versions 1 to 1, not 7")
    assert headrace("models", "rollback", "delay").err.startswith("HR3031 delay: nothing served before version 1")


def test_an_engine_that_does_not_answer_ends_with_exit_code_5(
    headrace: Headrace, store: SqlStore, project: Path
) -> None:
    right = take_right(project / ".headrace" / "locks" / "engine.lock")
    assert right is not None
    result = headrace("trigger", "retrain", "--timeout", "0")
    right.release()
    assert result.code == 5
    assert "HR5020" in result.err
    assert len(store.requests()) == 1


def test_a_backfill_asks_once_per_window(headrace: Headrace, engine: FakeEngine) -> None:
    result = headrace("backfill", "nightly", "--window", "1970-01-02", "3d", "--id", "b1", "--json")
    assert [run["window"] for run in result.json()["runs"]] == [[n * DAY, (n + 1) * DAY] for n in (1, 2, 3)]
    assert [request.key for request in engine.asked] == [
        f"backfill:nightly:b1:{n * DAY}-{(n + 1) * DAY}" for n in (1, 2, 3)
    ]
    assert {request.body["cause"] for request in engine.asked} == {"backfill"}


def test_a_backfill_with_the_same_id_asks_nothing_new(headrace: Headrace, engine: FakeEngine) -> None:
    for _ in range(2):
        assert headrace("backfill", "nightly", "--window", "1970-01-02", "2d", "--id", "b1").code == 0
    assert len(engine.asked) == 2


def test_a_dry_backfill_shows_the_windows_and_makes_no_store(headrace: Headrace, project: Path) -> None:
    result = headrace("backfill", "nightly", "--window", "1970-01-02", "2d", "--dry-run")
    assert "1970-01-03T00:00Z 1970-01-04T00:00Z" in result.out
    assert not (project / ".headrace").exists()


def test_a_backfill_of_countless_windows_is_refused_at_once(headrace: Headrace, project: Path) -> None:
    result = headrace("backfill", "nightly", "--window", "1970-01-01", "2030-01-01", "--every", "1s", "--dry-run")
    assert result.code == 2
    assert "HR1352 more than 100,000 windows lie in that stretch" in result.err
    assert "a shorter stretch, or a longer --every" in result.err


def test_a_number_of_rows_is_none_or_more(headrace: Headrace, project: Path) -> None:
    headrace("topics", "append", "departures", "--json-row", '{"flight_id": "UA-1"}')
    assert headrace("topics", "tail", "departures", "-n", "-1").code == 2
    assert headrace("topics", "tail", "departures", "-n", "0").out == ""
    assert headrace("topics", "tail", "departures", "-n", "9" * 30).out.count("UA-1") == 1


def test_as_many_rows_are_shown_as_were_asked_for_however_many_blobs_they_lie_in(
    headrace: Headrace, store: SqlStore
) -> None:
    topic = TopicDef("departures", schema={"flight_id": "str", "delay": "float"}, key="flight_id", partitions=2)
    for at in range(1_100):  # a page of blobs is 1,000
        append(store, "clients", topic, [{"flight_id": "UA-1", "delay": float(at)}], at)
    shown = headrace("topics", "tail", "departures", "-n", "1050", "--json").out.splitlines()
    assert [msgspec.json.decode(line)["row"]["delay"] for line in shown] == [float(at) for at in range(50, 1_100)]


@pytest.mark.parametrize("key", ["departures/0/" + "9" * 30, "delay:" + "9" * 30, "departures/" + "9" * 30 + "/0"])
def test_a_place_that_no_store_can_have_is_not_found(headrace: Headrace, store: SqlStore, key: str) -> None:
    assert headrace("trace", key).code == 3


def test_a_window_that_is_refused_does_not_stop_the_backfill(headrace: Headrace, engine: FakeEngine) -> None:
    engine.status, engine.answer = "refused", {"code": "HR3030", "message": "busy"}
    result = headrace("backfill", "nightly", "--window", "1970-01-02", "2d", "--json")
    assert result.code == 4
    assert [run["problem"] for run in result.json()["runs"]] == ["busy", "busy"]


def test_pausing_and_cancelling(headrace: Headrace, engine: FakeEngine, store: SqlStore, write: Write) -> None:
    write(store, f.RunCreated(RUN, "retrain", "c0de", "k", "person", 0))
    assert headrace("pipelines", "pause", "retrain").out == "retrain is paused\n"
    assert headrace("runs", "cancel", "last").out == f"run {RUN} is being cancelled\n"
    assert headrace("runs", "retry", RUN, "--current-code").code == 0
    own = ("by", "waits_until_us")
    bodies = [{name: x for name, x in request.body.items() if name not in own} for request in engine.asked]
    assert bodies == [
        {"pipeline": "retrain", "paused": True},
        {"run": RUN},
        {"run": RUN, "code": "current"},
    ]


def test_rows_are_appended_and_shown(headrace: Headrace, project: Path) -> None:
    rows = project / "rows.jsonl"
    rows.write_text('{"flight_id": "UA-1", "delay": 3}\n\n{"flight_id": "UA-2"}\n')
    assert headrace("topics", "append", "departures", "--file", rows).out == "2 rows appended to departures\n"
    headrace("topics", "append", "departures", "--json-row", '{"flight_id": "UA-3"}')
    result = headrace("topics", "tail", "departures", "-n", "1", "--json")
    assert result.json()["row"] == {"flight_id": "UA-3", "delay": None}
    assert len(headrace("topics", "tail", "departures").out.splitlines()) == 3


@pytest.mark.parametrize(
    ("row", "message"), [("[1]", "a row is a JSON object"), ('{"flight_id": 3}', "expected str"), ("{", "JSON object")]
)
def test_a_row_that_does_not_fit_is_refused(headrace: Headrace, project: Path, row: str, message: str) -> None:
    result = headrace("topics", "append", "departures", "--json-row", row)
    assert result.code == 2
    assert message in result.err


def test_rows_are_given_once(headrace: Headrace, project: Path) -> None:
    assert headrace("topics", "append", "departures").code == 2
    assert headrace("topics", "append", "departures", "--file", "-", "--json-row", "{}").code == 2


@pytest.mark.parametrize("last", [b'{"flight_id": 3}', b'{"flight_id": "\xe9"}'])
def test_a_mistake_far_down_a_file_appends_nothing(headrace: Headrace, project: Path, last: bytes) -> None:
    rows = project / "rows.jsonl"
    rows.write_bytes(b"".join(b'{"flight_id": "UA-%d"}\n' % n for n in range(10_500)) + last + b"\n")
    result = headrace("topics", "append", "departures", "--file", rows)
    assert result.code == 2
    assert "rows.jsonl" in result.err
    assert "Traceback" not in result.err
    assert headrace("topics", "tail", "departures", "--json").out == ""


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ('{"flight_id": "UA-2", "delay": "soon"}', "column 'delay': expected float, got 'soon' (str)"),
        ('{"flight_id": "UA-2", "dleay": 3}', "column 'dleay' is not declared (did you mean 'delay'?); the topic has"),
    ],
)
def test_a_row_of_a_file_that_does_not_fit_is_named_by_its_line(
    headrace: Headrace, project: Path, row: str, said: str
) -> None:
    rows = project / "rows.jsonl"
    rows.write_text(f'{{"flight_id": "UA-1"}}\n\n{row}\n{{"flight_id": "UA-3"}}\n')
    result = headrace("topics", "append", "departures", "--file", rows)
    assert result.code == 2
    assert said in result.err
    assert f"{rows}:3" in result.err
    assert "row " not in result.err.partition(said)[0]
