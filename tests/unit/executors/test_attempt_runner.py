from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import Any

import msgspec
import pytest

import headrace.data.current as current
from headrace.definitions.nodes import Const, Node
from headrace.errors import DamagedError, SchemaError, StoreError
from headrace.executors.attempt import AttemptCancelled
from headrace.executors.protocol import Failed
from headrace.executors.tracebacks import user_frames
from headrace.runs.effects import Effects

seen: contextvars.ContextVar[str] = contextvars.ContextVar("seen", default="nothing")


@pytest.fixture
def bench_of(new_bench: Any):
    def make(fn: Any, kind: str = "task", target: str = "m:f", **more: Any) -> Any:
        inputs = {name: Const(value) for name, value in more.pop("inputs", {}).items()}
        return new_bench([Node("f", kind, target, inputs=inputs, **more)], {"f": fn} if fn else {})

    return make


def failed(bench: Any) -> Failed:
    report = bench.report("f")
    assert isinstance(report, Failed)
    return report


def test_an_async_task_runs_to_its_end(bench_of: Any):
    async def f() -> int:
        await asyncio.sleep(0)
        return 5

    assert bench_of(f).result("f") == 5


def test_an_async_task_runs_inside_a_running_loop_as_in_a_notebook(bench_of: Any):
    async def f() -> str:
        return current.current().run

    async def notebook() -> str:
        return bench_of(f).result("f")

    assert asyncio.run(notebook()) == "run1"


def test_positional_parameters_are_given_by_position(bench_of: Any):
    def f(a: int, /, *rest: int, scale: int = 1) -> int:
        return (a + sum(rest)) * scale

    assert bench_of(f, inputs={"a": 1, "rest": [2, 3], "scale": 10}).result("f") == 60


def test_a_context_variable_does_not_reach_the_next_attempt(bench_of: Any):
    def f() -> str:
        before = seen.get()
        seen.set("something")
        return before

    bench = bench_of(f)
    assert (bench.result("f"), bench.result("f")) == ("nothing", "nothing")


def test_a_result_is_published_to_its_table(bench_of: Any):
    bench = bench_of(lambda: [1, 2], to="orders")
    report: Any = bench.report("f")
    assert msgspec.json.decode(report.effects, type=Effects).tables[0].rows == 2
    assert bench.values.decode(report.result) == [1, 2]


def test_no_effects_take_no_bytes(bench_of: Any):
    report: Any = bench_of(lambda: 1).report("f")
    assert report.effects is None


@pytest.mark.parametrize(
    ("kind", "target", "inputs", "call"),
    [
        ("write", "orders", {"rows": [1]}, ("write", "orders", [1])),
        ("append", "scores", {"rows": [1]}, ("append", "scores", [1])),
        (
            "register",
            "delay",
            {"value": 1, "fit": 2, "test": 3, "predict": 4},
            ("register", "delay", 1, {"fit": 2, "test": 3, "predict": 4}),
        ),
    ],
)
def test_nodes_that_are_no_tasks_act_on_their_dataset(bench_of: Any, kind: str, target: str, inputs: Any, call: Any):
    bench = bench_of(None, kind, target, inputs=inputs)
    bench.result("f")
    assert bench.access is not None
    assert bench.access.calls == [call]


class Rude(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


def raising(error: BaseException) -> Any:
    def f() -> None:
        raise error

    return f


class TestFailures:
    @pytest.mark.parametrize(
        ("error", "line"),
        [
            (ValueError("one\ntwo"), "ValueError: one"),
            (ValueError("x" * 10_000), "ValueError: xxx"),
            (Rude(), ""),
            (MemoryError(), "MemoryError"),
            (SystemExit(3), "SystemExit: the task called sys.exit(3)"),
            (KeyboardInterrupt(), "KeyboardInterrupt: the task was interrupted"),
            (GeneratorExit(), "GeneratorExit"),
            (AttemptCancelled(), "the run was cancelled"),
            (ExceptionGroup("many", [ValueError("a"), TypeError("b")]), "ExceptionGroup: many"),
        ],
        ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
    )
    def test_whatever_is_raised_is_a_report_in_one_line(self, bench_of: Any, error: Any, line: str):
        report = failed(bench_of(raising(error)))
        assert report.error.startswith(line)
        assert len(report.error) <= 500
        assert "\n" not in report.error

    def test_the_traceback_holds_the_users_frames_of_causes_too(self, bench_of: Any):
        def inner() -> None:
            raise KeyError("missing")

        def f() -> None:
            try:
                inner()
            except KeyError as error:
                raise ValueError("cannot") from error

        detail = failed(bench_of(f)).detail
        assert "in inner" in detail
        assert "direct cause" in detail
        assert "headrace/executors" not in detail

    def test_an_endless_recursion_is_a_short_text(self, bench_of: Any):
        def f() -> None:
            f()

        report = failed(bench_of(f))
        assert report.error.startswith("RecursionError")
        assert len(report.detail) < 5_000

    def test_a_huge_message_is_cut_in_the_middle(self):
        text = user_frames(ValueError("a" * 1_000_000 + "end"))
        assert len(text) < 70_000
        assert text.rstrip().endswith("end")

    def test_a_result_that_cannot_be_stored_is_not_tried_again(self, bench_of: Any):
        report = failed(bench_of(lambda: threading.Lock()))
        assert not report.retryable
        assert "return plain values" in report.detail

    @pytest.mark.parametrize(
        ("kind", "error", "retryable"),
        [
            ("monitor", StoreError("the disk refuses"), True),
            ("monitor", ValueError("a predict of the user's"), True),
            ("monitor", DamagedError("the file is not what was written"), False),
            ("monitor", SchemaError("no such column"), False),
            ("task", SchemaError("no such column"), True),
        ],
    )
    def test_what_headrace_itself_refuses_is_not_tried_again(
        self, bench_of: Any, kind: str, error: Exception, retryable: bool
    ):
        assert failed(bench_of(raising(error), kind)).retryable is retryable

    def test_a_pipeline_that_this_code_does_not_have(self, new_bench: Any):
        bench = new_bench([], {})
        bench.runner._parts.loaded.pipelines.clear()
        assert "no pipeline 'p'" in failed(bench).error

    def test_the_next_attempt_runs_after_a_failure(self, bench_of: Any):
        answers = iter([ValueError("first"), None])

        def f() -> str:
            error = next(answers)
            if error:
                raise error
            return "second"

        bench = bench_of(f)
        failed(bench)
        assert bench.result("f") == "second"
