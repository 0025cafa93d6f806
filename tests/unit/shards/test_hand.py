"""The hand of a shard: what was in it when a process died is there for the next one, and nothing that was dropped."""

from __future__ import annotations

import pytest

from headrace.shards.hand import HandFile, left_in_hand
from headrace.streams.owner import Hand


@pytest.fixture
def path(tmp_path):
    return tmp_path / "shard.hand"


def test_a_new_hand_holds_nothing(path):
    assert HandFile(path).left() is None


@pytest.mark.parametrize("hand", [Hand(0, 1), Hand(7, 4096, is_suspect=True)])
def test_what_was_taken_and_not_dropped_is_there_for_the_next_owner(path, hand):
    HandFile(path).take(hand)
    assert left_in_hand(path) == hand
    assert HandFile(path).left() == hand


def test_what_was_dropped_is_not(path):
    hand = HandFile(path)
    hand.take(Hand(3, 9))
    hand.drop()
    assert HandFile(path).left() is None


def test_the_last_taken_counts(path):
    hand = HandFile(path)
    hand.take(Hand(3, 9, is_suspect=True))
    hand.drop()
    hand.take(Hand(4, 5))
    hand.close()
    assert HandFile(path).left() == Hand(4, 5)


def test_a_file_that_was_cut_short_holds_nothing(path):
    assert left_in_hand(path) is None
    path.write_bytes(b"\0" * 5)
    assert left_in_hand(path) is None
    assert HandFile(path).left() is None
