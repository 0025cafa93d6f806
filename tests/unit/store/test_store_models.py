"""How facts about models move their rows."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from headrace.base.facts import Fact
from headrace.errors import StoreError
from headrace.models.facts import (
    AliasMoved,
    ControllerMoved,
    RetrainAsked,
    StreakMoved,
    VersionRegistered,
    VersionRejected,
)
from headrace.ports import Append
from headrace.store.sql.reads import models, monitors
from headrace.store.sql.reads.restore import restore
from headrace.store.sql.store import SqlStore


@pytest.fixture
def store() -> Iterator[SqlStore]:
    opened = SqlStore(":memory:")
    yield opened
    opened.close()


def happens(store: SqlStore, *facts: Fact) -> None:
    store.commit([Append("engine", store.head("engine"), facts)])


def registered(number: int) -> VersionRegistered:
    return VersionRegistered(
        "delay", number, "lgb", f"models/{number}", "d", 10, "r1", "fit", "c1", "m:predict", 50, 60,
        evidence={"auc": 0.7}, reference=msgspec.Raw(b'{"temp":[1,2]}'),
    )  # fmt: skip


def champion(number: int, previous: int) -> AliasMoved:
    return AliasMoved("delay", "champion", number, previous, "gate", "gain 0.02", at_us=70)


def states(store: SqlStore) -> dict[int, str]:
    return {row.version: row.state for row in models.versions(store.database, "delay")}


def test_versions_are_numbered_without_gap(store: SqlStore) -> None:
    happens(store, registered(1))
    for number in (1, 3):
        with pytest.raises(StoreError, match="not the next"):
            happens(store, registered(number))
    happens(store, registered(2))
    assert states(store) == {1: "candidate", 2: "candidate"}
    assert models.reference(store.database, "delay", 2) == b'{"temp":[1,2]}'


def test_a_promotion_retires_the_champion_and_a_rollback_brings_it_back(store: SqlStore) -> None:
    happens(store, registered(1), champion(1, 0), registered(2), champion(2, 1))
    assert states(store) == {1: "retired", 2: "champion"}
    happens(store, champion(1, 2))
    assert states(store) == {1: "champion", 2: "retired"}
    assert models.alias(store.database, "delay", "champion") == 1
    assert [(row.version, row.previous) for row in models.alias_history(store.database, "delay")] == [
        (1, 2),
        (2, 1),
        (1, 0),
    ]


@pytest.mark.parametrize("previous", [0, 2])
def test_an_alias_that_has_moved_meanwhile_is_not_moved(store: SqlStore, previous: int) -> None:
    happens(store, registered(1), champion(1, 0), registered(2), registered(3))
    with pytest.raises(StoreError, match="is not version"):
        happens(store, champion(3, previous))
    assert states(store) == {1: "champion", 2: "candidate", 3: "candidate"}


def test_an_alias_of_a_version_that_does_not_exist_is_refused(store: SqlStore) -> None:
    with pytest.raises(StoreError, match="disagree"):
        happens(store, champion(1, 0))


def test_only_a_candidate_is_rejected(store: SqlStore) -> None:
    happens(store, registered(1), champion(1, 0), registered(2), VersionRejected("delay", 2, "no gain", 80))
    assert states(store) == {1: "champion", 2: "rejected"}
    with pytest.raises(StoreError, match="disagree"):
        happens(store, VersionRejected("delay", 1, "no", 80))


def test_the_controller_its_asks_and_streaks_are_restored(store: SqlStore) -> None:
    happens(
        store,
        registered(1),
        champion(1, 0),
        ControllerMoved("delay", msgspec.Raw(b'{"is":"asked"}'), "drift", 5),
        RetrainAsked("delay", "monitor", "unseen 0.2", 4, False, "cooling until", 5),
        StreakMoved("m:drift:p", 1, 60),
        StreakMoved("m:drift:p", 0, 60),
    )
    restored = restore(store.database, "engine")
    assert restored.controllers == {"delay": b'{"is":"asked"}'}
    assert restored.streaks == {"m:drift:p": (0, 60)}
    assert restored.aliases == {("delay", "champion"): 1}
    assert restored.models == {"delay": 1}
    (ask,) = models.asks(store.database, "delay")
    assert (ask.is_accepted, ask.why) == (False, "cooling until")
    assert [row.window_end_us for row in monitors.streaks(store.database)] == [60]
