"""Shards of streams."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from headrace.shards.shard import ShardOwner
from headrace.streams import owner
from planted.registry import plant


@plant("streams")
def the_offset_moves_before_the_output(patch: pytest.MonkeyPatch) -> None:
    """A new owner believes that what its predecessor held was done."""
    taken = owner.taken

    def trusting(shard: Any, hand: Any, at_us: int) -> Any:
        if hand is not None and hand.first == shard.offset:
            record = owner.BatchCommitted(
                shard.stream, shard.shard, shard.n, hand.first, hand.end, hand.end - hand.first, 0,
                hand.end - hand.first, 0, shard.code, at_us,
            )  # fmt: skip
            return owner.Step(replace(shard, n=shard.n + 1, offset=hand.end), (record,))
        return taken(shard, hand, at_us)

    patch.setattr(owner, "taken", trusting)


@plant("streams")
def a_poison_row_vanishes(patch: pytest.MonkeyPatch) -> None:
    raised = owner.raised

    def silent(shard: Any, done: Any, dead: Any, watermark_us: Any, at_us: int) -> Any:
        if done.rows == 1:
            return owner.ran(shard, done, owner.Outcome(0, 1), watermark_us, at_us)
        return raised(shard, done, dead, watermark_us, at_us)

    patch.setattr(owner, "raised", silent)


@plant("streams")
def a_row_that_kills_goes_again_for_ever(patch: pytest.MonkeyPatch) -> None:
    taken = owner.taken
    patch.setattr(owner, "taken", lambda shard, hand, at_us: replace(taken(shard, hand, at_us), shard=shard))


@plant("streams")
def a_step_is_adopted_before_its_commit(patch: pytest.MonkeyPatch) -> None:
    work = ShardOwner.work

    def early(self: Any, *about: Any, **options: Any) -> Any:
        step = work(self, *about, **options)
        if step is not None and step.facts:
            self.adopt(step)
        return step

    patch.setattr(ShardOwner, "work", early)


@plant("streams")
def a_watermark_falls(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(owner, "_later", lambda known_us, us: known_us if us is None else us - (known_us or 0) % 2)


@plant("streams")
def what_waits_to_be_tried_again_is_never_tried(patch: pytest.MonkeyPatch) -> None:
    plan = owner.plan

    def stopped(shard: Any, head: int, rows: int) -> Any:
        return None if shard.tries else plan(shard, head, rows)

    patch.setattr(owner, "plan", stopped)
