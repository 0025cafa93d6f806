"""What a store that refuses for a moment means to a stream: it looks again, and holds nothing against rows or versions."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from headrace.definitions.nodes import DatasetRef
from headrace.errors import StoreError
from headrace.shards import bound
from headrace.shards.batch import News
from headrace.shards.bound import AGAIN_US, MENDED_US, BoundValues
from headrace.shards.runner import StreamRunner
from headrace.testing.clock import FakeClock

CHAMPION = DatasetRef("model", "delay", "alias", "champion")


class AtOnce:
    """A thread that has run when it has started."""

    def __init__(self, target: Any, **_: Any) -> None:
        self.start = target


class Rig:
    def __init__(self) -> None:
        self.errors: list[Exception] = []
        self.loads: list[int] = []
        self.broken: set[int] = set()
        self.champion = 1
        self.clock = FakeClock()
        holdings: Any = SimpleNamespace(alias=lambda model, alias: self.champion)
        self.values = BoundValues(holdings, self.load, self.clock.monotonic_us)
        self.values.want(CHAMPION)

    def load(self, model: str, version: int) -> str:
        self.loads.append(version)
        if self.errors:
            raise self.errors.pop()
        if version in self.broken:
            raise ValueError(f"{version} is damaged")
        return f"model {version}"

    def promote(self, version: int) -> tuple[int, str]:
        """What serves, and the problem with what should, once the stream has seen that it is the champion."""
        self.champion = version
        self.values.look()
        self.values.adopt()
        return self.values.model(CHAMPION)

    def later(self, us: int) -> tuple[int, str]:
        """The same, so much later and without any news."""
        self.clock.advance(f"{us}us")
        self.values.adopt()
        self.values.adopt()
        return self.values.model(CHAMPION)


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    monkeypatch.setattr(bound, "threading", SimpleNamespace(Thread=AtOnce, Lock=bound.threading.Lock))
    return Rig()


def test_a_version_that_the_store_does_not_give_is_asked_for_again(rig: Rig) -> None:
    rig.errors = [StoreError("the disk refuses")]
    rig.values.look()
    rig.values.adopt()
    assert "the disk refuses" in rig.values.missing({"model": CHAMPION})
    rig.values.adopt()
    assert rig.loads == [1], "not at once"
    rig.clock.set_wall("2020-01-01")
    rig.clock.advance(f"{AGAIN_US}us")
    rig.values.adopt()
    assert rig.values.model(CHAMPION) == (1, "")


def test_a_version_that_does_not_load_is_tried_again_once_a_minute_and_its_problem_is_told_meanwhile(rig: Rig) -> None:
    rig.promote(1)
    rig.broken = {2}
    problem = "version 2 does not load: ValueError: 2 is damaged"
    assert rig.promote(2) == (1, problem)
    assert rig.later(MENDED_US - 1) == (1, problem)
    assert rig.promote(2) == (1, problem)
    assert rig.loads == [1, 2], "not sooner, whatever is written meanwhile"
    assert rig.later(1) == (1, problem)
    assert rig.later(MENDED_US - 1) == (1, problem)
    assert rig.loads == [1, 2, 2]
    rig.broken = set()
    assert rig.later(1) == (2, "")
    assert rig.later(10 * MENDED_US) == (2, "")
    assert rig.loads == [1, 2, 2, 2]


def test_after_a_rollback_nothing_is_told_of_the_version_that_did_not_load(rig: Rig) -> None:
    rig.promote(1)
    rig.broken = {2}
    rig.promote(2)
    assert rig.promote(1) == (1, "")
    assert rig.later(10 * MENDED_US) == (1, "")
    assert rig.loads == [1, 2], "and it is not loaded any more"


def test_a_version_that_did_not_load_is_tried_anew_when_it_is_promoted_again(rig: Rig) -> None:
    rig.promote(1)
    rig.broken = {2}
    rig.promote(2)
    rig.promote(1)
    rig.broken = set()
    assert rig.promote(2) == (2, "")


def test_a_version_whose_load_ends_after_the_rollback_does_not_serve(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.promote(1)
    under_way: list[Any] = []
    later: Any = lambda target, **_: SimpleNamespace(start=partial(under_way.append, target))  # noqa: E731
    monkeypatch.setattr(bound.threading, "Thread", later)
    rig.promote(2)
    rig.promote(1)
    under_way.pop()()
    rig.values.adopt()
    assert rig.values.model(CHAMPION) == (1, "")


def test_after_a_restart_the_version_that_served_last_does_so_until_the_newest_loads(rig: Rig) -> None:
    rig.broken = {1, 2}
    assert rig.promote(2)[0] == 0
    rig.values.fall_back(CHAMPION, 1)
    rig.values.fall_back(CHAMPION, 1)
    rig.values.adopt()
    assert rig.values.model(CHAMPION)[0] == 0
    assert rig.loads == [2, 1], "once per attempt"
    rig.broken = {2}
    rig.later(MENDED_US)
    rig.values.fall_back(CHAMPION, 0)
    rig.values.adopt()
    assert rig.values.model(CHAMPION) == (1, "version 2 does not load: ValueError: 2 is damaged")
    rig.broken = set()
    assert rig.later(MENDED_US) == (2, "")


def test_news_that_could_not_be_read_is_looked_at_again() -> None:
    looks: list[int] = []

    def look() -> News:
        looks.append(1)
        if len(looks) == 1:
            raise StoreError("the disk refuses")
        return News()

    store: Any = SimpleNamespace(change_count=lambda: 7)
    parts: Any = SimpleNamespace(adopt=lambda: None, look=look)
    runner = StreamRunner(store, parts, FakeClock(), name="test")
    with pytest.raises(StoreError):
        runner.tick()
    runner.tick()
    runner.tick()
    assert len(looks) == 2, "once more, and then nobody has written"
