"""What a store that refuses for a moment means to a stream: it looks again, and holds nothing against rows or versions."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from headrace.definitions.nodes import DatasetRef
from headrace.errors import StoreError
from headrace.shards import bound
from headrace.shards.batch import News
from headrace.shards.bound import AGAIN_US, BoundValues
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
        self.clock = FakeClock()
        holdings: Any = SimpleNamespace(alias=lambda model, alias: 1)
        self.values = BoundValues(holdings, self.load, self.clock.monotonic_us)
        self.values.want(CHAMPION)

    def load(self, model: str, version: int) -> str:
        self.loads.append(version)
        if self.errors:
            raise self.errors.pop()
        return "the model"


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


def test_a_version_that_does_not_load_is_not_tried_again(rig: Rig) -> None:
    rig.errors = [ValueError("damaged")]
    rig.values.look()
    rig.values.adopt()
    rig.clock.advance("1m")
    rig.values.look()
    rig.values.adopt()
    assert rig.loads == [1]
    assert "damaged" in rig.values.missing({"model": CHAMPION})


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
