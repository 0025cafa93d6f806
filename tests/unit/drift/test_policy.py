from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headrace.drift.policy import Streak, advance

windows = st.lists(st.sampled_from([True, False, None]), max_size=40)


def asks(crossings: list[bool | None], consecutive: int) -> list[int]:
    """The positions at which an asker asks."""
    streak, found = Streak(), []
    for end, crossed in enumerate(crossings):
        streak, ask = advance(streak, window_end_us=end, crossed=crossed, consecutive=consecutive)
        if ask:
            found.append(end)
    return found


def test_crossings_in_a_row_ask_once_and_start_anew() -> None:
    assert asks([True, True, True, True, True], 2) == [1, 3]


def test_a_good_window_ends_the_streak() -> None:
    assert asks([True, False, True, False, True], 2) == []


def test_a_window_that_was_not_judged_neither_adds_nor_breaks() -> None:
    assert asks([True, None, None, True], 2) == [3]
    assert asks([None, None], 2) == []


def test_windows_that_were_not_judged_are_counted_within_the_streak() -> None:
    streak, _ = advance(Streak(), window_end_us=1, crossed=None, consecutive=2)
    assert streak.unjudged == 0
    streak, _ = advance(streak, window_end_us=2, crossed=True, consecutive=3)
    streak, _ = advance(streak, window_end_us=3, crossed=None, consecutive=3)
    assert (streak.crossings, streak.unjudged) == (1, 1)
    streak, _ = advance(streak, window_end_us=4, crossed=False, consecutive=3)
    assert streak == Streak(window_end_us=4)


def test_one_crossing_is_enough_where_one_is_asked_for() -> None:
    assert asks([False, True], 1) == [1]


def test_clearing_keeps_the_place_so_that_a_window_cannot_count_again() -> None:
    streak, _ = advance(Streak(), window_end_us=7, crossed=True, consecutive=2)
    again, ask = advance(streak.cleared(), window_end_us=7, crossed=True, consecutive=1)
    assert (again.crossings, ask) == (0, False)


@given(windows, st.integers(1, 4))
def test_each_crossing_is_used_for_at_most_one_ask(crossings: list[bool | None], consecutive: int) -> None:
    assert len(asks(crossings, consecutive)) <= sum(crossed is True for crossed in crossings) // consecutive


@given(windows, st.integers(1, 4), st.data())
def test_a_replay_after_a_restart_asks_no_second_time(
    crossings: list[bool | None], consecutive: int, data: st.DataObject
) -> None:
    expected = asks(crossings, consecutive)
    streak, found, end, crashes = Streak(), [], 0, 5
    while end < len(crossings):
        streak, ask = advance(streak, window_end_us=end, crossed=crossings[end], consecutive=consecutive)
        found += [end] if ask else []
        back = data.draw(st.integers(0, end)) if crashes else 0
        crashes -= 1 if back else 0
        end += 1 - back
    assert found == expected
