"""How far topics are complete in event time, as rows and declarations come in: further, never less far."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from headrace.base.facts import Fact
from headrace.data.facts import AHEAD_US, TopicAppended, TopicCompleted
from headrace.definitions.project import Project
from headrace.models.facts import RetrainAsked
from headrace.ports import Append
from headrace.store.sql.engine_store import EngineSqlStore


@pytest.fixture
def store() -> Iterator[EngineSqlStore]:
    opened = EngineSqlStore(":memory:")
    yield opened
    opened.close()


class Topic:
    """One topic, told of by clients; each append has a time of its own."""

    def __init__(self, store: EngineSqlStore) -> None:
        self.store = store
        self.at_us = 0

    def append(self, newest_us: dict[int, int | None]) -> None:
        self.at_us += 1
        self._tell(*(TopicAppended("t", part, 1, self.at_us, max_time_us=us) for part, us in newest_us.items()))

    def complete(self, through_us: int) -> None:
        self.at_us += 1
        self._tell(TopicCompleted("t", through_us, self.at_us))

    @property
    def mark_us(self) -> int | None:
        return self.store.watermarks(Project("p")).get("t")

    def _tell(self, *facts: Fact) -> None:
        bodies = {i: b"x" for i, fact in enumerate(facts) if isinstance(fact, TopicAppended)}
        self.store.commit([Append("clients", None, facts, bodies)])


def test_a_partition_that_begins_with_older_rows_does_not_set_the_watermark_back(store: EngineSqlStore) -> None:
    topic = Topic(store)
    topic.append({0: 10})
    topic.append({1: 2})
    assert topic.mark_us == 10
    topic.append({2: 1})
    topic.append({0: 30, 1: 12})
    assert topic.mark_us == 10  # partition 2 is not there yet
    topic.append({2: 11})
    assert topic.mark_us == 11


def test_partitions_that_begin_in_one_append_are_as_far_as_the_least_of_them(store: EngineSqlStore) -> None:
    topic = Topic(store)
    topic.append({0: 10, 1: 2})
    assert topic.mark_us == 2
    topic.append({0: 20, 2: 5})
    assert topic.mark_us == 2
    topic.append({1: 6})
    assert topic.mark_us == 5


def test_a_partition_whose_first_rows_had_no_time_begins_with_the_first_that_has_one(store: EngineSqlStore) -> None:
    topic = Topic(store)
    topic.append({0: 10, 1: None})
    topic.append({1: 2})
    assert topic.mark_us == 10


def test_a_declaration_of_less_does_not_set_the_watermark_back(store: EngineSqlStore) -> None:
    topic = Topic(store)
    topic.append({0: 10})
    topic.complete(7)
    assert topic.mark_us == 10
    topic.append({0: 50})
    topic.complete(20)
    assert topic.mark_us == 20


def test_rows_that_come_with_their_declaration_move_nothing_themselves(store: EngineSqlStore) -> None:
    rows, declared = TopicAppended("t", 0, 1, 1, max_time_us=10), TopicCompleted("t", 7, 1)
    store.commit([Append("clients", None, (rows, declared), {0: b"x"})])
    assert store.watermarks(Project("p")) == {"t": 7}


def test_a_slot_that_asked_for_a_training_has_been_there_as_one_that_ran(store: EngineSqlStore) -> None:
    slot_us = 1_700_000_000_000_000
    asks = (("schedule:p:daily:1700000000000000", True), ("schedule:p:daily:1700000000000001", False), ("", True))
    facts = tuple(RetrainAsked("m", "schedule", "slot", 1, accepted, "", 1, key) for key, accepted in asks)
    store.commit([Append("engine", 0, facts)])
    assert store.slots_run("p", "daily", slot_us - 1) == {slot_us, slot_us + 1}
    assert store.slots_run("p", "daily", slot_us) == {slot_us + 1}


def test_rows_ahead_of_the_clock_do_not_move_the_watermark(store: EngineSqlStore) -> None:
    topic = Topic(store)
    topic.append({0: AHEAD_US + 2})
    assert topic.mark_us is None
    topic.append({0: 5, 1: 3})
    topic.append({1: 999 * AHEAD_US})
    assert topic.mark_us == 3
    topic.append({2: 1})
    assert topic.mark_us == 3, "where it was before is kept without them"
    topic.append({0: AHEAD_US, 1: AHEAD_US, 2: AHEAD_US})
    assert topic.mark_us == AHEAD_US
