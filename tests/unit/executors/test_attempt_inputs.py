from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from headrace.data.events import Events, OffsetRange
from headrace.data.window import Window
from headrace.definitions.nodes import (
    AnyInput,
    Choice,
    Const,
    DatasetRef,
    Element,
    Function,
    Mapping,
    Node,
    Options,
    Param,
    Ref,
    Scope,
    Sequence,
)
from headrace.definitions.project import ParamDef
from headrace.executors.protocol import Failed


def given(x: Any) -> Any:
    return x


def show(x: Any) -> str:
    return repr(x)


def task(name: str, x: AnyInput | None = None, **more: Any) -> Node:
    return Node(name, "task", f"m:{name}", inputs={} if x is None else {"x": x}, **more)


PARAMS = (
    ParamDef("window", "json", kind="window"),
    ParamDef("events", "json", kind="events"),
    ParamDef("rounds", "int", default=200),
    ParamDef("files", "json", default=["a", "b"]),
)


@pytest.fixture
def bench(new_bench: Any):
    """A bench on which `n` gets this input; `up` is a node before it, `each` a mapped one, `inner` one in two maps."""

    def make(x: AnyInput, *, scope: tuple[str, ...] = (), over: AnyInput | None = None, fn: Any = given, **more: Any):
        scopes = (
            Scope("outer", over or Const([0, 1, 2])),
            Scope("inner", Const([0, 1]), ("outer",)),
            Scope("mine", over or Const([0]), ()),
            Scope("deep", Element("mine"), ("mine",)),
        )
        nodes = [
            task("up"),
            task("each", scope=("outer",)),
            task("inner", scope=("outer", "inner")),
            task("n", x, scope=scope, **more),
        ]
        return new_bench(nodes, {"n": fn}, scopes=scopes, params=PARAMS, helpers={"m:given": given})

    return make


class TestSingle:
    def test_a_constant_which_no_task_can_change_for_the_next(self, bench: Any):
        b = bench(Const([1]), fn=lambda x: x.append(2) or x)
        assert b.result("n") == [1, 2]
        assert b.result("n") == [1, 2]

    def test_an_upstream_result_from_the_message_without_asking_the_store(self, bench: Any):
        b = bench(Ref("up"))
        assert b.result("n", upstream=(b.upstream("up", {"a": 1}),)) == {"a": 1}
        assert b.results.reads == 0

    def test_an_upstream_result_from_the_store(self, bench: Any):
        b = bench(Ref("up"))
        b.results.add("up", (), 7)
        assert b.result("n") == 7

    def test_a_result_that_is_nowhere_fails_the_attempt(self, bench: Any):
        failed = bench(Ref("up")).report("n")
        assert isinstance(failed, Failed)
        assert "HR1414" in failed.error

    def test_a_result_that_is_nowhere_is_none_where_the_rule_allows(self, bench: Any):
        assert bench(Ref("up"), options=Options(trigger_rule="all_done")).result("n") is None

    def test_one_element_of_a_tuple(self, bench: Any):
        b = bench(Ref("up", 1))
        assert b.result("n", upstream=(b.upstream("up", ("a", pl.DataFrame({"x": [1]}))),)).to_dicts() == [{"x": 1}]

    def test_parameters(self, bench: Any):
        assert bench(Param("rounds")).result("n") == 200
        assert bench(Param("rounds")).result("n", params='{"rounds": 10}') == 10

    def test_the_window_and_the_events(self, bench: Any):
        assert bench(Param("window")).result("n", window=(0, 1_000_000)) == Window.of(0, 1_000_000)
        assert bench(Param("events"), fn=show).result("n", events=(("t", 0, 5, 9),)) == repr(
            Events("t", (OffsetRange("t", 0, 5, 9),))
        )

    def test_containers_of_handles(self, bench: Any):
        b = bench(Mapping({"a": Sequence((Ref("up"), Const(2))), "b": Sequence((Param("rounds"),), is_tuple=True)}))
        assert b.result("n", upstream=(b.upstream("up", 1),)) == {"a": [1, 2], "b": (200,)}

    @pytest.mark.parametrize(("ok", "expected"), [(True, 200), (False, None)])
    def test_the_chosen_branch_only(self, bench: Any, ok: bool, expected: Any):
        b = bench(Choice(Ref("up"), Param("rounds")))
        assert b.result("n", upstream=(b.upstream("up", ok),)) == expected

    def test_a_function(self, bench: Any):
        assert bench(Function("m", "given"), fn=lambda x: x(5)).result("n") == 5
        assert bench(Function("math", "sqrt"), fn=lambda x: x(9)).result("n") == 3

    @pytest.mark.parametrize(
        ("ref", "expected"),
        [
            (DatasetRef("table", "orders", "latest"), ("table", "orders", None, None)),
            (DatasetRef("table", "orders", "version", 3), ("table", "orders", 3, None)),
            (DatasetRef("table", "orders", "at", 99), ("table", "orders", None, 99)),
            (DatasetRef("model", "delay", "alias", "champion"), ("model", "delay", "champion", None)),
            (DatasetRef("model", "delay", "version", 2), ("model", "delay", None, 2)),
        ],
    )
    def test_a_reference_to_a_dataset(self, bench: Any, ref: DatasetRef, expected: Any):
        assert bench(ref).result("n") == expected


class TestMapped:
    @pytest.mark.parametrize(
        "over",
        [
            Const([10, 20, 30]),
            Sequence((Const(10), Const(20), Const(30))),
            Param("files"),
            Choice(Const(True), Const([10, 20, 30])),
        ],
        ids=lambda over: type(over).__name__,
    )
    def test_an_item_of_what_the_map_goes_over(self, bench: Any, over: AnyInput):
        b = bench(Element("mine"), scope=("mine",), over=over)
        assert b.result("n", item=1, params='{"files": [10, 20, 30]}') == 20

    def test_an_item_of_a_result(self, bench: Any):
        b = bench(Element("mine"), scope=("mine",), over=Ref("up"))
        assert b.result("n", item=2, upstream=(b.upstream("up", [1, 2, [3]]),)) == [3]

    def test_a_row_of_a_frame(self, bench: Any):
        b = bench(Element("mine"), scope=("mine",), over=Ref("up", 0))
        assert b.result("n", item=1, upstream=(b.upstream("up", (pl.DataFrame({"a": [1, 2]}), 0)),)) == {"a": 2}

    def test_an_item_of_an_item(self, bench: Any):
        b = bench(Element("deep"), scope=("mine", "deep"), over=Ref("up"))
        assert b.result("n", path=(1,), item=0, upstream=(b.upstream("up", [[1, 2], [3, 4]]),)) == 3

    def test_the_result_of_the_same_item(self, bench: Any):
        b = bench(Ref("each"), scope=("outer",))
        b.results.add("each", (0,), "a")
        b.results.add("each", (1,), "b")
        assert b.result("n", item=1) == "b"

    def test_an_item_of_the_results_of_another_map_which_is_listed_once(self, bench: Any):
        b = bench(Element("mine"), scope=("mine",), over=Ref("each"))
        for index, text in enumerate("abc"):
            b.results.add("each", (index,), text)
        assert [b.result("n", item=index) for index in range(3)] == ["a", "b", "c"]
        assert b.results.reads == 1


class TestJoined:
    def test_all_results_of_a_map_in_order(self, bench: Any):
        b = bench(Ref("each"))
        for index in (10, 2, 1):
            b.results.add("each", (index,), {"n": index})
        assert b.result("n") == [{"n": 1}, {"n": 2}, {"n": 10}]

    def test_a_list_that_a_retry_may_add_to_is_read_anew(self, bench: Any):
        b = bench(Ref("each"), options=Options(trigger_rule="all_done"))
        b.results.add("each", (0,), "a")
        assert b.result("n") == ["a"]
        b.results.add("each", (1,), "b")
        assert b.result("n") == ["a", "b"]

    def test_inner_maps_give_lists_of_lists_empty_ones_included(self, bench: Any):
        b = bench(Ref("inner"))
        b.results.scopes["inner"] = [(0,), (1,), (2,)]
        for at in ((0, 0), (0, 1), (2, 0)):
            b.results.add("inner", at, at[0] * 10 + at[1])
        assert b.result("n") == [[0, 1], [], [20]]

    def test_inside_the_shared_map_only_what_is_below_it(self, bench: Any):
        b = bench(Ref("inner"), scope=("outer",))
        for at in ((0, 0), (1, 0), (1, 1)):
            b.results.add("inner", at, list(at))
        assert b.result("n", item=1) == [[1, 0], [1, 1]]

    def test_an_iterable_is_read_one_by_one(self, bench: Any):
        def first(x: Any) -> list[Any]:
            return [type(x).__name__, next(x)]

        b = bench(Ref("each"), fn=first, feed={"x": "iter"})
        b.results.add("each", (0,), pl.DataFrame({"a": [1]}))
        b.results.add("each", (1,), pl.DataFrame({"a": [2]}))
        b.values._files.locate(b.results.rows["each", (1,)].path).unlink()
        kind, frame = b.result("n")
        assert kind == "generator"
        assert frame.to_dicts() == [{"a": 1}]
