"""Windows that failed, backfills, missed slots and topics that are behind, as `why` and `runs` tell of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from headrace.base.instants import to_us
from headrace.cli.here import now_us
from headrace.cli.news import line_of, still_waiting
from headrace.data.facts import TopicAppended, TopicCompleted
from headrace.definitions.project import Project
from headrace.host.rights import take_right
from headrace.ports import Append
from headrace.runs import facts as f
from headrace.runs.reach import Reach
from headrace.store.sql.reads import inbox
from headrace.store.sql.reads.watermarks import reaches

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import FakeEngine, Headrace
    from headrace.store.sql.store import SqlStore

    Write = Callable[..., None]

pytestmark = pytest.mark.headrace_project

DAY = 86_400_000_000
AT = to_us("2026-01-10")
KEY = f"schedule:nightly:schedule:{AT + DAY}"


def ended(write: Write, store: SqlStore, run: str, day: int, state: str, pipeline: str = "nightly") -> None:
    window = (AT + day * DAY, AT + (day + 1) * DAY)
    key = f"client:{pipeline}:backfill:{pipeline}:b1:{window[0]}-{window[1]}"
    key = key if run.startswith("1ng66r0y5b") else f"k{run}"
    write(
        store,
        f.RunCreated(run, pipeline, "c0de", key, "backfill", int(run[-2:], 36), {}, window, why="backfill b1"),
        f.RunEnded(run, state, AT + 9, "" if state == "succeeded" else "count"),
    )


def days(n: int, first: int = 1) -> list[str]:
    return [f"1ng66r0y5b0{number}" for number in range(first, first + n)]


def test_failed_windows_stay_in_why_until_they_have_succeeded(
    headrace: Headrace, engine: FakeEngine, write: Write
) -> None:
    store = engine.store
    for day, (run, state) in enumerate(zip(days(4), ("failed", "lost", "cancelled", "succeeded"), strict=True)):
        ended(write, store, run, day, state)
    assert headrace("why", "nightly", "--json").json()[0] == {
        "about": "pipeline nightly",
        "state": "failed",
        "why": "2 windows failed, first 2026-01-10T00:00Z 2026-01-11T00:00Z (run 1ng66r0y5b01: count)",
        "next": "headrace why 1ng66r0y5b01; all of them: headrace runs ls nightly --state failed",
    }
    ended(write, store, "1ng66r0y5c11", 0, "succeeded")
    ended(write, store, "1ng66r0y5c12", 1, "cancelled")
    told = [reason for reason in headrace("why", "--json").json() if reason["about"] == "pipeline nightly"]
    assert [reason["why"] for reason in told if reason["state"] == "failed"] == [
        "1 window failed, first 2026-01-11T00:00Z 2026-01-12T00:00Z (run 1ng66r0y5b02: count)"
    ]
    ended(write, store, "1ng66r0y5c13", 1, "succeeded")
    assert "failed" not in headrace("why", "nightly").out


def test_the_newest_run_that_failed_is_told_in_full_and_not_folded(
    headrace: Headrace, engine: FakeEngine, write: Write
) -> None:
    ended(write, engine.store, "1ng66r0y5b01", 0, "failed")
    found = headrace("why", "nightly", "--json").json()
    assert [reason["about"] for reason in found if reason["state"] == "failed"] == ["run 1ng66r0y5b01"]


def test_a_backfill_is_known_by_its_id(headrace: Headrace, engine: FakeEngine, write: Write) -> None:
    for day, (run, state) in enumerate(zip(days(3), ("failed", "succeeded", "failed"), strict=True)):
        ended(write, engine.store, run, day, state)
    assert headrace("why", "b1").out.splitlines() == [
        "backfill b1: failed: 2 of 3 windows failed, first 2026-01-10T00:00Z 2026-01-11T00:00Z (run 1ng66r0y5b01: count)",
        "  next: headrace why 1ng66r0y5b01, then headrace runs retry b1",
    ]
    assert [row["run"] for row in headrace("runs", "ls", "b1", "--json").json()] == days(3)[::-1]
    assert [row["run"] for row in headrace("runs", "ls", "b1", "--state", "succeeded", "--json").json()] == days(1, 2)
    assert [row["run"] for row in headrace("runs", "ls", "b1", "--before", days(1, 2)[0], "--json").json()] == days(1)
    assert headrace("runs", "retry", "b1").code == 0
    assert [request.body["run"] for request in engine.asked] == [*days(1), *days(1, 3)]


def test_of_a_backfill_that_went_well_nothing_is_retried(headrace: Headrace, engine: FakeEngine, write: Write) -> None:
    ended(write, engine.store, "1ng66r0y5b01", 0, "succeeded")
    assert headrace("why", "b1").out == "nothing waits or fails in b1\n"
    result = headrace("runs", "retry", "b1")
    assert (result.code, engine.asked) == (4, [])
    assert "HR3012" in result.err


def test_what_the_client_was_told_is_no_news_and_errors_come_newest_first(
    headrace: Headrace, store: SqlStore, project: Path, write: Write
) -> None:
    now = now_us()
    for n, waits_until_us in enumerate((0, now + DAY)):
        body = {"run": f"r{n}", **({"waits_until_us": waits_until_us} if waits_until_us else {})}
        asked = store.ask("cancel", body, key=f"k{n}", at_us=now)
        write(store, f.RequestAnswered(asked, "refused", {"code": "HR3010", "message": "no"}, now - 5))
    write(store, f.RunCreated("1ng66r0y5e46", "retrain", "c0de", "k", "person", now))
    write(store, f.RunEnded("1ng66r0y5e46", "failed", now, "train"))
    with take_right(project / ".headrace" / "locks" / "engine.lock"):  # pyright: ignore[reportOptionalContextManager]
        told = headrace("why", "--json").json()
    found = [x["about"] for x in told if x["state"] in ("failed", "refused")]
    assert found == ["run 1ng66r0y5e46", "request 1"]


def test_a_client_that_waits_says_until_when(headrace: Headrace, engine: FakeEngine) -> None:
    before = now_us()
    headrace("pipelines", "pause", "retrain", "--timeout", 700)
    after = now_us()
    headrace("pipelines", "resume", "retrain", "--no-wait")
    second, first = (request.body for request in inbox.requests(engine.store.database))
    assert before <= first["waits_until_us"] - 700_000_000 <= after
    assert "waits_until_us" not in second


def test_slots_that_were_missed_are_due_as_long_as_nothing_is_done_for_them(
    headrace: Headrace, project: Path, store: SqlStore, write: Write
) -> None:
    settings = project / "headrace.toml"
    settings.write_text("schedules = true\n" + settings.read_text())
    write(store, f.SlotsSkipped("nightly", "schedule", AT, AT, 0, "the schedule begins here", AT, "begin"))
    told = headrace("why", "nightly", "--json").json()
    assert {
        "about": "pipeline nightly",
        "state": "waiting",
        "why": "1 missed slot is due",
        "next": "headrace dev",
    } in told
    now = now_us()
    write(store, f.SlotsSkipped("nightly", "schedule", AT, now, 1, "x", now, "paused"))
    assert "missed" not in headrace("why", "nightly").out


def test_a_run_that_waits_is_shown_with_what_it_waits_for(headrace: Headrace, engine: FakeEngine, write: Write) -> None:
    write(
        engine.store,
        f.RunCreated("r1", "nightly", "c0de", KEY, "schedule", 0, {}, (AT, AT + DAY), waits=("departures",)),
    )
    shown = headrace("runs", "show", "r1").out
    assert "why       waits for departures: it has no rows" in shown
    assert "took" not in shown
    assert (
        headrace("runs", "show", "r1", "--json")
        .json()["waits"][0]["next"]
        .endswith(
            "headrace trigger nightly --window 2026-01-10T00:00Z 2026-01-11T00:00Z (a run beside this one, which still"
            " comes unless you headrace runs cancel r1)"
        )
    )
    assert headrace("runs", "ls").out.splitlines()[1].rstrip().endswith("+00:00"), "it has not taken any time"


def test_dev_says_that_a_run_waits_unless_its_topics_have_come_and_when_it_waits_no_longer() -> None:
    waits = f.RunCreated("r1", "nightly", "c", "k", "schedule", 0, {}, (0, DAY), waits=("departures",))
    assert list(still_waiting([waits])) == ["run r1 waits for departures: headrace why r1"]
    assert list(still_waiting([waits, f.RunReady("r1", 0)])) == []
    assert line_of(f.RunReady("r1", 0)) is None
    assert line_of(f.RunReady("r1", 0, ("departures",))) == (
        "run r1 waits no longer for departures: ready_within is over",
        "warn",
    )


def test_how_far_a_topic_is_rests_on_its_partitions_unless_it_was_declared(store: SqlStore, write: Write) -> None:
    project = Project("p")
    for partition, time_us in ((0, 5), (2, 7)):
        fact = TopicAppended("t", partition, 1, 5, min_time_us=1, max_time_us=time_us, partitions=3)
        store.commit([Append("clients", None, (fact,), {0: b"x"})])
    assert reaches(store.database, project) == {"t": Reach(5, None, {0: 5, 2: 7})}
    write(store, TopicCompleted("t", 9, 0))
    assert reaches(store.database, project) == {"t": Reach(9)}


def test_a_topic_whose_rows_all_lie_ahead_of_the_clock_is_not_one_without_rows(store: SqlStore, write: Write) -> None:
    def append(topic: str, time_us: int | None) -> None:
        fact = TopicAppended(topic, 0, 1, 5, min_time_us=time_us, max_time_us=time_us)
        store.commit([Append("clients", None, (fact,), {0: b"x"})])

    append("untimed", None)
    append("t", 10**12)
    assert reaches(store.database, Project("p")) == {"t": Reach(is_ahead=True)}
    append("t", 7)
    assert reaches(store.database, Project("p")) == {"t": Reach(7, None, {0: 7})}
    append("declared", 10**12)
    write(store, TopicCompleted("declared", 9, 0))
    assert reaches(store.database, Project("p"))["declared"] == Reach(9)
