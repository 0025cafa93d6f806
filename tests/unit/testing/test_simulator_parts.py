"""The simulator's own small parts: the heap of messages, its chance, and its story."""

from __future__ import annotations

import random

from headrace.testing.simulator.draw import draw
from headrace.testing.simulator.graphs import draw_projects
from headrace.testing.simulator.world import World


def test_messages_come_in_the_order_of_time_and_move_it() -> None:
    world, seen = World(1), []
    for delay in (30, 10, 20):
        world.after(delay, lambda at: seen.append((at, world.monotonic_us())), delay)
    world.run_until(25, most=100)
    assert seen == [(10, 10), (20, 20)]
    assert world.monotonic_us() == 25


def test_no_fault_strikes_in_the_quiet_phase() -> None:
    world = World(1)
    assert world.strikes("x", 1.0)
    world.is_quiet = True
    assert not world.strikes("x", 1.0)
    assert world.faults["x"] == 1


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
        rng = random.Random(seed)
        return draw_projects(rng, draw(rng))

    assert project(1) == project(1)
    assert project(1) != project(2)
