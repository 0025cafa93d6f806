"""Small batches of several shards of one stream through one call: what a call costs by itself is paid once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from headrace.shards.shard import News, Part, ShardOwner
from headrace.streams.owner import Hand, Plan, Step

SHARED_ROWS = 8_192
"""Above that a call is worth its price for one shard."""


class _Member(NamedTuple):
    at: int
    owner: ShardOwner[Any]
    todo: Plan


def together(owners: Sequence[object], news: News) -> dict[int, Step]:
    """The steps of those whose batches went through a call together, by index; whoever is not in it works alone."""
    groups: dict[int, list[_Member]] = {}
    for at, owner in enumerate(owners):
        if isinstance(owner, ShardOwner):
            member: ShardOwner[Any] = owner
            todo = member.shared(news)
            if todo is not None:
                groups.setdefault(id(member.stream), []).append(_Member(at, member, todo))
    steps: dict[int, Step] = {}
    for group in groups.values():
        if len(group) > 1 and sum(member.todo.rows for member in group) <= SHARED_ROWS:
            steps |= _steps(group, news)
    return steps


def _steps(group: Sequence[_Member], news: News) -> dict[int, Step]:
    stream, clock = group[0].owner.stream, group[0].owner.clock
    begun_us = clock.monotonic_us()
    try:
        read = stream.read([Part(member.owner.state, member.todo) for member in group])
        ready = stream.ready(read.rows, news)
        for member in group:
            member.owner.hand.take(Hand(member.todo.first, member.todo.end))
        outcomes = stream.run(ready, read.sizes)
    except BaseException:  # whatever it is: each by itself will meet it, and then it is known whose it is
        return {}
    finally:
        for member in group:
            member.owner.hand.drop()
    return {
        member.at: member.owner.ran(member.todo, outcome, misfits, ready, news, begun_us)
        for member, outcome, misfits in zip(group, outcomes, read.misfits, strict=True)
    }
