from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.data.events import OffsetRange
from headrace.errors import ProjectError
from headrace.triggers.groups import Event, EventGroup, Fired

HOUR = 3_600_000_000
NOW = 10**6 * HOUR
Raw = tuple[int, int, int]
Added = tuple[EventGroup, tuple[Fired, ...], int]


def add(state: EventGroup, *events: Raw, at_us: int = NOW) -> Added:
    """Add events that were all appended at one time."""
    return state.add([(*event, at_us) for event in events])


@st.composite
def streams(draw: st.DrawFn) -> list[Raw]:
    """Events in reading order: offsets grow per partition, event times come in any order."""
    ends = [0, 0, 0]
    events: list[Raw] = []
    for time, partition in draw(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 2)), max_size=40)):
        events.append((time, partition, ends[partition]))
        ends[partition] += draw(st.integers(1, 3))  # events that did not match lie between
    return events


def naive(events: list[Raw], count: int, within: int) -> tuple[list[list[Raw]], list[Raw], list[Raw]]:
    """Fired groups, expired events and those still held, by looking at everything each time."""
    open_events: list[Raw] = []
    groups: list[list[Raw]] = []
    expired: list[Raw] = []
    for i, event in enumerate(events):
        newest = max(time for time, _, _ in events[: i + 1])
        open_events.append(event)
        old = [e for e in open_events if count > 1 and newest - e[0] > within]
        expired += old
        open_events = [e for e in open_events if e not in old]
        if len(open_events) == count:
            groups.append(sorted(open_events))
            open_events = []
    return groups, expired, sorted(open_events)


@settings(max_examples=100, deadline=None)
@given(streams(), st.integers(1, 5), st.integers(1, 20))
def test_groups_equal_a_naive_model(events: list[Raw], count: int, within: int) -> None:
    state, fired, expired = add(EventGroup(count, within), *events)
    groups, old, held = naive(events, count, within)
    assert [list(group.events) for group in fired] == groups
    assert expired == len(old)
    assert list(state.held) == held


@settings(max_examples=100, deadline=None)
@given(
    streams(),
    st.integers(1, 5),
    st.none() | st.integers(1, 20),
    st.lists(st.integers(0, 40), max_size=5),
    st.lists(st.sampled_from([NOW, 10 - HOUR]), min_size=40, max_size=40),  # the later ones lie ahead of the latter
)
def test_each_event_has_one_end_however_the_stream_is_cut(
    raw: list[Raw], count: int, within: int | None, cuts: list[int], appended: list[int]
) -> None:
    events = [(*event, at_us) for event, at_us in zip(raw, appended, strict=False)]
    whole = EventGroup(count, within).add(events)
    state, fired, expired = EventGroup(count, within), (), 0
    for low, high in zip([0, *sorted(cuts)], [*sorted(cuts), len(events)], strict=True):
        state = msgspec.json.decode(msgspec.json.encode(state), type=EventGroup)  # a restart in between
        state, more, old = state.add(events[low:high])
        fired, expired = fired + more, expired + old
    assert (state, fired, expired) == whole
    in_groups = [event for group in fired for event in group.events]
    assert len(set(in_groups)) == len(in_groups)
    assert not set(in_groups) & set(state.held)
    assert len(in_groups) + expired + len(state.held) == len(events)


def test_the_group_fires_with_the_event_that_makes_it_full() -> None:
    state, fired, expired = add(EventGroup.of(3, "1h"), (0, 1, 10), (5, 0, 7), (5, 1, 11), (9, 0, 8))
    assert fired == (Fired((Event(0, 1, 10), Event(5, 0, 7), Event(5, 1, 11))),)
    assert fired[0].key == "1:11"
    assert (state.held, expired) == ((Event(9, 0, 8),), 0)


def test_exactly_the_length_apart_is_still_within() -> None:
    assert len(add(EventGroup.of(2, "1h"), (0, 0, 0), (HOUR, 0, 1))[1]) == 1
    state, fired, expired = add(EventGroup.of(2, "1h"), (0, 0, 0), (HOUR + 1, 0, 1))
    assert (fired, expired) == ((), 1)
    assert str(state) == "1 of 2 events within 1h"


def test_an_event_that_comes_too_late_expires_at_once() -> None:
    state, fired, expired = add(EventGroup.of(2, "1h"), (5 * HOUR, 0, 0), (HOUR, 1, 0))
    assert (state.held, fired, expired) == ((Event(5 * HOUR, 0, 0),), (), 1)


def test_a_single_event_fires_however_late_it_is() -> None:
    _, fired, expired = add(EventGroup.of(1, "1h"), (5 * HOUR, 0, 0), (0, 0, 1))
    assert [group.key for group in fired] == ["0:0", "0:1"]
    assert expired == 0


def test_a_count_without_a_length_waits_for_ever() -> None:
    _, fired, _ = add(EventGroup.of(2), (0, 0, 0), (10**6 * HOUR, 0, 1))
    assert len(fired) == 1


def test_a_count_lowered_below_what_is_held_fires_groups_of_the_new_count() -> None:
    held, _, _ = add(EventGroup.of(20, "1h"), *((at, 0, at) for at in range(12)))
    lowered = msgspec.structs.replace(held, count=5)
    state, fired, expired = add(lowered)
    assert [[event.offset for event in group.events] for group in fired] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    assert ([event.offset for event in state.held], expired) == ([10, 11], 0)
    assert add(lowered, (12, 0, 12), (13, 0, 13), (14, 0, 14))[1][2].key == "0:14"


def test_a_length_shortened_lets_held_events_expire_before_a_group_is_made_of_them() -> None:
    held, _, _ = add(EventGroup.of(20, "5h"), (0, 0, 0), (HOUR, 0, 1), (4 * HOUR, 0, 2))
    state, fired, expired = add(msgspec.structs.replace(held, count=2, within_us=HOUR))
    assert (fired, expired, len(state.held)) == ((), 2, 1)


def test_an_event_of_a_broken_clock_is_with_no_others_and_they_stay() -> None:
    ahead = (NOW + HOUR + 1, 0, 1)
    state, fired, expired = add(EventGroup.of(2, "1h"), (NOW, 0, 0), ahead)
    assert (fired, expired, state.newest_us) == ((), 1, NOW)
    assert len(add(state, (NOW + HOUR, 0, 2))[1]) == 1, "an hour ahead is no broken clock yet"
    assert len(add(EventGroup.of(1, "1h"), ahead)[1]) == 1, "one that waits for no others has no time to keep"
    assert len(add(EventGroup.of(2), (NOW, 0, 0), ahead)[1]) == 1


@pytest.mark.parametrize(("count", "within"), [(1, "24h"), (1, None), (2, "24h"), (2, None)])
def test_an_event_of_a_broken_clock_lets_none_expire_after_a_redeploy(count: int, within: str | None) -> None:
    state, _, _ = add(EventGroup.of(count, within), (10**9 * HOUR, 0, 0))
    assert state.newest_us is None
    redeployed = msgspec.structs.replace(state, count=3, within_us=24 * HOUR)
    state, fired, expired = add(redeployed, *((at * HOUR, 0, at) for at in range(1, 4)))
    assert [len(group.events) for group in fired] == [3], "it is in no group: it is not within 24 hours of the others"
    assert (fired[0].events[-1], expired, state.held) == (Event(3 * HOUR, 0, 3), len(redeployed.held), ())


def test_events_held_without_a_length_expire_under_one_only_where_they_are_ahead_or_old() -> None:
    held, _, _ = add(EventGroup.of(9), (NOW, 0, 0), (10**9 * HOUR, 0, 1), (NOW - 2 * HOUR, 0, 2))
    state, _, expired = add(msgspec.structs.replace(held, within_us=HOUR))
    assert (state.held, expired) == ((Event(NOW, 0, 0),), 2)


def test_whether_an_event_is_ahead_is_told_by_its_append_and_not_by_when_it_is_read() -> None:
    two_hours_ahead = (NOW + 2 * HOUR, 0, 1, NOW)
    state, fired, expired = EventGroup.of(2, "5h").add([(NOW, 0, 0, NOW), two_hours_ahead])
    assert (fired, expired) == ((), 1)
    assert len(add(state, (NOW + 2 * HOUR, 0, 2), at_us=NOW + 2 * HOUR)[1]) == 1


def test_an_event_that_was_ahead_expires_also_where_later_ones_have_come_that_far() -> None:
    state, fired, expired = EventGroup.of(2, "5h").add([(NOW, 0, 0, NOW), (NOW, 1, 0, NOW - 2 * HOUR)])
    assert (state.held, fired, expired) == ((Event(NOW, 0, 0),), (), 1)


def test_adding_leaves_the_old_state_as_it_was() -> None:
    before = EventGroup.of(2, "1h")
    add(before, (0, 0, 0))
    assert before == EventGroup.of(2, "1h")


def test_the_offsets_of_a_group_join_into_ranges() -> None:
    group = Fired((Event(1, 1, 4), Event(2, 0, 9), Event(3, 1, 3), Event(4, 1, 6)))
    expected = [(0, 9, 10), (1, 3, 5), (1, 6, 7)]
    assert group.ranges("outcomes") == tuple(OffsetRange("outcomes", *part) for part in expected)


@pytest.mark.parametrize(("count", "within"), [(0, "1h"), (-1, None), (2, "0s")])
def test_a_trigger_that_can_never_fire_is_refused(count: int, within: str | None) -> None:
    with pytest.raises(ProjectError):
        EventGroup.of(count, within)
