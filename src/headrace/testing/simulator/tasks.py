"""What a simulated attempt does: how long it takes, what it returns or raises, and what it wants published."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace

import msgspec

from headrace.models.promotion import Gain
from headrace.runs.active import Active
from headrace.runs.commands import StartAttempt
from headrace.runs.effects import NO_EFFECTS, Effects, JudgedWindow, RegisteredModel
from headrace.runs.facts import TableWrite, TopicWrite, Value
from headrace.testing.auditor.data import effect_of
from headrace.testing.simulator.draw import Draw
from headrace.testing.simulator.world import SECOND, World

SHAKY = 0.5  # share of the attempts of a shaky task that raise


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
    """Thrown with dice of the attempt's own, so it does the same whatever else happens."""
    place = f"{active.pipeline}/{start.node.name}/{start.path}/{start.item}/{start.attempt}/{start.epoch}"
    rng = random.Random(f"{world.seed}/{place}/{world.ordinal(active.pipeline, start.run)}")
    took_us = rng.choice((200, 1_000, 20_000, 300_000, 3 * SECOND))
    dataset = "topic:clicks" if drawn.has("pins") and rng.random() < 0.4 else None
    failure = SHAKY if start.node.target == "m:shaky" else drawn.failure
    if not world.is_quiet and rng.random() < failure:
        return Behaviour(took_us, error="ValueError: simulated", retryable=rng.random() < 0.8, dataset=dataset)
    return Behaviour(took_us, _value(rng, start.node.target), None, True, _effects(rng, start, active), dataset)


def _value(rng: random.Random, target: str) -> Value:
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


def _effects(rng: random.Random, start: StartAttempt, active: Active) -> Effects:
    node = start.node
    if node.kind == "register":
        return Effects(models=(_registered(rng),))
    if node.kind == "monitor":
        return Effects(windows=(_judged(rng, active),))
    path = ".".join(map(str, start.path))
    made = effect_of((start.run, node.name, path, start.item, start.attempt)).decode()
    if node.kind == "append":
        return Effects(topics=(TopicWrite(node.target, 0, rng.randint(1, 5), made),))
    if node.to is not None:
        if node.to == "t1" and active.window is not None:
            return Effects(tables=(TableWrite(node.to, "window", made, 1, 1, "", active.window),))
        return Effects(tables=(TableWrite(node.to, rng.choice(("whole", "key")), made, 1, 1, ""),))
    return NO_EFFECTS


def _registered(rng: random.Random) -> RegisteredModel:
    challenger = 0.7 + rng.uniform(-0.1, 0.1)
    gain = Gain("auc", 0.7, challenger, gain=rng.uniform(-0.1, 0.1), se=0.01, n=10, blocks=3)
    against = rng.choice((0, 1, 1, 2))
    return RegisteredModel(
        "model", "json", "path", "digest", 1, "m:predict", 0, 1, 1, against, gain, {"auc": 0.7}, msgspec.Raw(b"null")
    )


def _judged(rng: random.Random, active: Active) -> JudgedWindow:
    assert active.window is not None
    crossed = {which: rng.choice((True, True, False, None)) for which in ("drift", "performance")}
    monitor = active.pipeline.removeprefix("monitor:")
    return JudgedWindow(monitor, "model", active.window, 1, 10, True, "simulated", None, crossed)
