"""Reasons: for everything that waits or fails, why, and the next step."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.definitions.nodes import Const, Graph, Node, Options, Ref, Scope
from headrace.definitions.project import ModelDef, MonitorDef, PipelineDef, Schedule
from headrace.models.controller import Ask, ControllerState
from headrace.runs import reasons, run_reasons
from headrace.runs.reach import Reach
from headrace.runs.reasons import Reason
from headrace.runs.rows import CellRow, ItemRow, RunRow, ScopeRow
from headrace.store.sql.reads.streams import ShardRow

DAY = 86_400_000_000
GRAPH = Graph(
    (Node("a", "task", "m:a"), Node("b", "task", "m:b", {"x": Ref("a")}), Node("c", "task", "m:c", after=("b",)))
)


def run(state: str, **more: Any) -> RunRow:
    values: dict[str, Any] = dict.fromkeys(RunRow.__struct_fields__)
    values |= {
        "run": "r1",
        "pipeline": "p",
        "state": state,
        "cause": "person",
        "waits": (),
        "missing": (),
        "params": {},
    }
    return RunRow(**(values | more))


def cell(node: str, **counts: Any) -> CellRow:
    zero = dict.fromkeys(("running", "succeeded", "failed", "skipped", "cancelled"), 0)
    return CellRow(
        **(
            {"run": "r1", "node": node, "path": "", "is_skipped": False, "why": None, "after_failure": False}
            | zero
            | counts
        )
    )


def item(node: str, state: str, **more: Any) -> ItemRow:
    values: dict[str, Any] = dict.fromkeys(ItemRow.__struct_fields__)
    values |= {
        "run": "r1",
        "node": node,
        "path": "",
        "item": 0,
        "state": state,
        "attempt": 1,
        "detail": "",
        "after_failure": False,
    }
    return ItemRow(**(values | more))


def of_run(
    row: RunRow, cells: list[CellRow], items: list[ItemRow], *, has_engine: bool = True, **marks: int
) -> list[Reason]:
    reaches = {topic: Reach(us) for topic, us in marks.items()}
    return run_reasons.of_run(row, GRAPH, cells, items, reaches=reaches, has_engine=has_engine)


def test_a_run_waits_for_each_topic_that_is_behind_its_window() -> None:
    row = run("waiting", window=(0, DAY), waits=("departures", "weather"))
    (reason,) = of_run(row, [], [], departures=DAY - 19 * 60_000_000, weather=DAY)
    assert reason.why == "waits for departures: complete through 1970-01-01T23:41Z, needed 1970-01-02T00:00Z"


@pytest.mark.parametrize(
    ("reach", "why"),
    [
        (None, "it has no rows"),
        (
            Reach(is_ahead=True),
            "all its rows lie more than an hour ahead of the clock (a broken clock or a wrong unit?)",
        ),
        (Reach(stream="score"), "stream score has not come to an event time in every shard"),
        (Reach(DAY - 1, stream="score", newest_us={0: DAY}), "stream score has come through 1970-01-01T23:59:59Z"),
    ],
)
def test_a_topic_says_by_what_it_is_behind(reach: Reach | None, why: str) -> None:
    row = run("waiting", window=(0, DAY), waits=("weather",))
    reaches = {} if reach is None else {"weather": reach}
    (reason,) = run_reasons.of_run(row, GRAPH, [], [], reaches=reaches, has_engine=True)
    assert reason.why == f"waits for weather: {why}, needed 1970-01-02T00:00Z"


def test_partitions_that_are_behind_are_named_with_what_the_run_goes_on_with() -> None:
    row = run("waiting", window=(DAY, 2 * DAY), waits=("weather",))
    reach = Reach(DAY, newest_us={0: DAY + 60_000_000, 1: 2 * DAY, 3: DAY})
    (reason,) = run_reasons.of_run(row, GRAPH, [], [], reaches={"weather": reach}, has_engine=True)
    assert reason == Reason(
        "run r1",
        "waiting",
        "waits for weather: partitions 0, 3 have rows only up to 1970-01-02T00:00Z, needed 1970-01-03T00:00Z",
        "rows from 1970-01-03T00:00Z on in each of these partitions; without them ready_within= of the pipeline,"
        " or headrace trigger p --window 1970-01-02T00:00Z 1970-01-03T00:00Z (a run beside this one, which still comes"
        " unless you headrace runs cancel r1)",
    )


def test_tasks_that_have_not_begun_say_what_they_wait_for() -> None:
    found = of_run(run("running"), [cell("a", running=1)], [item("a", "running", worker="w1#4")])
    assert [(x.about, x.why) for x in found] == [
        ("run r1 task a", "attempt 1 in worker w1"),
        ("run r1 task b", "waits for a"),
        ("run r1 task c", "waits for b"),
    ]


def test_a_task_whose_upstreams_have_ended_waits_for_a_worker() -> None:
    found = of_run(run("running"), [cell("a", succeeded=1)], [])
    assert found[0] == Reason("run r1 task b", "waiting", "ready: waits for a free worker", "goes by itself")


def test_a_retry_says_when_and_after_what() -> None:
    waiting = item("a", "waiting_retry", attempt=2, error="ValueError: no", retry_at_us=DAY)
    assert of_run(run("running"), [cell("a")], [waiting])[0] == Reason(
        "run r1 task a",
        "waiting",
        "attempt 2 failed: ValueError: no",
        "tried again at 1970-01-02T00:00Z, or as soon as a worker is free then",
    )


def test_a_failed_run_names_its_failures_what_was_skipped_and_the_way_on() -> None:
    cells = [cell("a", failed=1), cell("b", is_skipped=True, why="upstream a failed")]
    found = of_run(run("failed", end_why="a"), cells, [item("a", "failed", path="3", item=1, error="E: x")])
    assert [(x.about, x.state, x.next) for x in found] == [
        ("run r1", "failed", "headrace runs retry r1"),
        ("run r1 task a[3.1]", "failed", "headrace logs r1 a"),
        ("run r1 task b", "skipped", ""),
    ]
    assert found[0].why == "a"


def test_a_failure_names_the_innermost_line_of_the_users_code_and_the_cure_of_headrace() -> None:
    detail = (
        "Traceback (most recent call last):\n"
        '  File "/p/flights/pipelines.py", line 12, in train\n    read(1)\n'
        '  File "/p/flights/io.py", line 3, in read\n    f(x)\n'
        '  File "<string>", line 4, in __init__\n'
        '  File "/v/lib/python3.11/site-packages/polars/frame.py", line 900, in f\n'
        "headrace.errors.SchemaError: departures: no column 'x'\n  name a column of the topic\n"
    )
    failed = item("train it", "failed", error="SchemaError HR1201: no column 'x'", detail=detail)
    told = of_run(run("failed", end_why="train it"), [], [failed])[1]
    assert told.why == "attempt 1: SchemaError HR1201: no column 'x', at /p/flights/io.py:3"
    assert told.next == "name a column of the topic (headrace logs r1 'train it')"


@pytest.mark.parametrize(
    ("error", "is_relative"),
    [
        ("FileNotFoundError: [Errno 2] No such file or directory: 'data/x.csv'", True),
        ("FileNotFoundError: [Errno 2] No such file or directory: '/data/x.csv'", False),
        ("ValueError: x", False),
    ],
)
def test_a_file_that_is_not_there_says_what_its_path_is_relative_to(error: str, is_relative: bool) -> None:
    failed = item("a", "failed", error=error)
    found = run_reasons.of_run(run("failed"), GRAPH, [], [failed], reaches={}, has_engine=True, root="/p")
    assert found[1].why == f"attempt 1: {error}" + (" (relative to /p)" if is_relative else "")


@pytest.mark.parametrize(
    ("deployed", "step"),
    [
        (None, "headrace runs retry r1"),
        (GRAPH, "headrace runs retry r1 --current-code"),
        (Graph(()), "headrace trigger p"),
    ],
)
def test_a_failed_run_of_older_code_goes_on_with_the_deployed_one(deployed: Graph | None, step: str) -> None:
    found = run_reasons.of_run(run("failed"), GRAPH, [], [], reaches={}, has_engine=True, deployed=deployed)
    assert found[0].next == step


def test_a_run_that_is_held_names_the_run_that_it_waits_for() -> None:
    held = run_reasons.HeldBy(1, ("r0",))
    found = run_reasons.of_run(run("running"), GRAPH, [], [], reaches={}, has_engine=True, held_by=held)
    assert found == [Reason("run r1", "queued", "max_active = 1: waits for run r0", "headrace why r0")]


def test_a_run_of_a_script_is_started_again_by_hand() -> None:
    assert of_run(run("lost", cause="here"), [], [])[0].next == "headrace run p"


def test_a_run_that_is_started_again_has_the_parameters_and_the_window_it_had() -> None:
    row = run("failed", cause="here", params={"n": 5, "note": "a b", "places": ["x"]}, window=(0, DAY))
    words = """n=5 'note=a b' 'places=["x"]' --window 1970-01-01T00:00Z 1970-01-02T00:00Z"""
    assert of_run(row, [], [])[0].next == f"headrace run p {words}"
    row = run("failed", params={"n": 5}, dropped_us=DAY)
    assert of_run(row, [], [])[0].next == "headrace trigger p n=5"


def test_without_an_engine_that_is_the_reason() -> None:
    assert of_run(run("running"), [], [], has_engine=False) == [
        Reason("run r1", "running", "no engine is alive", "headrace dev")
    ]


def test_a_run_that_succeeded_says_so() -> None:
    assert of_run(run("succeeded"), [], []) == [Reason("run r1", "succeeded", "nothing waits or fails")]


def test_upstreams_are_inputs_order_branches_and_what_a_map_goes_over() -> None:
    graph = Graph(
        (Node("files", "task", "m:f"), Node("load", "task", "m:l", {"x": Const(1)}, scope=("s",))),
        (Scope("s", Ref("files")),),
    )
    assert run_reasons.upstream_of(graph, graph.nodes[1]) == ["files"]


def test_a_pipeline_with_a_schedule_that_does_not_fire_says_what_to_set() -> None:
    found = reasons.of_pipeline(
        PipelineDef("p", "m:p", GRAPH),
        paused_by="ann",
        next_slot_us=DAY,
        fires_schedules=False,
        has_engine=True,
    )
    assert [reason.next for reason in found] == [
        "headrace pipelines resume p",
        "schedules = true in headrace.toml",
        "headrace trigger p",
    ]


def test_a_model_without_champion_names_the_pipeline_that_makes_one() -> None:
    (reason,) = reasons.of_model(
        ModelDef("delay"), champion=None, versions=0, controller=ControllerState(), last_ask=None, trainer="retrain"
    )
    assert (reason.why, reason.next) == ("no champion yet: it has no version", "headrace trigger retrain")


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (ControllerState(phase="cooling", trained_us=DAY + 408_135), "cool-down until 1970-01-03T00:00Z"),
        (
            ControllerState(phase="training", run="r9", ask=Ask(by="drift", at_us=0, evidence="32 %")),
            "asked by drift: 32 %",
        ),
    ],
)
def test_a_model_says_why_no_training_starts(state: ControllerState, expected: str) -> None:
    model = ModelDef("delay", cooldown_us=DAY)
    found = reasons.of_model(model, champion=1, versions=1, controller=state, last_ask=None, trainer=None)
    assert expected in [reason.why for reason in found]


def test_a_first_training_that_is_under_way_is_not_to_be_started_again() -> None:
    state = ControllerState(phase="training", run="r9", ask=Ask(by="person", at_us=0, evidence="asked for"))
    found = reasons.of_model(
        ModelDef("delay"), champion=None, versions=0, controller=state, last_ask=None, trainer="retrain"
    )
    assert [(x.state, x.next) for x in found] == [("waiting", ""), ("training", "headrace why r9")]


def test_a_model_names_its_last_training_where_it_went_wrong_and_who_starts_another() -> None:
    failed = reasons.FailedTraining("r8", "retrain", "train")
    state = ControllerState(phase="cooling", trained_us=DAY)
    found = reasons.of_model(
        ModelDef("delay"), champion=1, versions=1, controller=state, last_ask=None, trainer="retrain", failed=failed
    )
    assert found[1:] == [
        Reason(
            "model delay",
            "failed",
            "its last training went wrong: run r8 (retrain): train",
            "headrace why r8; it is not tried again by itself, the next ask starts another training",
        )
    ]


def test_a_monitor_waits_for_predictions_and_for_mature_labels() -> None:
    monitor = MonitorDef("watch", "scores", "delay", window_us=DAY)
    model = ModelDef("delay", labels="outcomes", mature_us=2 * DAY)
    marks = {"scores": Reach(9 * DAY), "outcomes": Reach(2 * DAY)}
    (reason,) = reasons.of_monitor(monitor, model, next_end_us=DAY, reaches=marks)
    assert "waits for outcomes: complete through 1970-01-03T00:00Z, needed 1970-01-04T00:00Z" in reason.why


def test_a_monitor_before_the_first_champion_points_at_the_model() -> None:
    monitor = MonitorDef("watch", "scores", "delay", window_us=DAY)
    (reason,) = reasons.of_monitor(monitor, None, next_end_us=None, reaches={})
    assert reason.next == "headrace why delay"


def shard(**more: Any) -> ShardRow:
    values: dict[str, Any] = dict.fromkeys(ShardRow.__struct_fields__)
    return ShardRow(**(values | {"stream": "score", "shard": 2, "is_stopped": False, "dead": 0} | more))


def test_a_held_shard_says_when_it_tries_again() -> None:
    (reason,) = reasons.of_shard(shard(why="ConnectionError", until_us=DAY), lag=5)
    assert reason == Reason("stream score/2", "held", "ConnectionError", "tries again at 1970-01-02T00:00Z")


def test_a_stopped_shard_waits_for_a_person() -> None:
    (reason,) = reasons.of_shard(shard(why="contract", is_stopped=True), lag=None)
    assert (reason.state, reason.next) == ("stopped", "mend it and save")


def test_a_shard_that_serves_an_older_version_runs_and_says_which() -> None:
    problem = "version 2 does not load: OSError"
    (reason,) = reasons.of_shard(shard(model="m", model_version=1, model_problem=problem), lag=0)
    assert reason == Reason("stream score/2", "running", f"m stays at version 1: {problem}", "headrace models show m")
    (reason,) = reasons.of_shard(shard(model="m", model_version=0, model_problem=problem), lag=0)
    assert (reason.state, reason.why) == ("held", f"no version of m serves: {problem}")


def test_a_lag_is_a_reason_only_where_there_is_no_better_one() -> None:
    assert reasons.of_shard(shard(), lag=1200)[0].why == "1,200 rows behind"
    assert reasons.of_shard(shard(), lag=0) == []


def test_dead_letters_of_a_shard_are_those_of_late_and_say_since_when() -> None:
    (reason,) = reasons.of_shard(shard(dead=700), lag=0, dead=(1, DAY + 5))
    assert reason.why == "1 row could not be processed since 1970-01-02T00:00Z"
    assert reasons.of_shard(shard(dead=700), lag=0) == [], "what was long ago is no news"


def test_a_ready_task_names_what_holds_the_workers() -> None:
    held = [run_reasons.AtWork(f"r{n}", "ingest", 5 - n) for n in range(5)]
    found = run_reasons.of_run(run("running"), GRAPH, [], [], reaches={}, has_engine=True, at_work=held)
    assert found[0].why == (
        "ready: waits for a free worker: they have 5 attempts of run r0 (ingest), 4 attempts of run r1 (ingest),"
        " 3 attempts of run r2 (ingest) and those of 2 more runs"
    )
    found = run_reasons.of_run(run("running"), GRAPH, [], [], reaches={}, has_engine=True, at_work=held[4:])
    assert found[0].why == "ready: waits for a free worker: they have 1 attempt of run r4 (ingest)"


def test_without_workers_nothing_goes_by_itself() -> None:
    found = run_reasons.of_run(run("running"), GRAPH, [], [], reaches={}, has_engine=True, workers=0)
    ready = [reason for reason in found if reason.why.startswith("ready")]
    assert ready
    assert {(x.why, x.next) for x in ready} == {
        ("ready: there are no workers: workers = 0", "workers = 2 in headrace.toml, then headrace dev")
    }


def test_an_attempt_whose_worker_died_was_lost_as_the_log_says() -> None:
    again = item("a", "waiting_retry", attempt=2, error="the worker was killed", detail=None)
    assert of_run(run("running"), [cell("a")], [again])[0].why == "attempt 2 lost: the worker was killed"
    ended = item("a", "failed", attempt=5, error="the worker was killed", detail=None)
    found = of_run(run("failed", end_why="a"), [cell("a")], [ended])
    assert found[1].why == "attempt 5 was lost: the worker was killed"


def test_the_slots_of_a_paused_pipeline_do_not_go_by_themselves() -> None:
    nightly = PipelineDef("nightly", "m:nightly", Graph(()), triggers=(Schedule("@daily"),))
    found = reasons.of_pipeline(nightly, paused_by="ann", next_slot_us=DAY, fires_schedules=True, has_engine=True)
    assert [(x.why, x.next) for x in found] == [
        ("paused by ann", "headrace pipelines resume nightly"),
        ("its next slot is 1970-01-02T00:00Z: it is skipped while the pipeline is paused", ""),
    ]


def test_why_a_run_ended_says_who_cancelled_it_once_and_also_where_something_else_ended_it() -> None:
    (cancelled,) = of_run(run("cancelled", end_why="by ann", cancelled_by="ann"), [], [])
    assert (cancelled.state, cancelled.why) == ("cancelled", "by ann")
    (lost,) = of_run(run("lost", end_why="its process died with ann", cancelled_by="ann"), [], [])
    assert lost.why == "its process died with ann (cancelled by ann)"


@pytest.mark.parametrize(
    ("options", "running", "why"),
    [
        ({}, 1, "ready: waits for a free worker"),
        ({"concurrency": 2}, 1, "ready: waits for a free worker"),
        ({"concurrency": 1}, 1, "ready: concurrency = 1: waits for one of its 1 running attempts"),
        ({"rate": 5}, 0, "ready: waits for its rate, at most 5 starts in 1m, and for a free worker"),
    ],
)
def test_what_is_to_come_of_a_map_waits_for_the_limits_of_its_task(
    options: dict[str, int], running: int, why: str
) -> None:
    nodes = (
        Node("a", "task", "m:a", scope=("s",), options=Options(**options)),
        Node("b", "task", "m:b", {"x": Ref("a")}),
    )
    graph = Graph(nodes, (Scope("s", Const([1] * 9)),))
    cells, scopes = [cell("a", succeeded=4, running=running)], [ScopeRow("r1", "s", "", 9)]
    found = run_reasons.of_run(run("running"), graph, cells, [], reaches={}, has_engine=True, scopes=scopes)
    assert [(x.about, x.why) for x in found] == [
        ("run r1 task a", f"{5 - running} of 9 items are to come; {why}"),
        ("run r1 task b", "waits for a"),
    ]
    retried = item("a", "waiting_retry", error="E: x", retry_at_us=DAY)
    said = run_reasons.of_run(run("running"), graph, cells, [retried], reaches={}, has_engine=True, scopes=scopes)[
        0
    ].next
    assert ("as soon as its limits" in said) == ("rate" in why or "concurrency" in why)
