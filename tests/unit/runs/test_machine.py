"""The engine's step: what runs when, what is skipped and why, retries, losses, maps, branches."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from machine_driver import Driver, value

from headrace.definitions.nodes import Choice, Condition, Const, Element, Graph, Node, Options, Param, Ref, Scope
from headrace.runs import facts as f
from headrace.runs.events import AttemptDone, AttemptsReturned, CancelAsked, RunAsked, WorkerDied
from headrace.runs.pool import CREDIT_US, LONG_US


def node(name: str, *inputs: object, **options: object) -> Node:
    extra = {k: options.pop(k) for k in ("after", "scope", "when") if k in options}
    return Node(
        name, "task", f"m:{name}", {f"a{i}": x for i, x in enumerate(inputs)}, options=Options(**options), **extra
    )


def order(driver: Driver) -> list[str]:
    return [s.node.name for s in driver.starts]


def test_a_chain_runs_in_order_and_hands_each_value_on() -> None:
    driver = Driver(Graph((node("a"), node("b", Ref("a")), node("c", Ref("b")))), lambda s: s.node.name)
    driver.run()
    assert order(driver) == ["a", "b", "c"]
    assert driver.starts[2].upstream["b", ()].body == '"b"'
    assert driver.ended.state == "succeeded"


def test_a_failed_task_skips_what_needs_it_and_says_so() -> None:
    def behave(start):
        if start.node.name == "a":
            raise ValueError("no")

    driver = Driver(Graph((node("a"), node("b", Ref("a")), node("c"))), behave)
    driver.run()
    assert sorted(order(driver)) == ["a", "c"]
    assert driver.of(f.NodeSkipped)[0].why == "upstream a failed"
    assert (driver.ended.state, driver.ended.why) == ("failed", "a")


def test_what_is_skipped_after_a_failure_is_told_apart_whatever_tasks_are_called() -> None:
    def behave(start):
        if start.node.name == "a":
            raise ValueError("no")
        return False

    branch = (Condition(Ref("ok"), True),)
    nodes = (
        *(node("a"), node("b", Ref("a")), node("c", Ref("b"))),
        *(node("ok"), node("upstream x", when=branch), node("y", Ref("upstream x")), node("z", Ref("y"))),
    )
    driver = Driver(Graph(nodes), behave)
    driver.run()
    assert {x.node: (x.why, x.after_failure) for x in driver.of(f.NodeSkipped)} == {
        "b": ("upstream a failed", True),
        "c": ("upstream b did not run (upstream a failed)", True),
        "upstream x": ("branch not taken", False),
        "y": ("upstream x was skipped (branch not taken)", False),
        "z": ("y was skipped (upstream x was skipped (branch not taken))", False),
    }


def test_an_end_says_what_decided_it() -> None:
    mapped = Graph((node("n"), node("a", Element("s"), scope=("s",))), (Scope("s", Ref("n")),))
    for graph, by in ((Graph((node("a"),)), "tasks"), (mapped, "map")):
        driver = Driver(graph, lambda s: 5)
        driver.run()
        assert driver.ended.by == by


def test_retries_wait_for_their_backoff_and_are_numbered_without_gaps() -> None:
    tried = []

    def behave(start):
        tried.append((start.attempt, start.epoch))
        if len(tried) < 3:
            raise OSError("later")

    driver = Driver(Graph((node("a", retries=2, backoff_us=1_000_000),)), behave)
    driver.run()
    assert tried == [(1, 1), (2, 2), (3, 3)]
    waits = [x.retry_at_us - x.at_us for x in driver.of(f.AttemptFailed)]
    assert 750_000 <= waits[0] <= 1_000_000
    assert 1_500_000 <= waits[1] <= 2_000_000
    assert driver.ended.state == "succeeded"


def test_a_task_that_kills_its_worker_is_lost_until_the_limit_and_then_fails() -> None:
    driver = Driver(Graph((node("a", max_lost=2),)), lambda s: WorkerDied(s.worker, s.serial, "killed by signal 9"))
    driver.run()
    lost = driver.of(f.AttemptLost)
    assert [(x.attempt, x.ends) for x in lost] == [(1, False), (2, False), (3, True)]
    assert driver.ended.state == "failed"


def test_what_had_not_begun_when_the_worker_died_goes_back_with_its_number() -> None:
    graph = Graph((node("a", Element("s"), scope=("s",)),), (Scope("s", Const([1, 2, 3, 4])),))
    died = []

    def behave(start):
        if start.item == 3 and not died:
            died.append(1)
            return WorkerDied(start.worker, start.serial - 1, "killed")
        return start.item

    driver = Driver(graph, behave, pool_size=1)
    driver.machine.state.pool.measured("p", "a", 100)
    driver.run()
    returned = driver.of(f.AttemptReturned)
    assert returned
    assert all(x.attempt == 1 for x in returned)
    last = [s for s in driver.starts if s.item == 3]
    assert [(s.attempt, s.epoch) for s in last] == [(1, 1), (1, 2)]
    assert driver.ended.state == "succeeded"


def test_what_waits_behind_a_long_item_goes_to_another_worker() -> None:
    graph = Graph((node("a", Element("s"), scope=("s",)),), (Scope("s", Const([1, 2, 3, 4])),))
    driver = Driver(graph, lambda s: s.item)
    driver.machine.state.pool.measured("p", "a", 100)
    driver.send(RunAsked("p", "k"))
    driver.send(driver.pending.pop())
    (first,) = {s.worker for s in driver.starts}
    driver.pending.clear()
    driver.send(AttemptsReturned(first, (2, 3, 4), 1, 60_000))
    driver.send(AttemptsReturned(first, (2, 3, 4), 1, 60_000))
    assert [(x.item, x.attempt, x.epoch) for x in driver.of(f.AttemptReturned)] == [(1, 1, 1), (2, 1, 1), (3, 1, 1)]
    driver.settle()
    again = driver.starts[4:]
    assert [(s.item, s.attempt, s.epoch) for s in again] == [(1, 1, 2), (2, 1, 2), (3, 1, 2)]
    assert first not in {s.worker for s in again}, "it is busy for longer than was reckoned with"
    assert driver.machine.state.pool.expected_us("p", "a") > CREDIT_US, "the next ones go one at a time"
    driver.send(AttemptDone(first, 1, value(0), 5_000_000))
    assert driver.ended.state == "succeeded"


def test_what_was_given_back_of_a_cancelled_run_is_cancelled() -> None:
    graph = Graph((node("a", Element("s"), scope=("s",)),), (Scope("s", Const([1, 2])),))
    driver = Driver(graph, lambda s: s.item)
    driver.machine.state.pool.measured("p", "a", 100)
    driver.send(RunAsked("p", "k"))
    driver.send(driver.pending.pop())
    driver.pending.clear()
    driver.send(CancelAsked(driver.starts[0].run, "test"))
    driver.pending.clear()
    driver.send(AttemptsReturned(driver.starts[0].worker, (2,), 1, 60_000))
    assert [x.item for x in driver.of(f.AttemptCancelled)] == [1]
    assert not driver.of(f.AttemptReturned)


def test_a_map_runs_once_per_item_and_its_consumer_once_after_all() -> None:
    graph = Graph(
        (node("files"), node("load", Element("s"), scope=("s",)), node("join", Ref("load"))),
        (Scope("s", Ref("files")),),
    )
    driver = Driver(graph, lambda s: list(range(100)) if s.node.name == "files" else 1)
    driver.run()
    assert order(driver).count("load") == 100
    assert order(driver)[-1] == "join"
    assert driver.of(f.MapExpanded) == [f.MapExpanded(driver.ended.run, "s", "", 100)]


def test_a_map_over_nothing_succeeds_at_once() -> None:
    graph = Graph((node("load", Element("s"), scope=("s",)), node("join", Ref("load"))), (Scope("s", Const([])),))
    driver = Driver(graph, lambda s: 1)
    driver.run()
    assert order(driver) == ["join"]
    assert driver.ended.state == "succeeded"


def test_steps_within_a_map_follow_each_other_item_by_item() -> None:
    graph = Graph(
        (node("a", Element("s"), scope=("s",)), node("b", Ref("a"), scope=("s",)), node("end", Ref("b"))),
        (Scope("s", Param("items")),),
    )

    def behave(start):
        if start.node.name == "a" and start.item == 1:
            raise ValueError("bad item")
        return start.item

    driver = Driver(graph, behave)
    driver.run(items=[0, 1, 2])
    assert sorted(s.item for s in driver.starts if s.node.name == "b") == [0, 2]
    assert [(x.node, x.item, x.why) for x in driver.of(f.ItemSkipped)] == [("b", 1, "upstream a failed")]
    assert driver.ended.state == "failed"


def test_a_value_that_cannot_be_mapped_fails_the_run_instead_of_waiting() -> None:
    graph = Graph((node("n"), node("a", Element("s"), scope=("s",))), (Scope("s", Ref("n")),))
    driver = Driver(graph, lambda s: 5)
    driver.run()
    assert driver.ended.state == "failed"
    assert "cannot be mapped" in driver.of(f.NodeSkipped)[0].why


def test_nested_maps_expand_per_outer_item() -> None:
    graph = Graph(
        (
            node("pages", Element("site"), scope=("site",)),
            node("fetch", Element("page"), scope=("site", "page")),
            node("all", Ref("fetch")),
        ),
        (Scope("site", Const(["x", "y"])), Scope("page", Ref("pages"), ("site",))),
    )
    driver = Driver(graph, lambda s: [0] * (s.item + 2) if s.node.name == "pages" else 1)
    driver.run()
    fetched = sorted((s.path, s.item) for s in driver.starts if s.node.name == "fetch")
    assert fetched == [((0,), 0), ((0,), 1), ((1,), 0), ((1,), 1), ((1,), 2)]
    assert order(driver)[-1] == "all"
    assert driver.ended.state == "succeeded"


@pytest.mark.parametrize(("truth", "ran", "skipped"), [(True, "big", "small"), (False, "small", "big")])
def test_a_branch_runs_one_side_and_its_value_goes_on(truth: bool, ran: str, skipped: str) -> None:
    test = Ref("ok")
    graph = Graph(
        (
            node("ok"),
            node("big", when=(Condition(test, True),)),
            node("small", when=(Condition(test, False),)),
            node("deploy", Choice(test, Ref("big"), Ref("small"))),
        )
    )
    driver = Driver(graph, lambda s: truth if s.node.name == "ok" else 1)
    driver.run()
    assert order(driver) == ["ok", ran, "deploy"]
    assert [(x.node, x.why) for x in driver.of(f.NodeSkipped)] == [(skipped, "branch not taken")]
    assert driver.ended.state == "succeeded"


@pytest.mark.parametrize(
    ("rule", "fails", "runs"),
    [("all_done", True, True), ("one_failed", True, True), ("one_failed", False, False), ("none_failed", True, False)],
)
def test_trigger_rules(rule: str, fails: bool, runs: bool) -> None:
    def behave(start):
        if start.node.name == "a" and fails:
            raise ValueError("no")

    driver = Driver(Graph((node("a"), node("b", after=("a",), trigger_rule=rule))), behave)
    driver.run()
    assert ("b" in order(driver)) is runs


def test_some_items_may_fail_where_the_author_allows_it() -> None:
    graph = Graph(
        (node("load", Element("s"), scope=("s",), allow_failed=1), node("join", Ref("load"))),
        (Scope("s", Const([0, 1, 2])),),
    )

    def behave(start):
        if start.node.name == "load" and start.item == 1:
            raise ValueError("bad file")

    driver = Driver(graph, behave)
    driver.run()
    assert order(driver)[-1] == "join"
    assert driver.ended.state == "succeeded"


def in_a_map(*, allow_failed: int = 0, fails: tuple[tuple[int, int], ...] = ((0, 1),)) -> Driver:
    """`total` joins what `late` makes of what `load` has loaded, in maps in maps of two items each."""
    nodes = (
        node("load", Element("inner"), scope=("outer", "inner"), allow_failed=allow_failed),
        node("late", Ref("load"), scope=("outer", "inner")),
        node("total", Ref("late")),
    )
    scopes = (Scope("outer", Const([[0, 1], [2, 3]])), Scope("inner", Element("outer"), ("outer",)))

    def behave(start):
        if start.node.name == "load" and (*start.path, start.item) in fails:
            raise ValueError("bad file")

    driver = Driver(Graph(nodes, scopes), behave)
    driver.run()
    return driver


def test_a_list_waits_for_a_retry_where_something_before_it_has_failed() -> None:
    driver = in_a_map()
    assert "total" not in order(driver)
    assert [(x.why, x.after_failure) for x in driver.of(f.NodeSkipped)] == [
        ("upstream late did not run for all items (load failed)", True)
    ]
    assert driver.ended.state == "failed"


def test_each_map_in_a_map_may_have_so_many_failures() -> None:
    driver = in_a_map(allow_failed=1, fails=((0, 1), (1, 0)))
    assert order(driver)[-1] == "total"
    assert driver.ended.state == "succeeded"


def test_a_cancelled_run_starts_nothing_more_and_ends() -> None:
    graph = Graph((node("a"), node("b", Ref("a"))))
    driver = Driver(graph, lambda s: 1)
    driver.send(RunAsked("p", "k"))
    run = driver.of(f.RunCreated)[0].run
    driver.send(CancelAsked(run, "ada"))
    driver.settle()
    assert driver.ended.state == "cancelled"
    assert "b" not in order(driver)


def test_long_tasks_are_spread_over_the_workers_one_by_one() -> None:
    graph = Graph((node("a", Element("s"), scope=("s",)),), (Scope("s", Const(list(range(8)))),))
    driver = Driver(graph, lambda s: 1, pool_size=2)
    driver.machine.state.pool.measured("p", "a", 10_000_000)
    driver.send(RunAsked("p", "k"))
    batch, driver.pending = driver.pending, []
    driver.send(*batch)
    batch, driver.pending = driver.pending, []
    assert all(len(w.flights) <= 1 for w in driver.machine.state.pool.workers.values())


def test_two_idle_workers_share_short_tasks_that_one_of_them_could_take_alone() -> None:
    graph = Graph((node("a", Element("s"), scope=("s",)),), (Scope("s", Param("items")),))
    driver = Driver(graph, lambda s: 1, pool_size=2)
    driver.run(items=[1, 2])
    assert len(driver.machine.state.pool.idle()) == 2
    assert driver.machine.state.pool.expected_us("p", "a") == 10
    driver.send(RunAsked("p", "k", params={"items": list(range(200))}))
    given = sorted(len(worker.flights) for worker in driver.machine.state.pool.workers.values())
    assert given == [72, 128], "half of the room at a time"


def test_a_rate_limit_spreads_starts_over_time() -> None:
    graph = Graph(
        (node("a", Element("s"), scope=("s",), rate=2, rate_us=1_000_000),), (Scope("s", Const(list(range(5)))),)
    )
    driver = Driver(graph, lambda s: 1)
    driver.run()
    starts = [x.at_us for x in driver.of(f.AttemptStarted)]
    assert len(starts) == 5
    assert starts[2] - starts[0] >= 1_000_000
    assert starts[4] - starts[2] >= 1_000_000


def test_a_rate_limit_holds_over_all_maps_of_a_task_and_none_of_it_waits_in_a_worker() -> None:
    scopes = (Scope("outer", Const([[0, 1], [2, 3], [4, 5]])), Scope("inner", Element("outer"), ("outer",)))
    one = node("a", Element("inner"), scope=("outer", "inner"), rate=2, rate_us=1_000_000)
    driver = Driver(Graph((one,), scopes), lambda s: 1, pool_size=1)
    driver.machine.state.pool.measured("p", "a", 100)
    driver.send(RunAsked("p", "k"))
    driver.send(driver.pending.pop())
    assert len(driver.starts) == 1
    driver.settle()
    starts = [x.at_us for x in driver.of(f.AttemptStarted)]
    assert [len([at for at in starts if at // 1_000_000 == second]) for second in (1, 2, 3)] == [2, 2, 2]


def test_what_is_asked_for_while_an_attempt_turns_out_to_be_long_goes_to_another_worker() -> None:
    driver = Driver(Graph((node("a"),)), lambda s: 1)
    driver.machine.state.pool.measured("p", "a", 100)
    driver.send(RunAsked("p", "k1"))
    driver.send(driver.pending.pop())
    driver.pending.clear()
    driver.now_us += LONG_US
    driver.send(RunAsked("p", "k2"))
    driver.settle()
    first, second = driver.starts
    assert second.worker != first.worker
