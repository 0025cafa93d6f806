"""The auditor sees what it must: each of these histories breaks one promise, and only the intact one passes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
import xxhash

from headrace.base.facts import Fact, encode
from headrace.data.facts import Part, TablePublished, TopicCompleted
from headrace.definitions.nodes import Const, Graph, Node, Options, Ref, Scope
from headrace.definitions.project import ModelDef, OnMonitor, PipelineDef, Project, Schedule
from headrace.models.facts import RetrainAsked, StreakMoved, WindowJudged
from headrace.ports import Append
from headrace.runs import facts as f
from headrace.store.sql.engine_store import EngineSqlStore
from headrace.streams.facts import BatchCommitted, ShardStarted, TriggerFired
from headrace.testing.auditor import audit, calendars
from headrace.testing.auditor.audit import Auditor
from headrace.testing.auditor.evidence import Evidence, Violation
from headrace.testing.auditor.triggers import group
from headrace.testing.auditor.witness import Appended, Begun, Witness

MINUTE = 60_000_000
GRAPH = Graph((Node("a", "task", "m:a", options=Options(retries=1)), Node("b", "task", "m:b", {"x": Ref("a")})))
ASKER = PipelineDef("learn", "m:learn", Graph(()), triggers=(OnMonitor("watch", "drift"),), registers="m")
ALARM = PipelineDef("alarm", "m:alarm", Graph(()), triggers=(OnMonitor("watch", "drift"),))
TIMED = PipelineDef("timed", "m:timed", Graph(()), triggers=(Schedule("every 1m", catchup=True),))
HOURLY = PipelineDef("hourly", "m:h", Graph(()), triggers=(Schedule("every 1h", catchup=True),), reads=("seen",))
PROJECT = Project(
    "p",
    pipelines={"p": PipelineDef("p", "m:p", GRAPH), "timed": TIMED, "learn": ASKER, "alarm": ALARM, "hourly": HOURLY},
    models={"m": ModelDef("m")},
)


def created(
    run: str = "r1", key: str = "k", pipeline: str = "p", cause: str = "person", at_us: int = 1
) -> f.RunCreated:
    return f.RunCreated(run, pipeline, "c1", key, cause, at_us)


def started(node: str, attempt: int = 1, epoch: int = 1) -> f.AttemptStarted:
    return f.AttemptStarted("r1", node, "", 0, attempt, epoch, "w1#1", 1)


def succeeded(node: str, attempt: int = 1, epoch: int = 1) -> f.AttemptSucceeded:
    return f.AttemptSucceeded("r1", node, "", 0, attempt, epoch, 1, 1, f.Value("json", "1"))


INTACT = (
    f.LogTaken(1, "engine", 1), created(), started("a"), succeeded("a"), started("b"), succeeded("b"),
    f.RunEnded("r1", "succeeded", 1),
)  # fmt: skip


def audited(*facts: Fact, edit: str | None = None, **about: Any) -> set[str]:
    store = EngineSqlStore(":memory:")
    try:
        for fact in facts:
            store.commit([Append("engine", store.head("engine"), (fact,))])
        if edit is not None:
            with store.database.write() as connection:
                connection.execute(edit)
        return {violation.number for violation in audit(Evidence(store.database, {"c1": PROJECT}, **about))}
    finally:
        store.close()


def violations(*facts: Fact) -> list[Violation]:
    store = EngineSqlStore(":memory:")
    try:
        store.commit([Append("engine", 0, facts)])
        return audit(Evidence(store.database, {"c1": PROJECT}))
    finally:
        store.close()


def test_an_intact_history_keeps_every_promise() -> None:
    assert audited(*INTACT) == set()


@pytest.mark.parametrize(
    ("facts", "promise"),
    [
        ((*INTACT[:3], started("b")), "E7"),
        ((created(), f.RunEnded("r1", "succeeded", 1)), "E12"),
        ((*INTACT[:4], f.RunEnded("r1", "failed", 1)), "E12"),
        ((created(), started("a"), f.RunEnded("r1", "cancelled", 1)), "E1"),
        ((TablePublished("t", 1, (), 0, "r1", "a", 0, 1, 1),), "A3"),
        ((created("r1", "event:p:e:0:1", cause="event"),), "S5"),
        (
            (
                f.SlotsSkipped("timed", "schedule", 0, 0, 0, "begins", 1),
                f.SlotsSkipped("timed", "schedule", MINUTE, 2 * MINUTE, 1, "paused", 1),
            ),
            "S2",
        ),
        ((ShardStarted("s", 0, 0, 1), BatchCommitted("s", 0, 0, 0, 3, 3, 1, 1, 0, "c1", 1)), "T10"),
        ((ShardStarted("s", 0, 0, 1), BatchCommitted("s", 0, 0, 0, 3, 3, 3, 0, 0, "c1", 1)), "T2"),
        (
            (
                f.CodeDeployed("c1", msgspec.Raw(b"{}"), 1),
                f.SlotsSkipped("timed", "schedule", 0, 0, 0, "begins", 1),
                f.PipelinePaused("timed", True, "somebody", 1),
                created("r1", f"schedule:timed:schedule:{MINUTE}", "timed", "schedule", MINUTE),
            ),
            "S6",
        ),
        (
            (
                f.CodeDeployed("c1", msgspec.Raw(b"{}"), 1),
                WindowJudged("watch", "m", (0, 7), 1, 1, True, "", None, "r1", 1, {"drift": True}),
            ),
            "A1",
        ),
    ],
)  # fmt: skip
def test_a_broken_promise_is_named(facts: tuple[Fact, ...], promise: str) -> None:
    assert promise in audited(*facts)


@pytest.mark.parametrize(
    ("edit", "promise"),
    [
        ("DELETE FROM facts WHERE seq = 3", "A4"),
        ("DELETE FROM facts WHERE seq = 7", "A4"),
        ("UPDATE items SET state = 'failed' WHERE node = 'b'", "D2"),
        ("UPDATE cells SET running = 1", "E10"),
        ("UPDATE runs SET state = 'failed'", "D2"),
        ("INSERT INTO aliases VALUES ('m', 'champion', 1, 1)", "D2"),
    ],
)
def test_an_edited_row_is_found(edit: str, promise: str) -> None:
    assert promise in audited(*INTACT, edit=edit)


def waiting(*waits: str) -> f.RunCreated:
    key = f"schedule:hourly:every 1h:{60 * MINUTE}"
    return f.RunCreated("r1", "hourly", "c1", key, "schedule", 1, window=(0, 60 * MINUTE), waits=waits)


@pytest.mark.parametrize(
    ("facts", "is_kept"),
    [
        ((TopicCompleted("seen", 60 * MINUTE, 1), waiting("seen"), f.RunReady("r1", 2)), True),
        ((TopicCompleted("seen", 59 * MINUTE, 1), waiting("seen"), f.RunReady("r1", 2)), False),
        ((waiting("seen"), f.RunReady("r1", 2)), False),
        ((waiting("seen"), f.RunReady("r1", 2, missing=("seen",))), False),  # it has no ready_within
        ((waiting(),), False),
    ],
)
def test_a_run_that_begins_before_its_topics_are_complete_is_found(facts: tuple[Fact, ...], is_kept: bool) -> None:
    assert ("T6" not in audited(*facts)) is is_kept


def part(run: str, path: str) -> Part:
    return Part(path, 1, 1, "", (0, 9), run)


@pytest.mark.parametrize(
    ("parts", "replaced", "is_kept"),
    [
        ((part("r1", "b"),), ("r0",), True),
        ((part("r1", "b"),), (), False),
        ((part("r0", "a"), part("r1", "b")), (), True),
    ],
)
def test_a_version_that_replaces_rows_without_a_word_is_found(
    parts: tuple[Part, ...], replaced: tuple[str, ...], is_kept: bool
) -> None:
    first = TablePublished("t", 1, (part("r0", "a"),), 1, "r0", "a", 0, 1, 1)
    then = TablePublished("t", 2, parts, 1, "r1", "a", 0, 1, 1, replaced=replaced)
    assert ("a version names the runs" not in str(violations(first, then))) is is_kept


def test_a_window_that_holds_a_piece_of_a_run_is_found() -> None:
    versions = [
        TablePublished("t", n, (part(run, path),), 1, run, path, 0, 1, 1, replaced=gone)
        for n, run, path, gone in ((1, "r1", "a", ()), (2, "r2", "a", ("r1",)), (3, "r1", "b", ("r2",)))
    ]
    assert "stands together" in str(violations(*versions))


def test_an_attempt_that_was_sent_but_never_committed_is_found() -> None:
    witness = Witness()
    witness.sent(Begun("r1", "a", "", 0, 7, 7, 1))
    assert "E7" in audited(*INTACT, witness=witness)


def test_work_that_never_ends_is_found() -> None:
    assert "D5" in audited(created(), has_ended=False)


def test_a_violation_says_what_was_promised_and_shows_the_fact() -> None:
    store = EngineSqlStore(":memory:")
    store.commit([Append("engine", 0, (created(), started("b")))])
    (first, *_) = audit(Evidence(store.database, {"c1": PROJECT}))
    store.close()
    assert "E7" in str(first)
    assert "node='b'" in str(first)


def test_what_a_client_was_told_and_is_not_there_is_found() -> None:
    witness = Witness()
    witness.acknowledged[7] = ("k", "trigger", {"pipeline": "p"})
    witness.appended.append(Appended("orders", 0, 0, 1, b"x"))
    assert {"D1", "T9"} <= audited(*INTACT, witness=witness)


def test_an_attempt_of_a_cancelled_run_that_was_not_told_is_found() -> None:
    witness = Witness()
    begun = Begun("r1", "a", "", 0, 1, 1, 1)
    for said in (witness.sent, witness.begun, witness.finished):
        said(begun)
    late = f.AttemptSucceeded("r1", "a", "", 0, 1, 1, 99, 1, f.Value("json", "1"))
    facts = (f.LogTaken(1, "engine", 1), created(), started("a"), f.RunCancelled("r1", 5, "somebody"), late)
    assert "E8" in audited(*facts, witness=witness)
    witness.told(begun)
    assert "E8" not in audited(*facts, witness=witness)


def test_a_look_in_the_middle_finds_what_is_wrong_by_then_and_reads_each_fact_once() -> None:
    store = EngineSqlStore(":memory:")
    auditor = Auditor(store.database, {"c1": PROJECT}, Witness())
    store.commit([Append("engine", 0, INTACT[:4])])
    assert auditor.look() == []
    store.commit([Append("engine", 4, (f.RunEnded("r1", "succeeded", 1),))])
    found = {violation.number for violation in auditor.look()}
    store.close()
    assert found == {"E12"}


def us(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("expression", "day", "slots"),
    [
        ("30 2 * * *", (2026, 3, 29), [(1, 0)]),  # skipped: at the end of the gap
        ("30 2 * * *", (2026, 10, 25), [(0, 30)]),  # repeated: the first time
        ("*/20 2 * * *", (2026, 3, 29), []),
        ("*/20 2 * * *", (2026, 10, 25), [(0, 0), (0, 20), (0, 40), (1, 0), (1, 20), (1, 40)]),
        ("30 2 * * *", (2026, 7, 1), [(0, 30)]),
    ],
)
def test_calendars_know_the_days_on_which_clocks_change(
    expression: str, day: tuple[int, int, int], slots: list[tuple[int, int]]
) -> None:
    schedule = Schedule(expression, "Europe/Berlin")
    found = calendars.slots(schedule, us(*day) - 1, us(*day, 23, 59))
    assert found == [us(*day, *time) for time in slots]


def test_events_are_grouped_by_count_and_time() -> None:
    assert group([0, 1, 2, 3, 4], 2, None) == ([(0, 1), (2, 3)], 0)
    assert group([0, 100, 101], 2, 10) == ([(1, 2)], 1)


def test_a_check_knows_all_facts_however_many_broken_promises_came_before_them() -> None:
    runs = [f"x{n}" for n in range(30)]
    broken = [fact for run in runs for fact in (created(run, run), msgspec.structs.replace(started("b"), run=run))]
    assert audited(INTACT[0], *broken, *INTACT[1:], has_ended=False, is_quiet=False) == {"E7"}


def test_a_training_that_is_tried_again_beside_another_is_two_at_once() -> None:
    ask = RetrainAsked("m", "person", "asked for", 1, True, "asked for", 1)
    trainings = (
        f.LogTaken(1, "engine", 1),
        ask,
        created("r1", "retrain:m:1", "learn", "retrain"),
        f.RunEnded("r1", "failed", 1),
        ask,
        created("r2", "retrain:m:2", "learn", "retrain"),
    )
    assert "A1" not in audited(*trainings)
    assert "A1" in audited(*trainings, f.RunRetried("r1", 2, 1, "ann"))


def test_an_event_that_asked_for_a_training_has_its_answer() -> None:
    fired = TriggerFired("learn", "event", "0:1", (("t", 0, 0, 1),), 1, 1)
    asked = RetrainAsked("m", "event", "1 row of t", 1, True, "event asks", 1, key="event:learn:event:0:1")
    training = created("r1", "retrain:m:1", "learn", "retrain")
    assert "S5" in audited(INTACT[0], fired)
    assert "S5" not in audited(INTACT[0], fired, asked, training)
    assert "S5" in audited(INTACT[0], fired, asked, training, asked)


def test_what_a_monitor_asks_for_starts_unless_it_is_paused() -> None:
    judged = WindowJudged("watch", "m", (0, 100), 1, 9, True, "drift", None, "r0", 1, {"drift": True})
    streaks = (StreakMoved("watch:drift:learn", 0, 100), StreakMoved("watch:drift:alarm", 0, 100))
    ask = RetrainAsked("m", "watch.drift", "drift", 100, False, "cool-down", 1)
    begun = created("r1", "asked:alarm:watch:100", "alarm", "monitor")
    dropped = f.TriggerSuppressed("alarm", "asked:alarm:watch:100", "the pipeline is paused", 1)
    deployed, paused = f.CodeDeployed("c1", msgspec.Raw(b"{}"), 1), f.PipelinePaused("alarm", True, "ann", 1)
    whole = (INTACT[0], deployed, judged, *streaks, ask)
    rest = (INTACT[0], deployed, paused, judged, *streaks, ask)
    quiet = {"has_ended": False, "is_quiet": False}
    assert not {"A1", "S5", "S6"} & audited(*whole, begun, **quiet)
    assert not {"A1", "S5", "S6"} & audited(*rest, dropped, **quiet)
    assert "S6" in audited(*whole, dropped, **quiet)
    assert "S6" in audited(*rest, begun, **quiet)
    assert "A1" in audited(*rest, **quiet)


# -- details that were dropped -----------------------------------------------------------------------------------------


def dropping(*facts: Fact, runs: tuple[str, ...] = ("r1",), lengths: tuple[int, ...] = (4,), **about: Any) -> Fact:
    """As the engine decides it: the details of the run lie at 3 and after."""
    bodies = b"".join(encode(fact) for fact in facts[2:6])
    gone = f.Gone("engine", 3, lengths, xxhash.xxh3_128_hexdigest(bodies))
    return f.DetailsDropped(runs, about.get("before_us", 2), (gone,), 9)


def watched(*facts: Fact) -> set[str]:
    """What an auditor says who has seen all of it, commit by commit."""
    store = EngineSqlStore(":memory:")
    try:
        auditor = Auditor(store.database, {"c1": PROJECT}, Witness())
        found: set[str] = set()
        for fact in facts:
            store.commit([Append("engine", store.head("engine"), (fact,))])
            found.update(violation.number for violation in auditor.look())
        end = Evidence(store.database, {"c1": PROJECT})
        return found | {violation.number for violation in auditor.close(end)}
    finally:
        store.close()


def test_details_that_were_dropped_are_no_gap_whether_or_not_somebody_saw_them() -> None:
    history = (*INTACT, dropping(*INTACT), f.FilesDropped(("r1",), 10))
    assert watched(*history) == set()
    assert audited(*history) == set()


def test_a_fact_that_was_deleted_by_hand_is_a_gap_beside_those_that_were_dropped() -> None:
    history = (*INTACT, dropping(*INTACT))
    assert "A4" in audited(*history, edit="DELETE FROM facts WHERE seq = 2")
    assert "A4" in audited(*history, edit="DELETE FROM facts WHERE seq = 7")


def test_a_detail_that_is_left_behind_or_told_by_another_digest_is_seen() -> None:
    assert watched(*INTACT, dropping(*INTACT, lengths=(3,))) == {"D8"}
    other = (*INTACT[:2], started("b"), *INTACT[3:])
    assert watched(*INTACT, dropping(*other)) == {"D8"}


def test_the_key_of_a_run_is_kept_for_ever() -> None:
    assert "D8" in audited(*INTACT, dropping(*INTACT), edit="UPDATE runs SET key = 'another'")


JOINED = Graph(
    (
        Node("load", "task", "m:l", scope=("s",)),
        Node("total", "task", "m:t", {"x": Ref("load")}),
        Node("c", "task", "m:c"),
    ),
    (Scope("s", Const([1, 2])),),
)


def test_a_list_that_grows_after_a_task_was_given_it_is_seen() -> None:
    def of(node: str, item: int, *, attempt: int = 1, fails: bool = False) -> tuple[Fact, Fact]:
        start = f.AttemptStarted("r1", node, "", item, attempt, attempt, "w1#1", 1)
        if fails:
            return start, f.AttemptFailed("r1", node, "", item, attempt, attempt, 1, "ValueError")
        return start, f.AttemptSucceeded("r1", node, "", item, attempt, attempt, 1, 1, f.Value("json", "1"))

    history = (
        f.LogTaken(1, "engine", 1), created(), f.MapExpanded("r1", "s", "", 2), *of("load", 0),
        *of("load", 1, fails=True), *of("total", 0), *of("c", 0), f.RunEnded("r1", "failed", 1),
        f.RunRetried("r1", 2, 1, "ann"), *of("load", 1, attempt=2), f.RunEnded("r1", "succeeded", 1),
    )  # fmt: skip
    store = EngineSqlStore(":memory:")
    try:
        store.commit([Append("engine", 0, history)])
        project = Project("p", pipelines={"p": PipelineDef("p", "m:p", JOINED)})
        found = audit(Evidence(store.database, {"c1": project}))
    finally:
        store.close()
    assert {violation.number for violation in found} == {"E7", "E15"}


CUT = Graph(
    (
        Node("load", "task", "m:l", scope=("s",), options=Options(allow_failed=1)),
        Node("clean", "task", "m:c", {"x": Ref("load")}, scope=("s",)),
        Node("total", "task", "m:t", {"x": Ref("clean")}),
    ),
    (Scope("s", Const([1, 2, 3])),),
)


def cut(*ends: Fact, fails: int) -> set[str]:
    """So many of three items fail at `load`, and `clean` is skipped for them; the history ends as given."""

    def of(node: str, item: int, *, is_bad: bool = False) -> tuple[Fact, Fact]:
        start = f.AttemptStarted("r1", node, "", item, 1, 1, "w1#1", 1)
        if is_bad:
            return start, f.AttemptFailed("r1", node, "", item, 1, 1, 1, "ValueError")
        return start, f.AttemptSucceeded("r1", node, "", item, 1, 1, 1, 1, f.Value("json", "1"))

    history: list[Fact] = [f.LogTaken(1, "engine", 1), created(), f.MapExpanded("r1", "s", "", 3)]
    for item in range(3):
        history += of("load", item, is_bad=item < fails)
        history += (f.ItemSkipped("r1", "clean", "", item, "", True),) if item < fails else of("clean", item)
    store = EngineSqlStore(":memory:")
    try:
        store.commit([Append("engine", 0, (*history, *ends))])
        project = Project("p", pipelines={"p": PipelineDef("p", "m:p", CUT)})
        return {violation.number for violation in audit(Evidence(store.database, {"c1": project}))}
    finally:
        store.close()


GIVEN = (started("total"), succeeded("total"))
WITHHELD = (f.NodeSkipped("r1", "total", "", "", True),)


def test_a_list_without_what_was_forgiven_is_given() -> None:
    assert cut(*GIVEN, f.RunEnded("r1", "succeeded", 1), fails=1) == set()
    assert cut(*WITHHELD, f.RunEnded("r1", "succeeded", 1), fails=1) == {"E13"}


def test_a_list_that_a_retry_can_still_add_to_is_not_given() -> None:
    assert cut(*WITHHELD, f.RunEnded("r1", "failed", 1), fails=2) == set()
    assert cut(*GIVEN, f.RunEnded("r1", "failed", 1), fails=2) == {"E7"}


def test_details_of_a_run_in_process_are_dropped_by_a_log_that_comes_before_its_own() -> None:
    store = EngineSqlStore(":memory:")
    facts = INTACT[1:]
    gone = f.Gone("run:here", 2, (4,), xxhash.xxh3_128_hexdigest(b"".join(encode(fact) for fact in facts[1:5])))
    empty = (created("r2", "k2"), f.RunEnded("r2", "cancelled", 1))  # without details no log is named for it
    store.commit([Append("run:here", 0, facts), Append("run:other", 0, empty)])
    store.commit([Append("engine", 0, (INTACT[0], f.DetailsDropped(("r1", "r2"), 2, (gone,), 9)))])
    found = audit(Evidence(store.database, {"c1": PROJECT}))
    store.close()
    assert [str(violation) for violation in found] == []


def test_a_run_that_was_tried_again_before_its_details_were_dropped_has_ended_twice() -> None:
    lived = (
        *INTACT[:5],
        f.AttemptFailed("r1", "b", "", 0, 1, 1, 1, "ValueError"),
        f.RunEnded("r1", "failed", 1),
        f.RunRetried("r1", 2, 1, "ann"),
        started("b", 2, 2),
        succeeded("b", 2, 2),
        f.RunEnded("r1", "succeeded", 1),
    )
    details = b"".join(encode(fact) for fact in (*lived[2:6], *lived[8:10]))
    gone = f.Gone("engine", 3, (4, 2, 2), xxhash.xxh3_128_hexdigest(details))
    dropped = f.DetailsDropped(("r1",), 2, (gone,), 9)
    assert watched(*lived, dropped) == set()
    assert audited(*lived, dropped) == set()
