"""From rows to a run that goes on: what they cannot tell is taken for the worse."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from machine_driver import ended_row

from headrace.definitions.nodes import Const, Graph, Node, Options, Scope
from headrace.definitions.project import PipelineDef, Project
from headrace.runs.facts import ItemSkipped, Value
from headrace.runs.following import follow
from headrace.runs.restoring import restore_run
from headrace.runs.rows import ActiveRun, ItemRow, ScopeRow
from headrace.runs.state import State

SECOND = 1_000_000


def item(node: str, number: int, state: str) -> ItemRow:
    """After one start of it."""
    return ItemRow(
        "r1", node, "", number, state, 1, 1, 0, 0, None, 1, None, None, None, Value("json", "1"), None, None, None, False,
        None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("starts", "ago_us", "counted"), [(1, SECOND, 1), (2, SECOND, 2), (9, SECOND, 3), (9, 20 * SECOND, 0)]
)
def test_starts_of_an_item_before_its_last_one_count_for_the_rate(starts: int, ago_us: int, counted: int) -> None:
    graph = Graph((Node("a", "task", "m:a", options=Options(rate=3, rate_us=10 * SECOND)),))
    project = Project("p", pipelines={"p": PipelineDef("p", "m:p", graph)})
    now_us = 100 * SECOND
    item = ItemRow(
        "r1", "a", "", 0, "pending", starts, starts, 0, 0, None, now_us - ago_us, None, None, None, None, None, None,
        None, False, None,
    )  # fmt: skip
    run = msgspec.structs.replace(ended_row("r1"), state="running", ended_us=None)
    state = State(pool_size=1)
    state.now_us, state.mono_us = now_us, 5 * SECOND
    active = restore_run(state, ActiveRun(run, (), (item,), (), {}, {}), project)
    assert active.progress.started_at_us["a"] == [5 * SECOND - ago_us] * counted


def test_of_a_map_whose_rule_no_longer_holds_after_a_retry_only_what_has_not_ended_is_skipped() -> None:
    rescue = Node("b", "task", "m:b", after=("a",), scope=("s",), options=Options(trigger_rule="one_failed"))
    graph = Graph((Node("a", "task", "m:a"), rescue), (Scope("s", Const([1, 2, 3])),))
    project = Project("p", pipelines={"p": PipelineDef("p", "m:p", graph)})
    run = msgspec.structs.replace(ended_row("r1"), state="running", ended_us=None)
    items = (item("a", 0, "succeeded"), item("b", 0, "pending"), item("b", 1, "succeeded"))
    state = State(pool_size=1)
    active = restore_run(state, ActiveRun(run, (), items, (ScopeRow("r1", "s", "", 3),), {}, {}), project)
    assert [(type(fact), fact.item) for fact in follow(state, active)] == [(ItemSkipped, 0), (ItemSkipped, 2)]
