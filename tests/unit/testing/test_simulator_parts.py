"""The simulator's own small parts: the heap of messages, its dice, recipes, shrinking and the story."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from headrace.errors import StoreError
from headrace.ports import Append
from headrace.runs import facts as f
from headrace.runs.plan import make_plan
from headrace.testing.simulator import recipe as recipes
from headrace.testing.simulator.campaign import Block, Campaign, Catch, Progress
from headrace.testing.simulator.draw import Draw, draw
from headrace.testing.simulator.graphs import draw_graph
from headrace.testing.simulator.projects import draw_projects
from headrace.testing.simulator.recipe import Recipe, recipe_of
from headrace.testing.simulator.shrink import shrink, signature
from headrace.testing.simulator.simulation import simulate
from headrace.testing.simulator.store import FaultyStore, MemoryStore
from headrace.testing.simulator.story import tell
from headrace.testing.simulator.tables import write_tables
from headrace.testing.simulator.world import World


def test_messages_come_in_the_order_of_time_and_move_it() -> None:
    world, seen = World(1), []
    for delay in (30, 10, 20):
        world.after(delay, lambda at: seen.append((at, world.monotonic_us())), delay)
    world.run_until(25, most=100)
    assert seen == [(10, 10), (20, 20)]
    assert world.monotonic_us() == 25


def test_no_fault_strikes_in_the_quiet_phase() -> None:
    world = World(1, {"x": 1.0})
    assert world.strikes("x")
    world.is_quiet = True
    assert not world.strikes("x")
    assert world.faults["x"] == 1


def test_a_fault_that_is_left_out_leaves_the_others_where_they_were() -> None:
    def struck(left_out: frozenset[tuple[str, int]]) -> list[bool]:
        world = World(1, {"x": 0.5}, left_out)
        return [world.strikes("x") for _ in range(20)]

    whole, less = struck(frozenset()), struck(frozenset({("x", 1)}))
    second = [at for at, hit in enumerate(whole) if hit][1]
    assert [at for at in range(20) if whole[at] != less[at]] == [second]


def test_ties_are_broken_by_the_seed() -> None:
    orders = set()
    for seed in range(20):
        world, seen = World(seed), []
        for name in "ab":
            world.after(5, seen.append, name)
        world.run_until(5, most=100)
        orders.add("".join(seen))
    assert orders == {"ab", "ba"}


def test_the_same_seed_draws_the_same_project_and_another_one_does_not() -> None:
    def project(seed: int) -> object:
        return draw_projects(seed, draw(random.Random(seed)))

    assert project(1) == project(1)
    assert project(1) != project(2)


def test_a_graph_that_is_cut_off_begins_like_the_whole_one() -> None:
    """So that shrinking can leave out nodes."""
    for seed in range(20):
        drawn = Draw(features=frozenset({"maps", "rules"}))
        whole = draw_graph(random.Random(seed), drawn, 6, is_forgiving=True)
        for most in range(1, 7):
            less = draw_graph(random.Random(seed), drawn, 6, most, is_forgiving=True)
            assert less.nodes == whole.nodes[:most]
            assert list(make_plan(less).nodes) == [node.name for node in less.nodes], "nothing refers to what is gone"


def test_a_recipe_is_the_same_after_it_was_kept() -> None:
    recipe = replace(recipe_of(3), left_out=frozenset({("x", 1)}), undone=frozenset({4}), about={"bug": "B0"})
    assert recipes.decode(recipes.encode(recipe)) == recipe


def test_what_a_process_writes_itself_is_no_news_to_it() -> None:
    world, store = World(1), MemoryStore()
    one, other = FaultyStore(store, world), FaultyStore(store, world)
    one.commit([Append("engine", 0, (f.LogTaken(1, "one", 1),))])
    assert (one.change_count(), other.change_count()) == (0, 1)
    store.close()


def test_a_commit_may_fail_although_it_has_happened() -> None:
    world, store = World(1, {"store fails after": 1.0}), MemoryStore()
    faulty = FaultyStore(store, world)
    with pytest.raises(StoreError, match="unknown"):
        faulty.commit([Append("engine", 0, (f.LogTaken(1, "one", 1),))])
    assert store.head("engine") == 1
    store.close()


def plant_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    from headrace.runs import attempts

    loss = attempts.loss

    def endless(*about: Any) -> Any:
        fact = loss(*about)
        return f.AttemptLost(*(getattr(fact, name) for name in fact.__struct_fields__[:8]))

    monkeypatch.setattr(attempts, "loss", endless)


def test_a_schedule_that_fails_becomes_smaller_and_fails_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    plant_a_bug(monkeypatch)
    found = next(result for seed in range(200) if (result := simulate(seed)).violations)
    looks = itertools.count()  # at the clock, before each try: so many of them on every machine
    monkeypatch.setattr("headrace.testing.simulator.shrink.time", SimpleNamespace(monotonic=lambda: next(looks)))
    small = shrink(found.recipe, seconds=40)
    result = simulate(small)
    assert signature(result.violations[0]) == signature(found.violations[0])
    assert small.size < found.recipe.size
    assert result.faults < found.faults
    assert "BROKEN  E14" in tell(result)


def test_what_breaks_nothing_cannot_be_made_smaller() -> None:
    with pytest.raises(ValueError, match="breaks no promise"):
        shrink(Recipe(1, Draw()))


def test_a_campaign_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    file = tmp_path / "progress.json"
    first = Campaign(0, 4, file=file, planted=None, told=lambda _: None).run(jobs=1)
    lines: list[str] = []
    again = Campaign(0, 4, file=file, planted=None, told=lines.append)
    assert first.total.schedules == 4
    assert lines == ["goes on after 4 schedules"]
    assert again.run(jobs=1).total == first.total


def test_tables_are_written_between_their_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "a\n<!-- planted bugs -->\nold\n<!-- /planted bugs -->\nb\n<!-- seen states -->\n<!-- /seen states -->\n"
    )
    progress = Progress("", 0, 2, total=Block(2, 3, 4, saw={"x": 1}), planted={"y": Catch("area", "y", "E1", 7)})
    write_tables(page, progress)
    text = page.read_text()
    assert "| area | y | E1 | 7 |" in text
    assert "| x | 1 | 50.0% |" in text
    assert "old" not in text
