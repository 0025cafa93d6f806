"""The one writer of a log: what it knows after an error, and that nobody writes beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from headrace.errors import StoreError, SupersededError
from headrace.host.writer import Addition, Writer, append_all
from headrace.ports import Append, Committed, LogState
from headrace.runs.facts import EventRejected, PipelinePaused
from headrace.store.sql.engine_store import EngineSqlStore


class Wire:
    """The way to a real store. `next` says what happens to the next commit: "lost" on the way there, or on the way back."""

    def __init__(self, store: EngineSqlStore) -> None:
        self.store, self.next, self.between = store, "", lambda: None
        self.unread = 0

    def log(self, name: str) -> LogState:
        if self.unread:
            self.unread -= 1
            raise StoreError("the log cannot be read")
        return self.store.log(name)

    def commit(self, appends: Sequence[Append]) -> Committed:
        fault, self.next = self.next, ""
        if fault == "there":
            raise StoreError("the disk is full")
        committed = self.store.commit(appends)
        self.between()
        if fault == "back":
            raise StoreError("the outcome is unknown")
        return committed

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


@pytest.fixture
def wire() -> Iterator[Any]:
    store = EngineSqlStore(":memory:")
    yield Wire(store)
    store.close()


def writer(wire: Any, owner: str, log: str = "engine") -> Writer:
    made = Writer(wire, log, owner)
    made.look()
    made.take(1)
    return made


def news(n: int = 1) -> list[EventRejected]:
    return [EventRejected("event", f"{i}", 1) for i in range(n)]


def test_an_owner_appends_at_the_head_that_it_left(wire: Any) -> None:
    one = writer(wire, "one")
    one.append(news(2))
    one.append(news())
    assert wire.head("engine") == one.state.head == 4
    assert (one.state.epoch, wire.log("engine").owner) == (1, "one")


def test_an_append_that_was_not_written_raises_and_may_be_tried_again(wire: Any) -> None:
    one = writer(wire, "one")
    wire.next = "there"
    with pytest.raises(StoreError, match="full"):
        one.append(news())
    one.append(news())
    assert wire.head("engine") == 2


def test_an_append_of_unknown_outcome_counts_where_it_was_written(wire: Any) -> None:
    one = writer(wire, "one")
    wire.next = "back"
    one.append(news(3))
    one.append(news())
    assert wire.head("engine") == 5


@pytest.mark.parametrize("fault", ["there", "back"])
def test_taking_a_log_is_settled_as_well(wire: Any, fault: str) -> None:
    writer(wire, "before")
    one = Writer(wire, "engine", "one")
    one.look()
    wire.next = fault
    if fault == "there":
        with pytest.raises(StoreError):
            one.take(1, news())
        assert wire.head("engine") == 1
        one.look()
        one.take(2, news())
    else:
        one.take(1, news())
    assert one.state == wire.log("engine")
    assert [x.seq for x in wire.facts("engine", after=0)] == [1, 2, 3]


def test_who_was_taken_over_stops_whatever_the_facts_look_like(wire: Any) -> None:
    """Another has appended as many facts of the same kinds: head and kinds alone would say that they are ours."""
    old = writer(wire, "old")
    writer(wire, "new")
    with pytest.raises(SupersededError):
        old.append(news())
    with pytest.raises(SupersededError, match="new"):
        old.look()


def test_what_was_read_since_the_look_holds_or_the_log_is_not_taken(wire: Any) -> None:
    slow = Writer(wire, "engine", "slow")
    slow.look()
    writer(wire, "fast")
    with pytest.raises(SupersededError):
        slow.take(3)


def test_who_is_taken_over_before_it_can_look_stops(wire: Any) -> None:
    old = writer(wire, "old")

    def take_over() -> None:
        wire.between = lambda: None
        writer(wire, "new")

    wire.next, wire.between = "back", take_over
    with pytest.raises(SupersededError, match="its owner new"):
        old.append(news())


def test_a_log_is_taken_again_by_its_owner(wire: Any) -> None:
    one = writer(wire, "one")
    one.look()
    one.take(2)
    assert one.state.epoch == 2
    one.append(news())


def test_several_logs_are_written_in_one_transaction_or_not_at_all(wire: Any) -> None:
    one, two = writer(wire, "me", "shard:a:0"), writer(wire, "me", "shard:a:1")
    wire.next = "back"
    append_all(wire, [Addition(one, (*news(2),)), Addition(two, (*news(),))])
    assert (one.state.head, two.state.head) == (3, 2)
    wire.next = "there"
    with pytest.raises(StoreError):
        append_all(wire, [Addition(one, (*news(),)), Addition(two, (PipelinePaused("p", True, "me", 1),))])
    append_all(wire, [Addition(one, (*news(),)), Addition(two, (*news(),))])
    assert (wire.head("shard:a:0"), wire.head("shard:a:1")) == (4, 3)


@pytest.mark.parametrize("was_written", [True, False])
def test_after_an_error_nobody_could_explain_it_writes_only_on_what_it_knows(wire: Any, was_written: bool) -> None:
    """The next append is as long as the one that was written after all: by the head alone it would count as that one."""
    one, two = writer(wire, "me", "shard:a:0"), writer(wire, "me", "shard:a:1")
    wire.next, wire.unread = "back" if was_written else "there", 1
    with pytest.raises(StoreError, match="cannot be read"):
        append_all(wire, [Addition(one, (*news(),)), Addition(two, (*news(),))])
    if was_written:
        for either in (one, two):
            with pytest.raises(SupersededError, match="is not what it knows of"):
                either.append([PipelinePaused("another", True, "me", 1)])
    else:
        append_all(wire, [Addition(one, (*news(),)), Addition(two, (*news(),))])
    assert (wire.head("shard:a:0"), wire.head("shard:a:1")) == (2, 2)
