"""How facts about attempts move the rows of items and cells."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from headrace.base.facts import Fact
from headrace.errors import StoreError
from headrace.ports import Append
from headrace.runs.facts import (
    AttemptCancelled,
    AttemptFailed,
    AttemptLost,
    AttemptReturned,
    AttemptStarted,
    AttemptSucceeded,
    InputPinned,
    ItemSkipped,
    LogSpan,
    MapExpanded,
    NodeSkipped,
    Read,
    RunCancelled,
    RunCreated,
    RunEnded,
    RunReady,
    RunRetried,
    Value,
)
from headrace.runs.rows import ItemRow, RunRow, ScopeRow
from headrace.store.sql.reads import runs, trace
from headrace.store.sql.reads.restore import active_run, restore
from headrace.store.sql.store import SqlStore


class Run:
    """A run whose facts are written one commit at a time."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.happens(RunCreated("r1", "daily", "c1", "k1", "person", at_us=1, params={"n": 3}, window=(0, 60)))

    def happens(self, *facts: Fact) -> None:
        self.store.commit([Append("engine", self.store.head("engine"), facts)])

    @property
    def item(self) -> ItemRow:
        found = runs.item(self.store.database, "r1", "load", "", 0)
        assert found is not None
        return found

    @property
    def cell(self) -> tuple[int, int, int, int, int]:
        (cell,) = runs.cells(self.store.database, "r1")
        return cell.running, cell.succeeded, cell.failed, cell.skipped, cell.cancelled

    @property
    def row(self) -> RunRow:
        found = runs.run(self.store.database, "r1")
        assert found is not None
        return found


@pytest.fixture
def run() -> Iterator[Run]:
    store = SqlStore(":memory:")
    yield Run(store)
    store.close()


def started(attempt: int = 1, epoch: int = 1, item: int = 0) -> AttemptStarted:
    return AttemptStarted("r1", "load", "", item, attempt, epoch, "w1", at_us=10)


def succeeded(attempt: int = 1, epoch: int = 1, item: int = 0, body: str = "7") -> AttemptSucceeded:
    return AttemptSucceeded(
        "r1", "load", "", item, attempt, epoch, at_us=20, took_us=9, result=Value("json", body),
        log=LogSpan("w1", 5, 8), reads=(Read("table", "weather", 3), Read("table", "weather", 3)),
    )  # fmt: skip


def failed(attempt: int = 1, epoch: int = 1, retry_at_us: int | None = None) -> AttemptFailed:
    return AttemptFailed("r1", "load", "", 0, attempt, epoch, 20, "ValueError: no", "line 3", retry_at_us)


def lost(attempt: int = 1, epoch: int = 1, ends: bool = False) -> AttemptLost:
    return AttemptLost("r1", "load", "", 0, attempt, epoch, 20, "worker w1 died", ends)


def test_an_attempt_that_succeeds_leaves_its_result_and_what_it_read(run: Run) -> None:
    run.happens(started())
    assert (run.item.state, run.item.worker, run.cell) == ("running", "w1", (1, 0, 0, 0, 0))
    assert run.row.started_us == 10
    run.happens(succeeded())
    assert run.item.state == "succeeded"
    assert run.item.result == Value("json", "7")
    assert run.item.log == LogSpan("w1", 5, 8)
    assert run.cell == (0, 1, 0, 0, 0)
    assert [(read.name, read.pin) for read in trace.reads(run.store.database, run="r1")] == [("weather", 3)]


def test_start_and_end_in_one_commit_count_once(run: Run) -> None:
    run.happens(started(), succeeded(), started(item=1))
    assert run.cell == (1, 1, 0, 0, 0)


def test_a_failure_with_a_retry_waits_and_keeps_its_error(run: Run) -> None:
    run.happens(started(), failed(retry_at_us=99))
    assert (run.item.state, run.item.retry_at_us, run.item.error) == ("waiting_retry", 99, "ValueError: no")
    assert run.cell == (0, 0, 0, 0, 0)
    run.happens(started(2, 2), failed(2, 2))
    assert (run.item.state, run.item.failures, run.cell) == ("failed", 2, (0, 0, 1, 0, 0))


def test_a_lost_attempt_goes_again_until_it_ends(run: Run) -> None:
    run.happens(started(), lost())
    assert (run.item.state, run.item.retry_at_us, run.item.losses) == ("waiting_retry", 20, 1)
    run.happens(started(2, 2), lost(2, 2, ends=True))
    assert (run.item.state, run.item.losses, run.cell) == ("failed", 2, (0, 0, 1, 0, 0))


def test_a_returned_attempt_starts_with_the_same_number_and_the_next_epoch(run: Run) -> None:
    run.happens(started(), AttemptReturned("r1", "load", "", 0, 1, 1))
    assert (run.item.state, run.cell) == ("returned", (0, 0, 0, 0, 0))
    run.happens(started(1, 2))
    assert (run.item.attempt, run.item.epoch, run.cell) == (1, 2, (1, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("before", "then"),
    [
        ((), started(2, 2)),
        ((started(),), started()),
        ((started(),), started(2, 2)),
        ((started(), failed(retry_at_us=9)), started(1, 2)),
        ((started(), failed(retry_at_us=9)), started(3, 3)),
        ((started(), failed(retry_at_us=9)), started(2, 1)),
        ((started(), failed()), started(2, 2)),
        ((started(), succeeded()), started(2, 2)),
    ],
    ids=lambda value: " ".join(f"{f.kind}" for f in value) if isinstance(value, tuple) else f"{value.attempt}",
)
def test_a_start_that_skips_or_repeats_an_attempt_is_refused(run: Run, before: tuple[Fact, ...], then: Fact) -> None:
    if before:
        run.happens(*before)
    with pytest.raises(StoreError, match="disagree"):
        run.happens(then)


@pytest.mark.parametrize("end", [succeeded, failed, lost])
@pytest.mark.parametrize(("attempt", "epoch"), [(1, 2), (2, 1)])
def test_an_end_of_another_epoch_or_attempt_is_refused(run: Run, end: object, attempt: int, epoch: int) -> None:
    run.happens(started())
    with pytest.raises(StoreError, match="disagree"):
        run.happens(end(attempt, epoch))  # type: ignore[operator]


def test_a_second_result_is_refused(run: Run) -> None:
    run.happens(started(), succeeded())
    with pytest.raises(StoreError, match="disagree"):
        run.happens(succeeded(body="8"))
    assert run.item.result == Value("json", "7")


def test_one_wrong_fact_among_many_is_noticed(run: Run) -> None:
    with pytest.raises(StoreError, match="2 of 3 rows"):
        run.happens(started(), started(item=1), succeeded(), succeeded(item=2), succeeded(item=1))
    assert runs.cells(run.store.database, "r1") == []


def test_nothing_starts_after_a_cancel(run: Run) -> None:
    run.happens(started(), RunCancelled("r1", 15, "ann", "enough"))
    with pytest.raises(StoreError, match="cancelling"):
        run.happens(started(item=1))
    run.happens(AttemptCancelled("r1", "load", "", 0, 1, 1, 20), RunEnded("r1", "cancelled", 21))
    assert (run.item.state, run.cell) == ("cancelled", (0, 0, 0, 0, 1))
    assert (run.row.state, run.row.cancelled_by, run.row.cancelled_why) == ("cancelled", "ann", "enough")


def test_nothing_starts_before_the_run_is_ready(run: Run) -> None:
    run.happens(RunCreated("r2", "daily", "c1", "k2", "person", 1, waits=("flights",)))
    early = AttemptStarted("r2", "load", "", 0, 1, 1, "w1", 10)
    with pytest.raises(StoreError, match="waiting"):
        run.happens(early)
    run.happens(RunReady("r2", 5, missing=("flights",)), early)
    found = runs.run(run.store.database, "r2")
    assert found is not None
    assert (found.state, found.ready_us, found.missing) == ("running", 5, ("flights",))


@pytest.mark.parametrize(("was_ready", "state"), [(False, "waiting"), (True, "running")])
def test_a_run_that_was_cancelled_while_it_waited_for_its_rows_waits_for_them_again(
    run: Run, was_ready: bool, state: str
) -> None:
    run.happens(RunCreated("r2", "nightly", "c1", "k2", "person", 1, {}, (0, 9), waits=("flights",)))
    if was_ready:
        run.happens(RunReady("r2", 5))
    run.happens(RunCancelled("r2", 6, "ann"), RunEnded("r2", "cancelled", 7), RunRetried("r2", 2, 8, "ann"))
    found = runs.run(run.store.database, "r2")
    assert found is not None
    assert (found.state, found.waits) == (state, ("flights",))


def test_a_retry_makes_what_did_not_succeed_pending_and_keeps_the_rest(run: Run) -> None:
    run.happens(started(), started(item=1), succeeded(item=1), failed(), ItemSkipped("r1", "load", "", 2, "no"))
    run.happens(NodeSkipped("r1", "train", "", "load failed"), RunEnded("r1", "failed", 30, "load failed"))
    assert run.row.end_why == "load failed"
    run.happens(RunRetried("r1", 2, 40, "ann", code="c2"))
    assert (run.row.state, run.row.generation, run.row.code, run.row.ended_us) == ("running", 2, "c2", None)
    assert (run.item.state, run.item.attempt, run.item.failures) == ("pending", 1, 0)
    assert run.cell == (0, 1, 0, 0, 0)
    run.happens(AttemptStarted("r1", "load", "", 2, 1, 1, "w1", 50), started(2, 2), succeeded(2, 2))
    assert run.cell == (1, 2, 0, 0, 0)


@pytest.mark.parametrize(("forgives", "stays"), [({"load": 1}, True), ({"load": 0}, False), ({"fit": 5}, False)])
def test_a_failure_that_is_forgiven_stays_after_a_retry(run: Run, forgives: dict[str, int], stays: bool) -> None:
    run.happens(started(), started(item=1), succeeded(item=1), failed(), RunEnded("r1", "failed", 30))
    run.happens(RunRetried("r1", 2, 40, "ann", forgives=forgives))
    assert (run.item.state, run.cell) == (("failed", (0, 1, 1, 0, 0)) if stays else ("pending", (0, 1, 0, 0, 0)))


def test_a_retry_needs_an_ended_run_and_the_next_generation(run: Run) -> None:
    with pytest.raises(StoreError, match="disagree"):
        run.happens(RunRetried("r1", 2, 40, "ann"))
    run.happens(RunEnded("r1", "failed", 30))
    for generation in (1, 3):
        with pytest.raises(StoreError, match="disagree"):
            run.happens(RunRetried("r1", generation, 40, "ann"))


def test_a_task_run_that_has_begun_is_not_skipped_whole(run: Run) -> None:
    run.happens(started())
    with pytest.raises(StoreError, match="disagree"):
        run.happens(NodeSkipped("r1", "load", "", "no"))


def test_what_was_skipped_after_a_failure_is_so_after_a_restart(run: Run) -> None:
    run.happens(ItemSkipped("r1", "load", "", 0, "no", True), ItemSkipped("r1", "load", "", 1, "branch not taken"))
    run.happens(NodeSkipped("r1", "train", "", "no", True), NodeSkipped("r1", "told", "", "branch not taken"))
    left = active_run(run.store.database, "r1")
    assert left is not None
    assert [(x.item, x.after_failure) for x in left.items] == [(0, True), (1, False)]
    assert {x.node: x.after_failure for x in left.cells if x.is_skipped} == {"train": True, "told": False}
    run.happens(RunEnded("r1", "failed", 30), RunRetried("r1", 2, 40, "ann"))
    assert not run.item.after_failure, "what goes again was not skipped"


def test_a_dataset_is_pinned_once(run: Run) -> None:
    run.happens(InputPinned("r1", "topic:flights", {"0": 7}))
    with pytest.raises(StoreError, match="disagree"):
        run.happens(InputPinned("r1", "topic:flights", {"0": 8}))
    assert runs.pins(run.store.database, "r1") == {"topic:flights": {"0": 7}}


def test_results_of_a_map_come_in_the_order_of_its_items(run: Run) -> None:
    for path in ("2", "10"):
        for item in (0, 11, 9):
            run.happens(
                AttemptStarted("r1", "fit", path, item, 1, 1, "w1", 10),
                AttemptSucceeded("r1", "fit", path, item, 1, 1, 20, 9, Value("json", f"{path}/{item}")),
            )
    database = run.store.database
    in_order = [f"{path}/{item}" for path in ("2", "10") for item in (0, 9, 11)]
    assert [value.body for value in runs.results(database, "r1", "fit")] == in_order
    assert [value.body for value in runs.results(database, "r1", "fit", "10")] == in_order[3:]
    assert runs.results(database, "r1", "fit", "1") == []


def test_results_are_complete_past_a_page(run: Run) -> None:
    run.happens(*(started(item=item) for item in range(2001)))
    run.happens(*(succeeded(item=item, body=str(item)) for item in range(2001)))
    bodies = [value.body for value in runs.results(run.store.database, "r1", "load")]
    assert bodies == [str(item) for item in range(2001)]


def test_the_history_of_an_item_is_read_from_the_facts(run: Run) -> None:
    run.happens(RunCreated("r11", "daily", "c1", "k2", "person", 1), started(), failed(retry_at_us=9), started(2, 2))
    run.happens(succeeded(2, 2), RunEnded("r1", "succeeded", 30), RunEnded("r11", "failed", 31))
    history = runs.attempts(run.store.database, "r1", node="load")
    assert [(fact.kind, fact.attempt) for fact in history] == [
        ("AttemptStarted", 1),
        ("AttemptFailed", 1),
        ("AttemptStarted", 2),
        ("AttemptSucceeded", 2),
    ]
    assert [fact.kind for fact in runs.history(run.store.database, "r11")] == ["RunCreated", "RunEnded"]


def test_restore_brings_back_all_that_is_unfinished_and_nothing_else(run: Run) -> None:
    run.happens(RunCreated("r0", "daily", "c1", "k0", "person", 1), RunEnded("r0", "succeeded", 2))
    run.store.commit([Append("run:x", 0, (RunCreated("rx", "daily", "c1", "kx", "here", 1),))])
    run.happens(MapExpanded("r1", "files", "", 100), InputPinned("r1", "topic:flights", [1]), started(), succeeded())
    restored = restore(run.store.database, "engine")
    (active,) = restored.runs
    assert active.run == run.row
    assert active.run.params == {"n": 3}
    assert active.run.window == (0, 60)
    assert active.items == (run.item,)
    assert active.scopes == (ScopeRow("r1", "files", "", 100),)
    assert active.pins == {"topic:flights": [1]}
    assert active_run(run.store.database, "r1") == active
    assert active_run(run.store.database, "r0") is None


def test_runs_are_listed_newest_first_by_filter_and_page(run: Run) -> None:
    run.happens(
        RunCreated("r2", "hourly", "c1", "schedule:of:another", "person", 1),
        RunCreated("r3", "daily", "c1", "k3", "person", 1),
        RunEnded("r3", "failed", 9),
    )
    database = run.store.database
    assert [row.run for row in runs.runs(database)] == ["r3", "r2", "r1"]
    assert [row.run for row in runs.runs(database, limit=1, before="r3")] == ["r2"]
    assert [row.run for row in runs.runs(database, pipeline="daily", states=["running", "waiting"])] == ["r1"]
    assert {name: row.run for name, row in runs.latest(database).items()} == {"daily": "r3", "hourly": "r2"}
    assert runs.counts(database) == {"running": 2, "failed": 1}
