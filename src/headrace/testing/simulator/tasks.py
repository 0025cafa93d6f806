"""What a simulated attempt does: how long it takes, what it returns or raises, and what it wants published."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import msgspec

from headrace.runs.commands import StartAttempt
from headrace.runs.effects import NO_EFFECTS, Effects, Judged, Registered
from headrace.runs.facts import TableWrite, TopicWrite, Value
from headrace.runs.machine import Active
from headrace.testing.simulator.draw import Draw
from headrace.testing.simulator.world import SECOND, World


@dataclass(frozen=True, slots=True)
class Behaviour:
    """`dataset`: it reads this first, and waits for the pin."""

    took_us: int
    value: Value | None = None
    error: str | None = None
    retryable: bool = True
    effects: Effects = NO_EFFECTS
    dataset: str | None = None

    @property
    def word(self) -> str:
        return self.error or "returns"

    def longer(self, by_us: int) -> Behaviour:
        return replace(self, took_us=self.took_us + by_us)


def outcome_of(world: World, drawn: Draw, start: StartAttempt, active: Active) -> Behaviour:
    """Drawn anew for each attempt."""
    took_us = world.rng.choice((200, 1_000, 20_000, 300_000, 3 * SECOND))
    dataset = "topic:clicks" if drawn.has("pins") and world.chance(0.4) else None
    if world.chance(0.0 if world.is_quiet else drawn.failure):
        return Behaviour(took_us, error="ValueError: simulated", retryable=world.chance(0.8), dataset=dataset)
    return Behaviour(took_us, _value(world, start.node.target), None, True, _effects(world, start, active), dataset)


def _value(world: World, target: str) -> Value:
    rng = world.rng
    match target:
        case "m:list":
            n = rng.randint(0, 3)
            return Value("json", json.dumps(list(range(n))), length=n, lengths=(None,) * n)
        case "m:lists":
            lists = [list(range(rng.randint(0, 2))) for _ in range(rng.randint(0, 2))]
            return Value("json", json.dumps(lists), length=len(lists), lengths=tuple(map(len, lists)))
        case "m:bool":
            return Value("json", rng.choice(("true", "false")))
        case _:
            return Value("json", "1")


def _effects(world: World, start: StartAttempt, active: Active) -> Effects:
    node = start.node
    if node.kind == "register":
        return Effects(models=(_registered(world, active),))
    if node.kind == "monitor":
        return Effects(windows=(_judged(world, active),))
    if node.kind == "append":
        write = TopicWrite(node.target, 0, world.rng.randint(1, 5), f"{start.run}/{node.name}/{start.epoch}")
        return Effects(topics=(write,))
    if node.to is not None:
        path = f"{start.run}/{node.name}/{start.path}/{start.item}/{start.attempt}-{start.epoch}"
        return Effects(tables=(TableWrite(node.to, world.rng.choice(("whole", "key")), path, 1, 1, ""),))
    return NO_EFFECTS


def _registered(world: World, active: Active) -> Registered:
    del active
    gain = {"metric": "auc", "champion": 0.7, "challenger": 0.7 + world.rng.uniform(-0.1, 0.1), "se": 0.01,
            "gain": world.rng.uniform(-0.1, 0.1), "n": 10, "blocks": 3}  # fmt: skip
    against = world.rng.choice((0, 1, 1, 2))
    return Registered(
        "model", "json", "path", "digest", 1, "m:predict", 0, 1, 1, against, gain, {"auc": 0.7}, msgspec.Raw(b"null")
    )


def _judged(world: World, active: Active) -> Judged:
    assert active.window is not None
    crossed = {which: world.rng.choice((True, True, False, None)) for which in ("drift", "performance")}
    monitor = active.pipeline.removeprefix("monitor:")
    return Judged(monitor, "model", active.window, 1, 10, True, "simulated", None, crossed)
