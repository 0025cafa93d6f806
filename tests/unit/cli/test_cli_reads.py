"""Commands that read: what they show of a store with some history, as text and as JSON."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import msgspec
import pytest

import headrace as hr
from headrace.base.instants import to_the_second
from headrace.cli.here import now_us
from headrace.cli.why import RECENT_US
from headrace.data.facts import Part, TablePublished
from headrace.definitions import project as definitions
from headrace.graph.loaded import freeze
from headrace.models.facts import AliasMoved, VersionRegistered, VersionRejected
from headrace.ports import Append
from headrace.runs import facts as f
from headrace.runs.facts import LogSpan, Value
from headrace.store.sql.reads import retention
from headrace.store.sql.reads.project import current_code
from headrace.streams import facts as s

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import FakeEngine, Headrace
    from headrace.store.sql.store import SqlStore

    Write = Callable[..., None]

pytestmark = pytest.mark.headrace_project

RUN = "1ng66r0y5e46"
AT = 1_700_000_000_000_000


@pytest.fixture
def history(store: SqlStore, project: Path, write: Write) -> SqlStore:
    """One run that failed in its second task, one table version, one model version."""
    logs = project / ".headrace" / "logs"
    logs.mkdir()
    (logs / "w1.log").write_bytes(b"noise\nreading\nread\n")
    write(
        store,
        f.RunCreated(RUN, "retrain", "c0de", "person:1", "person", AT, {"rounds": 50}),
        f.AttemptStarted(RUN, "ingest", "", 0, 1, 1, "w1#1", AT),
        f.AttemptSucceeded(RUN, "ingest", "", 0, 1, 1, AT, 400, Value("json", "1"), LogSpan("w1.log", 6, 19)),
        TablePublished("daily", 1, (Part("p", 5, 100, "d"),), 5, RUN, "ingest", 0, 1, AT),
        f.AttemptStarted(RUN, "train", "", 0, 1, 1, "w1#2", AT),
        f.AttemptFailed(RUN, "train", "", 0, 1, 1, AT, "ValueError: no rows", "Traceback: line 7"),
        f.RunEnded(RUN, "failed", AT + 2_000_000, "train"),
        VersionRegistered(
            "delay", 1, "native", "m", "d", 10, RUN, "train", "c0de", "m:f", AT, AT, 9, 4, {"metrics": {"auc": 0.71}}
        ),
        AliasMoved("delay", "champion", 1, 0, "gate", "the first version", AT),
    )
    return store


def test_runs_are_listed(headrace: Headrace, history: SqlStore) -> None:
    lines = headrace("runs", "ls").out.splitlines()
    assert lines[0].split() == ["RUN", "PIPELINE", "STATE", "CAUSE", "CREATED", "TOOK"]
    assert lines[1].split()[:4] == [RUN, "retrain", "failed", "person"]
    assert lines[1].endswith("2.0s")


def test_a_run_in_json_has_the_names_of_the_store(headrace: Headrace, history: SqlStore) -> None:
    (row,) = headrace("runs", "ls", "--json").json()
    assert {"run": RUN, "state": "failed", "created_us": AT, "params": {"rounds": 50}}.items() <= row.items()


def test_runs_can_be_chosen_by_state(headrace: Headrace, history: SqlStore) -> None:
    assert headrace("runs", "ls", "--state", "succeeded", "--json").json() == []
    assert headrace("runs", "ls", "--state", "broken").code == 2


@pytest.mark.parametrize("name", [RUN, "retrain", "last"])
def test_a_run_is_shown_by_id_by_pipeline_or_as_the_last(headrace: Headrace, history: SqlStore, name: str) -> None:
    result = headrace("runs", "show", name)
    assert "failed: train" in result.out
    assert "ValueError: no rows" in result.out
    assert result.out.index("ingest") < result.out.index("train ")


def test_a_run_that_is_not_there_is_exit_code_3(headrace: Headrace, history: SqlStore) -> None:
    result = headrace("runs", "show", "retrian")
    assert result.code == 3
    assert "did you mean 'retrain'?" in result.err


def test_logs_show_what_was_printed_and_the_traceback(headrace: Headrace, history: SqlStore) -> None:
    assert headrace("logs", RUN).out.splitlines() == [
        "--- ingest attempt 1 succeeded",
        "reading",
        "read",
        "--- train attempt 1 failed",
        "Traceback: line 7",
    ]


def test_logs_of_one_task_as_json_lines(headrace: Headrace, history: SqlStore) -> None:
    lines = headrace("logs", RUN, "ingest", "--json").out.splitlines()
    assert lines[0] == '{"task":"ingest","item":"0","attempt":1,"state":"succeeded","line":"reading"}'


def test_logs_show_what_a_running_attempt_has_printed_so_far(
    headrace: Headrace, history: SqlStore, project: Path, write: Write
) -> None:
    later = "1ng66r0y5e47"
    write(
        history,
        f.RunCreated(later, "retrain", "c0de", "person:2", "person", AT),
        f.AttemptStarted(later, "ingest", "", 0, 1, 1, "w1#3", AT),
        f.AttemptStarted(later, "train", "", 0, 1, 1, "w1#4", AT),
    )
    with (project / ".headrace" / "logs" / "w1.log").open("ab") as file:
        file.write(b"epoch 1\nepoch 2\n")
    assert headrace("logs", later).out.splitlines() == ["--- ingest attempt 1 running in w1", "epoch 1", "epoch 2"]
    assert headrace("logs", later, "train").out == "", "the worker is not at it yet"
    line = '{"task":"ingest","item":"0","attempt":1,"state":"running","line":"epoch 1"}'
    assert headrace("logs", later, "--json").out.splitlines()[0] == line


def test_following_shows_no_line_twice(
    headrace: Headrace, history: SqlStore, project: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = "1ng66r0y5e47"
    write(
        history,
        f.RunCreated(later, "retrain", "c0de", "person:2", "person", AT),
        f.AttemptStarted(later, "ingest", "", 0, 1, 1, "w1#3", AT),
    )
    log = project / ".headrace" / "logs" / "w1.log"

    def work(_seconds: float) -> None:
        with log.open("ab") as file:
            file.write(b"epoch 2\n")
        write(
            history,
            f.AttemptSucceeded(later, "ingest", "", 0, 1, 1, AT, 9, Value("json", "1"), LogSpan("w1.log", 19, 35)),
            f.RunEnded(later, "succeeded", AT, ""),
        )

    with log.open("ab") as file:
        file.write(b"epoch 1\n")
    monkeypatch.setattr("headrace.cli.logs.time", SimpleNamespace(sleep=work))
    lines = headrace("logs", later, "-f").out.splitlines()
    assert [line for line in lines if not line.startswith("---")] == ["epoch 1", "epoch 2"]


def test_logs_of_a_task_that_is_not_there(headrace: Headrace, history: SqlStore) -> None:
    result = headrace("logs", RUN, "ingst")
    assert result.code == 3
    assert "did you mean 'ingest'?" in result.err


def test_why_names_reason_and_next_step(headrace: Headrace, history: SqlStore) -> None:
    lines = headrace("why", RUN).out.splitlines()
    assert lines[:2] == [f"run {RUN}: failed: train", f"  next: headrace runs retry {RUN}"]
    assert f"run {RUN} task train: failed: attempt 1: ValueError: no rows" in lines
    assert len({line.partition(":")[0] for line in lines if line.startswith("run")}) == 2, "one line per subject"


def test_why_of_everything_says_first_that_no_engine_is_alive(headrace: Headrace, history: SqlStore) -> None:
    reasons = headrace("why", "--json").json()
    assert reasons[0] == {
        "about": "engine",
        "state": "stopped",
        "why": "no engine is alive",
        "next": "headrace dev",
    }
    assert any(reason["about"] == "stream score" for reason in reasons)


def test_why_lists_requests_that_nobody_has_answered(headrace: Headrace, history: SqlStore) -> None:
    headrace("trigger", "retrain")
    lines = headrace("why").out.splitlines()
    assert "request 1: waiting: trigger retrain is stored: no engine is alive" in lines


def test_why_of_one_thing_lists_its_requests_in_the_words_of_the_command_line(
    headrace: Headrace, history: SqlStore
) -> None:
    headrace("pipelines", "pause", "nightly")
    headrace("pipelines", "resume", "nightly")
    headrace("trigger", "retrain")
    lines = headrace("why", "nightly").out.splitlines()
    assert "request 1: waiting: pause nightly is stored: no engine is alive" in lines
    assert "request 2: waiting: resume nightly is stored: no engine is alive" in lines
    assert not [line for line in lines if "retrain" in line]


def test_why_names_an_event_trigger_that_does_not_read_on(headrace: Headrace, engine: FakeEngine, write: Write) -> None:
    write(
        engine.store,
        s.TriggerProgressed("retrain", "event flights", (0,), msgspec.Raw(b'{"count":1,"within_us":null}'), 0, AT),
    )
    write(engine.store, s.TriggerHeld("retrain", "event flights", "SchemaError HR1222: no such column", AT))
    lines = headrace("why", "retrain").out.splitlines()
    assert "trigger event flights: stopped: SchemaError HR1222: no such column" in lines


def test_why_of_everything_names_paused_pipelines_and_schedules_that_do_not_fire(
    headrace: Headrace, engine: FakeEngine, write: Write
) -> None:
    write(engine.store, f.PipelinePaused("retrain", True, "ann", AT))
    lines = headrace("why").out.splitlines()
    assert next(line for line in lines if line.startswith("pipeline retrain: ")).startswith(
        "pipeline retrain: paused: paused by ann"
    )
    assert "  next: headrace pipelines resume retrain" in lines
    assert "pipeline nightly: waiting: schedules do not fire here" in lines
    assert "  next: schedules = true in headrace.toml" in lines


def test_why_names_the_run_that_another_one_waits_for(headrace: Headrace, engine: FakeEngine, write: Write) -> None:
    first, second = "1ng66r0y5e48", "1ng66r0y5e49"
    for run in (first, second):
        write(engine.store, f.RunCreated(run, "retrain", "c0de", run, "person", AT))
    write(engine.store, f.AttemptStarted(first, "ingest", "", 0, 1, 1, "w1#1", AT))
    lines = headrace("why", second).out.splitlines()
    assert lines == [
        f"run {second}: queued: max_active = 1: waits for run {first}",
        f"  next: headrace why {first}",
    ]


def test_a_failed_run_goes_on_with_the_code_that_was_deployed_since(
    headrace: Headrace, history: SqlStore, write: Write
) -> None:
    now = current_code(history.database)
    assert now is not None
    write(history, f.CodeDeployed("mended", msgspec.Raw(now.project), AT))
    assert f"  next: headrace runs retry {RUN} --current-code" in headrace("why", RUN).out.splitlines()


def test_why_of_a_run_that_succeeded_says_so(headrace: Headrace, history: SqlStore, write: Write) -> None:
    write(
        history,
        f.RunCreated("1ng66r0y5e47", "nightly", "c0de", "k2", "person", AT + 5, {}, (0, AT)),
        f.RunEnded("1ng66r0y5e47", "succeeded", AT + 9, ""),
    )
    assert headrace("why", "last").out == "run 1ng66r0y5e47: succeeded: nothing waits or fails\n"


def test_why_of_something_unknown(headrace: Headrace, history: SqlStore) -> None:
    result = headrace("why", "scor")
    assert result.code == 3
    assert "did you mean 'score'?" in result.err


def test_pipelines_with_triggers_and_last_run(headrace: Headrace, history: SqlStore) -> None:
    by_name = {row["pipeline"]: row for row in headrace("pipelines", "ls", "--json").json()}
    assert by_name["retrain"]["last_state"] == "failed"
    assert by_name["nightly"]["triggers"] == ["@daily"]
    assert by_name["nightly"]["next_slot_us"] % 86_400_000_000 == 0


def test_a_pipeline_shows_its_tasks_and_parameters(headrace: Headrace, history: SqlStore) -> None:
    out = headrace("pipelines", "show", "retrain").out
    assert "rounds:int=200" in out
    assert ["train", "task", "ingest"] in [line.split() for line in out.splitlines()]


def test_tables_with_their_versions(headrace: Headrace, history: SqlStore) -> None:
    assert headrace("tables", "ls", "--json").json()[0]["last"]["version"] == 1
    assert RUN in headrace("tables", "show", "daily").out


def test_models_with_champion_and_metrics(headrace: Headrace, history: SqlStore) -> None:
    assert headrace("models", "ls", "--json").json() == [
        {"model": "delay", "versions": 1, "aliases": {"champion": 1}, "why": None}
    ]
    assert "auc=0.71" in headrace("models", "show", "delay").out


def test_each_version_keeps_the_reason_of_its_own_verdict(headrace: Headrace, history: SqlStore, write: Write) -> None:
    def version(number: int) -> VersionRegistered:
        metrics = {"auc": 0.7, "auc_se": 0.01, "log_loss": 0.5, "accuracy": 0.8, "watch:false_alarms": 0.1}
        return VersionRegistered(
            "delay", number, "native", "m", "d", 10, RUN, "train", "c0de", "m:f", AT, AT, 9, 4, {"metrics": metrics}
        )

    write(
        history,
        version(2),
        VersionRejected("delay", 2, "not above 0.01", AT),
        version(3),
        AliasMoved("delay", "champion", 3, 1, "gate", "gain +0.03", AT),
    )
    out = headrace("models", "show", "delay").out
    third, second, first = (
        next(line for line in out.splitlines() if line.startswith(f"      {n}  ")) for n in (3, 2, 1)
    )
    assert "champion" in third
    assert "rejected" in second
    assert "retired by 3" in first
    assert "first" in first, "the reason of its own promotion"
    assert out.count("gain") == 1
    assert "auc=0.7" in third
    assert not [name for name in ("_se", "log_loss", "accuracy", "false_alarms") if name in out]
    assert "log_loss" in headrace("models", "show", "delay", "--json").out


def test_why_of_a_model_says_why_its_newest_version_does_not_serve(
    headrace: Headrace, project: Path, history: SqlStore, write: Write
) -> None:
    with (project / "cliflights" / "pipelines.py").open("a") as file:
        file.write('\ndelay = hr.Model("delay", dict)\n')
    sys.modules.pop("cliflights.pipelines")  # each command is a process of its own
    second = VersionRegistered("delay", 2, "native", "m", "d", 10, RUN, "train", "c0de", "m:f", AT, AT, 9, 4, {})
    write(history, second, VersionRejected("delay", 2, "gain 0.001 is not above 0.01", AT))
    assert headrace("why", "delay").out.splitlines() == [
        "model delay version 2: rejected: gain 0.001 is not above 0.01",
        "  next: headrace models show delay",
    ]


def test_without_an_engine_streams_are_stopped_and_all_rows_lie_before_them(
    headrace: Headrace, store: SqlStore
) -> None:
    for number in range(3):
        headrace("topics", "append", "departures", "--json-row", f'{{"flight_id": "UA-{number}"}}')
    (row,) = headrace("streams", "ls", "--json").json()
    assert (row["state"], row["lag_rows"]) == ("stopped: no engine is alive", 3)


def test_a_stream_shows_the_rows_that_it_does_not_read(headrace: Headrace, store: SqlStore) -> None:
    assert "not read" not in headrace("streams", "show", "score").out
    for shard, offset in ((0, 3000), (1, 41)):
        log = f"shard:score:{shard}"
        store.commit([Append(log, 0, (s.ShardStarted("score", shard, offset, AT, "start is now"),))])
    assert "not read  3,041 rows before it: start is now" in headrace("streams", "show", "score").out


def test_why_a_stream_stands_still_is_said_wherever_it_is_shown(
    headrace: Headrace, engine: FakeEngine, store: SqlStore
) -> None:
    why = "its process dies as soon as it starts (exit code 1: no module named x); its log: stream-1.log"
    for shard in (0, 1):
        store.commit([Append(f"shard:score:{shard}", 0, (s.ShardHeld("score", shard, why, 1),))])
    for command in (("streams", "ls"), ("streams", "show", "score"), ("why", "score")):
        assert why in headrace(*command).out, command
    assert headrace("streams", "ls", "--json").json()[0]["why"] == why
    assert headrace("streams", "ls", "--json").json()[0]["state"] == "held"


def test_a_stream_without_any_version_that_loads_is_held_and_one_with_an_older_version_runs(
    headrace: Headrace, engine: FakeEngine, store: SqlStore
) -> None:
    problem = "version 2 does not load: OSError"
    for shard, version in ((0, 0), (1, 1)):
        started = s.ShardStarted("score", shard, 0, AT)
        store.commit([
            Append(f"shard:score:{shard}", 0, (started, s.ModelHeld("score", shard, "m", version, 0, AT, problem)))
        ])  # fmt: skip
    rows = headrace("streams", "show", "score").out.splitlines()[-2:]
    assert [row.split()[1] for row in rows] == ["held", "running"]
    assert headrace("streams", "ls", "--json").json()[0]["why"] == problem
    states = [reason["state"] for reason in headrace("why", "score", "--json").json()]
    assert states == ["held", "running"]


def test_a_dead_letter_is_shown_by_its_id_or_by_its_row(headrace: Headrace, store: SqlStore) -> None:
    error = "Traceback:\n  line 3\nValueError: no delay"
    store.commit(
        [
            Append(
                "shard:score:0",
                0,
                (
                    s.ShardStarted("score", 0, 0, AT),
                    s.BatchCommitted("score", 0, 0, 0, 1, 1, 0, 0, 1, "c0de", AT),
                    s.DeadLettered("score", 0, 0, "departures", 0, 0, "error", error, "{}", "c0de", AT),
                ),
            )
        ]
    )
    (letter,) = headrace("dead-letters", "ls", "--json").json()
    out = headrace("dead-letters", "ls").out
    assert "Traceback" not in out
    assert "no delay" in out
    for name in (letter["id"], "departures/0/0", "score/departures/0/0"):
        assert error in headrace("dead-letters", "show", name).out
    assert headrace("dead-letters", "show", letter["id"] + 1).code == 3


def test_why_speaks_of_the_dead_letters_of_the_last_day(headrace: Headrace, store: SqlStore) -> None:
    now = time.time_ns() // 1000
    times = (now - 3 * 86_400_000_000, now - 2_000_000, now)
    letters = [
        s.DeadLettered("score", 0, 0, "departures", 0, n, "error", "no", "{}", "c0de", us) for n, us in enumerate(times)
    ]
    batch = s.BatchCommitted("score", 0, 0, 0, 3, 3, 0, 0, 3, "c0de", AT)
    store.commit([Append("shard:score:0", 0, (s.ShardStarted("score", 0, 0, AT), batch, *letters))])
    assert f"2 rows could not be processed since {to_the_second(times[1])}" in headrace("why", "score").out


def test_a_run_of_events_names_their_rows(headrace: Headrace, store: SqlStore, write: Write) -> None:
    rows = (("departures", 0, 1200, 1205),)
    write(store, f.RunCreated(RUN, "retrain", "c0de", "k", "event", AT, events=rows))
    assert "departures/0 [1,200, 1,205)" in headrace("runs", "show", RUN).out


@pytest.mark.parametrize("noun", ["streams", "monitors", "dead-letters", "topics"])
def test_a_listing_of_nothing_is_an_empty_json_list_or_says_what_is_declared(
    headrace: Headrace, store: SqlStore, noun: str
) -> None:
    names = [next(iter(row.values())) for row in headrace(noun, "ls", "--json").json()]
    assert names == {"streams": ["score"], "topics": ["departures", "scores"]}.get(noun, [])


def test_reading_makes_no_store(headrace: Headrace, project: Path) -> None:
    result = headrace("runs", "ls")
    assert result.code == 0
    assert "no runs" in result.err
    assert not (project / ".headrace").exists()


def test_every_table_fits_eighty_columns(headrace: Headrace, history: SqlStore) -> None:
    nouns = ("pipelines", "runs", "topics", "tables", "streams", "models", "monitors")
    shown = [headrace(noun, "ls").out for noun in nouns] + [headrace("runs", "show", RUN).out]
    assert max(len(line) for text in shown for line in text.splitlines()) <= 80


def test_the_last_run_is_the_one_created_last_also_within_a_second(
    headrace: Headrace, store: SqlStore, write: Write
) -> None:
    later, earlier = "1ng66r000001", "1ng66r00zzzz"
    write(store, f.RunCreated(earlier, "retrain", "c0de", "k1", "person", AT))
    write(store, f.RunCreated(later, "retrain", "c0de", "k2", "person", AT + 5))
    assert headrace("runs", "show", "last", "--json").json()["run"]["run"] == later


def ask_and_refuse(store: SqlStore, write: Write, at_us: int, answer: dict[str, object]) -> None:
    asked = store.ask("cancel", {"run": RUN}, key=f"k{at_us}", at_us=at_us)
    write(store, f.RequestAnswered(asked, "done" if "run" in answer else "refused", answer, at_us))


def test_why_tells_what_was_asked_and_refused_within_a_day_until_the_same_is_done(
    headrace: Headrace, history: SqlStore, write: Write
) -> None:
    told = "request 2: refused: cancel 1ng66r0y5e46: HR3010 run 1ng66r0y5e46 is not running"
    answer: dict[str, object] = {"code": "HR3010", "message": f"run {RUN} is not running", "cure": "look at it"}
    ask_and_refuse(history, write, now_us() - 2 * RECENT_US, answer)
    assert "refused" not in headrace("why").out
    ask_and_refuse(history, write, now_us(), answer)
    for words in (("why",), ("why", RUN)):
        lines = headrace(*words).out.splitlines()
        assert lines[lines.index(told) + 1] == "  next: look at it"
    ask_and_refuse(history, write, now_us(), {"run": RUN})
    assert "refused" not in headrace("why").out


def test_a_failure_of_long_ago_is_one_line_and_one_of_today_is_told_in_full(
    headrace: Headrace, history: SqlStore, write: Write
) -> None:
    lines = headrace("why").out.splitlines()
    told = "older runs: failed: the newest run of retrain went wrong more than a day ago"
    assert lines[lines.index(told) + 1] == "  next: headrace why retrain"
    assert not [line for line in lines if RUN in line]
    write(
        history,
        f.RunCreated("1zg66r0y5e47", "retrain", "c0de", "k2", "person", now_us()),
        f.RunEnded("1zg66r0y5e47", "failed", now_us(), "train"),
    )
    out = headrace("why").out
    assert "older runs" not in out
    assert "run 1zg66r0y5e47: failed: train" in out


def test_a_pipeline_that_is_no_longer_in_the_code_is_gone_and_nobody_is_sent_to_it(
    headrace: Headrace, history: SqlStore, write: Write
) -> None:
    now = now_us()
    write(history, f.RunCreated("1zg66r0y5e47", "p1", "c0de", "k2", "here", now))
    write(history, f.RunEnded("1zg66r0y5e47", "failed", now, "x"))
    assert headrace("why", "p1").out.splitlines() == [
        "pipeline p1: gone: it is not in the project's code",
        "  next: headrace runs ls p1",
        "run 1zg66r0y5e47: failed: x (p1: it is not in the project's code)",
    ]
    assert "headrace run p1" not in headrace("why").out


def test_a_listing_that_was_cut_says_how_it_goes_on(headrace: Headrace, history: SqlStore, write: Write) -> None:
    assert "there are more" not in headrace("runs", "ls", "--limit", "1").err
    write(history, f.RunCreated("1zg66r0y5e47", "retrain", "c0de", "k2", "person", AT))
    result = headrace("runs", "ls", "--limit", "1")
    assert len(result.out.splitlines()) == 2
    assert result.err == "the newest 1 run, and there are more: --limit N, or --before 1zg66r0y5e47\n"


def test_runs_of_a_pipeline_that_is_not_there_name_the_near_one(headrace: Headrace, history: SqlStore) -> None:
    result = headrace("runs", "ls", "retrian")
    assert result.code == 3
    assert "there is no pipeline 'retrian' (did you mean 'retrain'?)" in result.err
    assert headrace("runs", "ls", "nightly").err.startswith("no runs"), "it is there, and never ran"


@hr.task
def grow(n: int) -> int:
    return n


@hr.pipeline
def both() -> list[int]:
    return grow.map([1, 2])


def test_logs_number_the_first_item_of_a_map_too_and_an_ended_run_prints_nothing_more(
    headrace: Headrace, store: SqlStore, write: Write
) -> None:
    body = definitions.encode(freeze("cliflights", [both]).project)
    write(
        store,
        f.CodeDeployed("c1de", msgspec.Raw(body), 0),
        f.RunCreated(RUN, "both", "c1de", "k", "person", AT),
        f.AttemptStarted(RUN, "grow", "", 0, 1, 1, "w1#1", AT),
        f.AttemptFailed(RUN, "grow", "", 0, 1, 1, AT, "ValueError: no rows", "Traceback: line 7"),
        f.RunEnded(RUN, "failed", AT + 9, "grow"),
    )
    assert "--- grow[0] attempt 1 failed" in headrace("logs", RUN).out
    assert headrace("logs", RUN, "--item", "1").err.startswith("nothing was printed by the tasks")


def test_a_result_that_only_pickle_could_keep_is_flagged(headrace: Headrace, history: SqlStore, write: Write) -> None:
    assert "pickle" not in headrace("runs", "show", RUN).out
    run = "1zg66r0y5e47"
    write(
        history,
        f.RunCreated(run, "retrain", "c0de", "k2", "person", AT),
        f.AttemptStarted(run, "ingest", "", 0, 1, 1, "w1#1", AT),
        f.AttemptSucceeded(run, "ingest", "", 0, 1, 1, AT, 400, Value("pickle", path="p")),
    )
    assert "kept as pickle, which other code may not read: ingest" in headrace("runs", "show", run).out
    codecs = {task["task"]: task["codec"] for task in headrace("runs", "show", run, "--json").json()["tasks"]}
    assert codecs == {"ingest": "pickle", "train": None}


# -- details that were dropped -----------------------------------------------------------------------------------------


@pytest.fixture
def forgotten(history: SqlStore, project: Path, write: Write) -> SqlStore:
    """The same run, long after."""
    old = retention.old_details(history.database, AT + 10_000_000, 10)
    assert old is not None
    write(history, f.DetailsDropped(old.runs, AT + 10_000_000, old.gone, AT + 86_400_000_000))
    (project / "headrace.toml").write_text('retention = "1d"\n[project]\nname = "cliflights"\n')
    return history


def test_a_run_without_details_is_shown_with_its_counts(headrace: Headrace, forgotten: SqlStore) -> None:
    result = headrace("runs", "show", RUN)
    assert "details   dropped on 2023-11-15 22:13:20+00:00 (retention 1d)" in result.out
    lines = [line.split() for line in result.out.splitlines()]
    assert ["ingest", "succeeded", "1"] in lines
    assert ["train", "failed", "1"] in lines
    shown = headrace("runs", "show", RUN, "--json").json()
    assert shown["run"]["dropped_us"] == AT + 86_400_000_000
    assert [(task["task"], task["succeeded"], task["failed"]) for task in shown["tasks"][:2]] == [
        ("ingest", 1, 0),
        ("train", 0, 1),
    ]


def test_logs_say_that_they_were_dropped(headrace: Headrace, forgotten: SqlStore) -> None:
    result = headrace("logs", RUN)
    assert result.out == ""
    assert f"what the tasks of run {RUN} printed was dropped on 2023-11-15 22:13:20+00:00" in result.err


def test_why_names_a_new_run_where_details_were_dropped(headrace: Headrace, forgotten: SqlStore) -> None:
    found = headrace("why", RUN).out
    assert "failed: train (its details were dropped on 2023-11-15T22:13:20Z)" in found
    assert "next: headrace trigger retrain" in found


def test_a_trace_goes_on_working_without_details(headrace: Headrace, history: SqlStore, write: Write) -> None:
    before = headrace("trace", "delay:1")
    assert before.code == 0
    old = retention.old_details(history.database, AT + 10_000_000, 10)
    assert old is not None
    write(history, f.DetailsDropped(old.runs, AT + 10_000_000, old.gone, AT))
    assert headrace("trace", "delay:1").out == before.out
