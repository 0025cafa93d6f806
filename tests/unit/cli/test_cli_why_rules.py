"""What `why` says about waiting is what the engine decides by: the same rules over the same rows."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from headrace.base.instants import to_us
from headrace.cli.why import of_monitor
from headrace.data.facts import TopicAppended
from headrace.definitions.project import ModelDef, MonitorDef, Project
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


def appended(store: SqlStore, time_us: int) -> None:
    fact = TopicAppended("departures", 0, 1, 5, min_time_us=1, max_time_us=time_us, partitions=1)
    store.commit([Append("clients", None, (fact,), {0: b"x"})])


def test_the_newest_rows_say_how_far_a_topic_is_complete(headrace: Headrace, engine: FakeEngine, write: Write) -> None:
    appended(engine.store, 3_600_000_000)
    write(engine.store, f.RunCreated("r1", "nightly", "c0de", "k", "person", 0, {}, (0, DAY), waits=("departures",)))
    (reason,) = headrace("why", "r1", "--json").json()
    assert "1970-01-01T01:00Z, needed 1970-01-02T00:00Z" in reason["why"]


def test_over_a_change_of_the_clock_a_monitor_waits_until_its_own_midnight(store: SqlStore, write: Write) -> None:
    start_us = to_us(dt.datetime(2026, 3, 23, tzinfo=ZoneInfo("Europe/Berlin")))
    weekly = MonitorDef("w", "departures", "delay", 7 * DAY, anchor_us=start_us, timezone="Europe/Berlin")
    project = Project("p", models={"delay": ModelDef("delay")}, monitors={"w": weekly})
    here: Any = msgspec.defstruct("Here", ["db", "project"])(store.database, project)
    assert "no champion yet" in next(of_monitor(here, "w")).why
    write(
        store,
        VersionRegistered("delay", 1, "native", "m", "d", 10, "r", "train", "c0de", "m:f", 0, 0, 9, 4),
        AliasMoved("delay", "champion", 1, 0, "gate", "the first version", 0, start_us),
    )
    (first,) = of_monitor(here, "w")
    assert first.why.startswith("the window up to 2026-03-29T22:00Z"), "seven days, of which one has 23 hours"
    window = (start_us - 7 * DAY, start_us)
    write(store, f.RunCreated("r2", "monitor:w", "c0de", "k2", "monitor", 0, {}, window))
    write(store, f.RunEnded("r2", "succeeded", 1))
    (after_a_run,) = of_monitor(here, "w")
    assert after_a_run.why == first.why, "judged or not, the window of a run is past"


def test_a_run_that_is_let_in_holds_the_next_one_before_its_first_attempt(
    headrace: Headrace, engine: FakeEngine, write: Write
) -> None:
    for run in ("r1", "r2", "r3"):
        write(engine.store, f.RunCreated(run, "retrain", "c0de", run, "person", 0))
    assert "queued" not in headrace("why", "r1").out
    for run in ("r2", "r3"):
        assert headrace("why", run).out.splitlines()[0] == f"run {run}: queued: max_active = 1: waits for run r1"
    write(engine.store, f.RunEnded("r1", "cancelled", 1))
    assert "queued" not in headrace("why", "r2").out
    assert "waits for run r2" in headrace("why", "r3").out


def test_a_run_that_waits_for_rows_holds_nobody(headrace: Headrace, engine: FakeEngine, write: Write) -> None:
    write(engine.store, f.RunCreated("r1", "retrain", "c0de", "k1", "person", 0, {}, (0, DAY), waits=("departures",)))
    write(engine.store, f.RunCreated("r2", "retrain", "c0de", "k2", "person", 0))
    assert "queued" not in headrace("why", "r2").out


def test_runs_behind_max_active_are_queued_wherever_they_are_shown(
    headrace: Headrace, engine: FakeEngine, write: Write
) -> None:
    for run in ("r1", "r2", "r3"):
        write(engine.store, f.RunCreated(run, "retrain", "c0de", run, "person", 0))
    write(engine.store, f.AttemptStarted("r1", "ingest", "", 0, 1, 1, "w1#1", 0))
    assert [row["state"] for row in headrace("runs", "ls", "--json").json()] == ["queued", "queued", "running"]
    assert [line.split()[2] for line in headrace("runs", "ls").out.splitlines()[1:]] == ["queued", "queued", "running"]
    shown = headrace("runs", "show", "r2").out
    assert "state     queued\nwhy       max_active = 1: waits for run r1\n" in shown
    assert "took" not in shown
    assert shown.endswith("next: headrace why r2\n")
    told = headrace("runs", "show", "r2", "--json").json()
    assert (told["run"]["state"], told["waits"][0]["why"]) == ("queued", "max_active = 1: waits for run r1")
    last = {row["pipeline"]: row["last_state"] for row in headrace("pipelines", "ls", "--json").json()}
    assert last == {"retrain": "queued", "nightly": None}
    assert [run["state"] for run in headrace("pipelines", "show", "retrain", "--json").json()["runs"]][1] == "queued"
    write(engine.store, f.AttemptSucceeded("r1", "ingest", "", 0, 1, 1, 1, 1, f.Value("json", "1")))
    write(engine.store, f.RunCancelled("r1", 1, "ann"), f.RunEnded("r1", "cancelled", 1))
    states = {row["run"]: row["state"] for row in headrace("runs", "ls", "--json").json()}
    assert states == {"r1": "cancelled", "r2": "running", "r3": "queued"}


def test_runs_are_listed_by_the_state_that_they_are_shown_in(
    headrace: Headrace, engine: FakeEngine, write: Write
) -> None:
    for number in range(5):
        write(engine.store, f.RunCreated(f"r{number}", "retrain", "c0de", f"k{number}", "person", 0))
    write(engine.store, f.RunCreated("r9", "nightly", "c0de", "k9", "person", 0))

    def listed(*words: object) -> list[str]:
        return [row["run"] for row in headrace("runs", "ls", "--json", *words).json()]

    assert listed("--state", "running") == ["r9", "r0"]
    assert listed("--state", "running", "--limit", 1, "--before", "r9") == ["r0"]
    assert listed("--state", "queued", "--limit", 3) == ["r4", "r3", "r2"]
    assert listed("--state", "queued", "--limit", 3, "--before", "r2") == ["r1"]
    assert "--before r2" in headrace("runs", "ls", "--state", "queued", "--limit", 3).err
    assert headrace("runs", "ls", "--state", "queued", "--limit", 4).err == ""
